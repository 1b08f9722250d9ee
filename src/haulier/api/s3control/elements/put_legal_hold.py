"""S3PutObjectLegalHold (s3-batch-operations.md §3.6)."""

from collections.abc import Mapping
from typing import Any, Final

from haulier.api.elements import BucketName, Element, Named


def _read(sent: Mapping[str, Any], _path: str, _named: Named) -> dict[str, Any]:
    return {"status": sent["LegalHold"]["Status"]}


def _write(parameters: Mapping[str, Any], _bucket_name: BucketName) -> dict[str, Any]:
    return {"LegalHold": {"Status": parameters["status"]}}


PUT_LEGAL_HOLD: Final = Element("S3PutObjectLegalHold", "put_legal_hold", _read, _write)
