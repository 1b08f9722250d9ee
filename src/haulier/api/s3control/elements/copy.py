"""S3PutObjectCopy (s3-batch-operations.md §3.2)."""

from collections.abc import Mapping
from typing import Any, Final

from haulier.api.elements import BucketName, Element, Named, pairs
from haulier.api.rules import OBJECT_TAGS_MAX, given, metadata_names, tag_map
from haulier.api.s3control.resources import bucket
from haulier.core.errors import InvalidField, MalformedDocument, NotImplementedHere

KEY_BYTES_MAX: Final = 1024
STORAGE_CLASSES: Final = frozenset(
    {"STANDARD", "STANDARD_IA", "ONEZONE_IA", "GLACIER", "INTELLIGENT_TIERING", "DEEP_ARCHIVE", "GLACIER_IR"}
)
"""What a copy may ask for: the model's enum."""

_NOT_YET: Final = (
    "AccessControlGrants",
    "AnnotationDirective",
    "ObjectLockLegalHoldStatus",
    "ObjectLockMode",
    "ObjectLockRetainUntilDate",
    "ObjectLockEventHold",
    "ObjectLockEventHoldDuration",
)
_METADATA_FIELDS: Final = {
    "CacheControl": "cache_control",
    "ContentDisposition": "content_disposition",
    "ContentEncoding": "content_encoding",
    "ContentLanguage": "content_language",
    "ContentType": "content_type",
    "HttpExpiresDate": "expires_ms",
}


def _read(sent: Mapping[str, Any], path: str, named: Named) -> dict[str, Any]:
    if "TargetResource" not in sent:
        raise MalformedDocument(f"{path}.TargetResource", "is missing")
    if "CannedAccessControlList" in sent and "AccessControlGrants" in sent:
        raise InvalidField(f"{path}.AccessControlGrants", "cannot be given together with CannedAccessControlList")
    for name in _NOT_YET:
        if name in sent:
            raise NotImplementedHere(f"{path}.{name}")
    if sent.get("RequesterPays"):
        raise NotImplementedHere(f"{path}.RequesterPays")
    tags = sent.get("NewObjectTagging")
    return {
        "dialect": "s3control",
        "key_bytes_max": KEY_BYTES_MAX,
        "target_bucket": bucket(sent["TargetResource"], f"{path}.TargetResource", named),
        "folder": sent.get("TargetKeyPrefix"),
        "metadata": _new_metadata(sent, path),
        "tags": "copy" if tags is None else tag_map(tags, f"{path}.NewObjectTagging", OBJECT_TAGS_MAX),
        "canned_acl": sent.get("CannedAccessControlList"),
        "storage_class": sent.get("StorageClass"),
        **_encryption(sent, path),
        "checksum": sent.get("ChecksumAlgorithm"),
        "redirect": sent.get("RedirectLocation"),
        "modified_since_ms": sent.get("ModifiedSinceConstraint"),
        "unmodified_since_ms": sent.get("UnModifiedSinceConstraint"),
    }


def _new_metadata(sent: Mapping[str, Any], path: str) -> str | dict[str, Any]:
    """`copy`, or what the copies get instead. New metadata without a directive replaces (the model's text for NewObjectMetadata);
    an explicit COPY beside it contradicts itself."""
    new = sent.get("NewObjectMetadata", {})
    fields: dict[str, Any] = {ours: new[name] for name, ours in _METADATA_FIELDS.items() if name in new}
    user = dict(new.get("UserMetadata", {}))
    metadata_names(user, f"{path}.NewObjectMetadata.UserMetadata")
    directive = sent.get("MetadataDirective")
    if directive == "COPY" and (fields or user):
        raise InvalidField(f"{path}.NewObjectMetadata", "holds metadata, but MetadataDirective is COPY; REPLACE would use it")
    if directive == "REPLACE" or fields or user:
        return {**fields, "user": user}
    return "copy"


def _encryption(sent: Mapping[str, Any], path: str) -> dict[str, Any]:
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


def _write(parameters: Mapping[str, Any], bucket_name: BucketName) -> dict[str, Any] | None:
    folder = parameters.get("folder")
    old, new = parameters.get("replace_prefix") or ("", "")
    if old or (new and not _is_folder(new)):  # S3 can only put objects into a folder
        return None
    if parameters.get("inherit_acl") or "add" in (parameters.get("metadata_mode"), parameters.get("tags_mode")):
        return None
    storage_class = parameters.get("storage_class")
    if storage_class is not None and storage_class not in STORAGE_CLASSES:
        return None
    metadata, sse = parameters.get("metadata", "copy"), parameters.get("sse")
    new_metadata: dict[str, Any] = {}
    if metadata != "copy":
        new_metadata = {name: metadata.get(field) for name, field in _METADATA_FIELDS.items()}
        new_metadata["UserMetadata"] = metadata.get("user") or None
    new_metadata["SSEAlgorithm"] = {"aws:kms": "KMS"}.get(sse, sse) if sse else None
    tags = parameters.get("tags", "copy")
    return given(
        {
            "TargetResource": bucket_name(parameters["target_bucket"]),
            "CannedAccessControlList": parameters.get("canned_acl"),
            "AccessControlGrants": [_written_grant(grant) for grant in parameters.get("grants", ())] or None,
            "MetadataDirective": "COPY" if metadata == "copy" else "REPLACE",
            "ModifiedSinceConstraint": parameters.get("modified_since_ms"),
            "NewObjectMetadata": given(new_metadata) or None,
            "NewObjectTagging": None if tags == "copy" else pairs(tags),
            "RedirectLocation": parameters.get("redirect"),
            "StorageClass": storage_class,
            "UnModifiedSinceConstraint": parameters.get("unmodified_since_ms"),
            "SSEAwsKmsKeyId": parameters.get("sse_kms_key"),
            "TargetKeyPrefix": folder or new.removesuffix("/") or None,
            "BucketKeyEnabled": parameters.get("bucket_key"),
            "ChecksumAlgorithm": parameters.get("checksum"),
        }
    )


def _written_grant(grant: Mapping[str, str]) -> dict[str, Any]:
    return {
        "Grantee": {"TypeIdentifier": grant["kind"], "Identifier": grant["grantee"]},
        "Permission": grant["permission"],
    }


def _is_folder(prefix: str) -> bool:
    return prefix.endswith("/") and not prefix.endswith("//") and len(prefix) > 1


COPY: Final = Element("S3PutObjectCopy", "copy", _read, _write)
