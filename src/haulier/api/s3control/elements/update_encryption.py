"""S3UpdateObjectEncryption: another key for what is stored, in place (s3-batch-operations.md §3.9)."""

from collections.abc import Mapping
from typing import Any, Final

from haulier.api.elements import BucketName, Element, Named
from haulier.api.rules import given
from haulier.core.errors import MalformedDocument


def _read(sent: Mapping[str, Any], path: str, _named: Named) -> dict[str, Any]:
    path, wanted = f"{path}.ObjectEncryption", sent.get("ObjectEncryption")
    if wanted is None:
        raise MalformedDocument(path, "is missing")
    if "SSEKMS" not in wanted:
        raise MalformedDocument(f"{path}.SSEKMS", "is missing; only SSE-KMS can be given")
    return {"kms_key": wanted["SSEKMS"]["KMSKeyArn"], "bucket_key": wanted["SSEKMS"].get("BucketKeyEnabled")}


def _write(parameters: Mapping[str, Any], _bucket_name: BucketName) -> dict[str, Any]:
    kms = given({"KMSKeyArn": parameters["kms_key"], "BucketKeyEnabled": parameters["bucket_key"]})
    return {"ObjectEncryption": {"SSEKMS": kms}}


UPDATE_ENCRYPTION: Final = Element("S3UpdateObjectEncryption", "update_encryption", _read, _write)
