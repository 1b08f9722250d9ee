"""S3UpdateObjectEncryption: another key for what is stored, in place (s3-batch-operations.md §3.9)."""

from collections.abc import Mapping
from typing import Any, Final

from haulier.api.elements import BucketName, Element, Named
from haulier.api.rules import given


def _read(sent: Mapping[str, Any], _path: str, _named: Named) -> dict[str, Any]:
    kms = sent["ObjectEncryption"]["SSEKMS"]
    return {"kms_key": kms["KMSKeyArn"], "bucket_key": kms.get("BucketKeyEnabled")}


def _write(parameters: Mapping[str, Any], _bucket_name: BucketName) -> dict[str, Any]:
    kms = given({"KMSKeyArn": parameters["kms_key"], "BucketKeyEnabled": parameters["bucket_key"]})
    return {"ObjectEncryption": {"SSEKMS": kms}}


UPDATE_ENCRYPTION: Final = Element("S3UpdateObjectEncryption", "update_encryption", _read, _write)
