"""COSPutObjectCopy (cos-batch.md §3.3)."""

from collections.abc import Mapping
from typing import Any, Final

from haulier.api.cos.elements.directives import directive
from haulier.api.cos.resources import bucket
from haulier.api.elements import BucketName, Element, Named, pairs
from haulier.api.rules import OBJECT_TAGS_MAX, given, metadata_names, tag_map
from haulier.core.errors import InvalidField, MalformedDocument, NotImplementedHere

KEY_BYTES_MAX: Final = 850
STORAGE_CLASSES: Final = frozenset(
    {
        "STANDARD",
        "STANDARD_IA",
        "ARCHIVE",
        "INTELLIGENT_TIERING",
        "DEEP_ARCHIVE",
        "MAZ_STANDARD",
        "MAZ_STANDARD_IA",
        "MAZ_INTELLIGENT_TIERING",
        "MAZ_ARCHIVE",
    }
)
"""What a copy may ask for."""

_CANNED_ACLS: Final = frozenset({"private", "public-read"})
_NOT_ON_COS: Final = ("sse_kms_key", "bucket_key", "checksum", "redirect")
_METADATA_FIELDS: Final = {
    "CacheControl": "cache_control",
    "ContentDisposition": "content_disposition",
    "ContentEncoding": "content_encoding",
    "ContentType": "content_type",
    "HttpExpiresDate": "expires_ms",
}


def _read(sent: Mapping[str, Any], path: str, named: Named) -> dict[str, Any]:
    target = bucket(sent["TargetResource"], f"{path}.TargetResource")
    named.setdefault(target.bucket, target.region)
    replace_prefix: list[str] | None = None
    if sent.get("PrefixReplace", False):  # without it the documents switch the two prefixes off
        replace_prefix = [sent.get("ResourcesPrefix", ""), sent.get("TargetKeyPrefix", "")]
    return {
        "dialect": "cos",
        "key_bytes_max": KEY_BYTES_MAX,
        "target_bucket": target.bucket,
        "replace_prefix": replace_prefix,
        "metadata": _new_metadata(sent, path),
        "tags": _new_tags(sent, path),
        "canned_acl": _canned_acl(sent, path),
        "storage_class": sent.get("StorageClass") or None,
        "sse": sent.get("NewObjectMetadata", {}).get("SSEAlgorithm") or None,
        "modified_since_ms": _milliseconds(sent.get("ModifiedSinceConstraint")),
        "unmodified_since_ms": _milliseconds(sent.get("UnModifiedSinceConstraint")),
    }


def _milliseconds(seconds: int | None) -> int | None:
    return seconds * 1000 if seconds else None  # 0 stands for "not given" (cos-batch.md §3.3)


def _new_metadata(sent: Mapping[str, Any], path: str) -> str | dict[str, Any]:
    """`copy`, or what the copies get instead; metadata that no directive would use contradicts it."""
    new = sent.get("NewObjectMetadata", {})
    fields: dict[str, Any] = {ours: new[name] for name, ours in _METADATA_FIELDS.items() if new.get(name)}
    user = tag_map(new.get("UserMetadata", ()), f"{path}.NewObjectMetadata.UserMetadata")
    metadata_names(user, f"{path}.NewObjectMetadata.UserMetadata")
    asked = directive(sent, "MetadataDirective", path)
    if asked == "add":
        raise NotImplementedHere(f"{path}.MetadataDirective", "Add is not implemented by this version; use Copy or Replaced")
    if asked == "replace":
        return {**fields, "user": user}
    if fields or user:
        raise InvalidField(f"{path}.NewObjectMetadata", "holds metadata, but MetadataDirective is not Replaced")
    return "copy"


def _new_tags(sent: Mapping[str, Any], path: str) -> str | dict[str, str]:
    """`copy`, or exactly these. An empty element beside Copy is what Terraform always sends."""
    asked = directive(sent, "TaggingDirective", path)
    if asked == "add":
        raise NotImplementedHere(f"{path}.TaggingDirective", "Add is not implemented by this version; use Copy or Replaced")
    tags = tag_map(sent.get("NewObjectTagging", {}).get("COSTag", ()), f"{path}.NewObjectTagging.COSTag", OBJECT_TAGS_MAX)
    if asked == "replace":
        if "NewObjectTagging" not in sent:
            raise MalformedDocument(f"{path}.NewObjectTagging", "is missing; TaggingDirective Replaced needs it")
        return tags
    if tags:
        raise InvalidField(f"{path}.NewObjectTagging", "holds tags, but TaggingDirective is not Replaced")
    return "copy"


def _canned_acl(sent: Mapping[str, Any], path: str) -> str | None:
    asked = directive(sent, "AccessControlDirective", path)
    if asked in ("copy", "add"):
        raise NotImplementedHere(
            f"{path}.AccessControlDirective",
            f"{sent['AccessControlDirective']} is not implemented by this version; leave it out, or use Replaced",
        )
    if sent.get("AccessControlGrants"):
        raise NotImplementedHere(f"{path}.AccessControlGrants")
    return sent.get("CannedAccessControlList") or None


def _write(parameters: Mapping[str, Any], bucket_name: BucketName) -> dict[str, Any] | None:
    metadata, sse, acl = parameters.get("metadata", "copy"), parameters.get("sse"), parameters.get("canned_acl")
    storage_class = parameters.get("storage_class")
    unknown = (
        any(parameters.get(name) is not None for name in _NOT_ON_COS)
        or sse not in (None, "AES256")
        or (acl is not None and acl not in _CANNED_ACLS)
        or (storage_class is not None and storage_class not in STORAGE_CLASSES)
        or (metadata != "copy" and "content_language" in metadata)
    )
    if unknown:
        return None
    folder, tags = parameters.get("folder"), parameters.get("tags", "copy")
    prefixes = [None, None] if folder is None else ["", folder.rstrip("/") + "/"]
    old, new = parameters.get("replace_prefix") or prefixes
    new_metadata: dict[str, Any] = {}
    if metadata != "copy":
        new_metadata = {name: metadata.get(field) for name, field in _METADATA_FIELDS.items()}
        new_metadata["UserMetadata"] = pairs(metadata["user"]) if metadata.get("user") else None
    new_metadata["SSEAlgorithm"] = sse
    return given(
        {
            "CannedAccessControlList": acl,
            "MetadataDirective": "Copy" if metadata == "copy" else "Replaced",
            "ModifiedSinceConstraint": _seconds(parameters.get("modified_since_ms")),
            "NewObjectMetadata": given(new_metadata) or None,
            "NewObjectTagging": None if tags == "copy" else {"COSTag": pairs(tags)},
            "PrefixReplace": new is not None,
            "ResourcesPrefix": old,
            "StorageClass": storage_class,
            "TaggingDirective": "Copy" if tags == "copy" else "Replaced",
            "TargetKeyPrefix": new,
            "TargetResource": bucket_name(parameters["target_bucket"]),
            "UnModifiedSinceConstraint": _seconds(parameters.get("unmodified_since_ms")),
        }
    )


def _seconds(milliseconds: int | None) -> int | None:
    return None if milliseconds is None else milliseconds // 1000


COPY: Final = Element("COSPutObjectCopy", "copy", _read, _write)
