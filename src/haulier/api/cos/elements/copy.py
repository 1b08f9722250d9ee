"""COSPutObjectCopy (cos-batch.md §3.3)."""

from collections.abc import Mapping
from typing import Any, Final

from haulier.api.cos.elements.directives import directive
from haulier.api.cos.resources import bucket
from haulier.api.elements import BucketName, Element, Named, pairs
from haulier.api.rules import OBJECT_TAGS_MAX, given, grant_count, grantee, tag_map, user_metadata
from haulier.core.errors import InvalidField, MalformedDocument

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
_PERMISSIONS: Final = frozenset({"READ", "WRITE", "FULL_CONTROL"})
_NOT_ON_COS: Final = ("sse_kms_key", "bucket_key", "checksum", "redirect")
_DIRECTIVES: Final = {"replace": "Replaced", "add": "Add"}
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
        **_new_metadata(sent, path),
        **_new_tags(sent, path),
        **_access(sent, path),
        "storage_class": sent.get("StorageClass") or None,
        "sse": sent.get("NewObjectMetadata", {}).get("SSEAlgorithm") or None,
        "modified_since_ms": _milliseconds(sent.get("ModifiedSinceConstraint")),
        "unmodified_since_ms": _milliseconds(sent.get("UnModifiedSinceConstraint")),
    }


def _milliseconds(seconds: int | None) -> int | None:
    return seconds * 1000 if seconds else None  # 0 stands for "not given" (cos-batch.md §3.3)


def _new_metadata(sent: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The parameters for metadata. What no directive would use contradicts it; to add nothing is to copy."""
    new = sent.get("NewObjectMetadata", {})
    fields: dict[str, Any] = {ours: new[name] for name, ours in _METADATA_FIELDS.items() if new.get(name, "") != ""}
    user = tag_map(new.get("UserMetadata", ()), f"{path}.NewObjectMetadata.UserMetadata")
    user_metadata(user, f"{path}.NewObjectMetadata.UserMetadata")
    asked = directive(sent, "MetadataDirective", path) or "copy"
    if asked == "copy" and (fields or user):
        raise InvalidField(f"{path}.NewObjectMetadata", "holds metadata, but MetadataDirective is neither Replaced nor Add")
    if asked == "replace" or fields or user:
        return {"metadata": {**fields, "user": user}} | _added("metadata", asked)
    return {"metadata": "copy"}


def _new_tags(sent: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The parameters for tags. An empty element beside Copy is what Terraform always sends."""
    asked = directive(sent, "TaggingDirective", path) or "copy"
    path = f"{path}.NewObjectTagging"
    tags = tag_map(sent.get("NewObjectTagging", {}).get("COSTag", ()), f"{path}.COSTag", OBJECT_TAGS_MAX)
    if asked == "copy" and tags:
        raise InvalidField(path, "holds tags, but TaggingDirective is neither Replaced nor Add")
    if asked != "copy" and "NewObjectTagging" not in sent:
        raise MalformedDocument(path, "is missing; TaggingDirective Replaced and Add need it")
    if asked == "replace" or tags:
        return {"tags": tags} | _added("tags", asked)
    return {"tags": "copy"}


def _added(name: str, asked: str) -> dict[str, str]:
    return {f"{name}_mode": "add"} if asked == "add" else {}


def _access(sent: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The parameters for the access control list; without a directive what is given replaces the store's usual one."""
    canned = sent.get("CannedAccessControlList")
    given_grants = sent.get("AccessControlGrants", {}).get("COSGrant", ())
    grant_count(len(given_grants), f"{path}.AccessControlGrants")
    grants = [_grant(grant, f"{path}.AccessControlGrants.COSGrant[{number}]") for number, grant in enumerate(given_grants)]
    asked = directive(sent, "AccessControlDirective", path)
    if grants and (canned is not None or asked == "copy"):
        beside = "AccessControlDirective Copy" if canned is None else "CannedAccessControlList"
        raise InvalidField(f"{path}.AccessControlGrants", f"cannot be given together with {beside}")
    if canned is not None and asked in ("copy", "add"):
        problem = f"cannot be given together with AccessControlDirective {asked.title()}"
        raise InvalidField(f"{path}.CannedAccessControlList", problem)
    if asked == "add" and not grants:
        raise MalformedDocument(f"{path}.AccessControlGrants", "is missing; AccessControlDirective Add needs it")
    if asked == "replace" and not grants and canned is None:
        problem = "is missing; AccessControlDirective Replaced needs it, or CannedAccessControlList"
        raise MalformedDocument(f"{path}.AccessControlGrants", problem)
    inherited = {"inherit_acl": True} if asked in ("copy", "add") else {}
    return {"canned_acl": canned} | inherited | ({"grants": grants} if grants else {})


def _grant(sent: Mapping[str, Any], path: str) -> dict[str, str]:
    """A grant: of a COS user, or of a user by its canonical id where the target is another store."""
    named = grantee(sent["Grantee"]["Identifier"], f"{path}.Grantee.Identifier")
    return {"kind": "id", "grantee": named, "permission": sent["Permission"]}


def _write(parameters: Mapping[str, Any], bucket_name: BucketName) -> dict[str, Any] | None:
    metadata, sse, acl = parameters.get("metadata", "copy"), parameters.get("sse"), parameters.get("canned_acl")
    storage_class, grants = parameters.get("storage_class"), parameters.get("grants", ())
    since = [_seconds(parameters.get(name)) for name in ("modified_since_ms", "unmodified_since_ms")]
    unknown = (
        any(parameters.get(name) is not None for name in _NOT_ON_COS)
        or sse not in (None, "AES256")
        or (acl is not None and acl not in _CANNED_ACLS)
        or (storage_class is not None and storage_class not in STORAGE_CLASSES)
        or (metadata != "copy" and "content_language" in metadata)
        or any(seconds is not None and seconds <= 0 for seconds in since)  # 0 stands for none, and less cannot be read
        or any(grant["kind"] != "id" or grant["permission"] not in _PERMISSIONS for grant in grants)
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
            "AccessControlDirective": _access_directive(parameters),
            "AccessControlGrants": {"COSGrant": [_written_grant(grant) for grant in grants]} if grants else None,
            "CannedAccessControlList": acl,
            "MetadataDirective": "Copy" if metadata == "copy" else _DIRECTIVES[parameters.get("metadata_mode", "replace")],
            "ModifiedSinceConstraint": since[0],
            "NewObjectMetadata": given(new_metadata) or None,
            "NewObjectTagging": None if tags == "copy" else {"COSTag": pairs(tags)},
            "PrefixReplace": new is not None,
            "ResourcesPrefix": old,
            "StorageClass": storage_class,
            "TaggingDirective": "Copy" if tags == "copy" else _DIRECTIVES[parameters.get("tags_mode", "replace")],
            "TargetKeyPrefix": new,
            "TargetResource": bucket_name(parameters["target_bucket"]),
            "UnModifiedSinceConstraint": since[1],
        }
    )


def _access_directive(parameters: Mapping[str, Any]) -> str | None:
    if parameters.get("inherit_acl"):
        return "Add" if parameters.get("grants") else "Copy"
    return "Replaced" if parameters.get("grants") or parameters.get("canned_acl") else None


def _written_grant(grant: Mapping[str, str]) -> dict[str, Any]:
    return {"Grantee": {"Identifier": grant["grantee"], "TypeIdentifier": "ID"}, "Permission": grant["permission"]}


def _seconds(milliseconds: int | None) -> int | None:
    return None if milliseconds is None else milliseconds // 1000


COPY: Final = Element("COSPutObjectCopy", "copy", _read, _write)
