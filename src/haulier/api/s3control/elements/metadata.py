"""New metadata and encryption in the words of copies: read into what our operations set, and written back."""

from collections.abc import Mapping
from typing import Any, Final

from haulier.api.rules import given, user_metadata
from haulier.core.errors import InvalidField

_FIELDS: Final = {
    "CacheControl": "cache_control",
    "ContentDisposition": "content_disposition",
    "ContentEncoding": "content_encoding",
    "ContentLanguage": "content_language",
    "ContentType": "content_type",
    "HttpExpiresDate": "expires_ms",
}
"""ContentLength, ContentMD5 and RequesterCharged are deprecated, and have no effect (s3-batch-operations.md §3.2)."""


def new_metadata(sent: Mapping[str, Any], path: str) -> str | dict[str, Any]:
    """`copy`, or what the objects get instead. New metadata without a directive replaces (the model's text for
    NewObjectMetadata); an explicit COPY beside it contradicts itself. Raises InvalidField."""
    new = sent.get("NewObjectMetadata", {})
    fields: dict[str, Any] = {ours: new[name] for name, ours in _FIELDS.items() if name in new}
    user = dict(new.get("UserMetadata", {}))
    user_metadata(user, f"{path}.NewObjectMetadata.UserMetadata")
    directive = sent.get("MetadataDirective")
    if directive == "COPY" and (fields or user):
        raise InvalidField(f"{path}.NewObjectMetadata", "holds metadata, but MetadataDirective is COPY; REPLACE would use it")
    if directive == "REPLACE" or fields or user:
        return {**fields, "user": user}
    return "copy"


def encryption(sent: Mapping[str, Any], path: str) -> dict[str, Any]:
    """`sse`, `sse_kms_key`, `bucket_key`; the last matters with KMS alone. Raises InvalidField."""
    key = sent.get("SSEAwsKmsKeyId")
    algorithm = sent.get("NewObjectMetadata", {}).get("SSEAlgorithm")
    if key is not None and algorithm == "AES256":
        raise InvalidField(f"{path}.SSEAwsKmsKeyId", "needs SSEAlgorithm KMS; it is AES256")
    kms = algorithm == "KMS" or key is not None
    return {
        "sse": "aws:kms" if kms else algorithm,
        "sse_kms_key": key,
        "bucket_key": sent.get("BucketKeyEnabled") if kms else None,
    }


def shown(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The members that ask for what the parameters set; None = not given."""
    metadata, sse = parameters.get("metadata", "copy"), parameters.get("sse")
    new: dict[str, Any] = {}
    if metadata != "copy":
        new = {name: metadata.get(field) for name, field in _FIELDS.items()}
        new["UserMetadata"] = metadata.get("user") or None
    new["SSEAlgorithm"] = {"aws:kms": "KMS"}.get(sse, sse) if sse else None
    return {
        "MetadataDirective": "COPY" if metadata == "copy" else "REPLACE",
        "NewObjectMetadata": given(new) or None,
        "SSEAwsKmsKeyId": parameters.get("sse_kms_key"),
        "BucketKeyEnabled": parameters.get("bucket_key"),
    }
