"""S3PutObjectCopy (s3-batch-operations.md §3.2)."""

from collections.abc import Mapping
from typing import Any, Final

from haulier.api.elements import BucketName, Element, Named, pairs
from haulier.api.rules import OBJECT_TAGS_MAX, given, tag_map
from haulier.api.s3control.elements.grants import grants, shown_grants
from haulier.api.s3control.elements.locks import event_hold, retention
from haulier.api.s3control.elements.metadata import encryption, new_metadata, shown
from haulier.api.s3control.resources import bucket
from haulier.core.errors import InvalidField, NotImplementedHere

KEY_BYTES_MAX: Final = 1024
STORAGE_CLASSES: Final = frozenset(
    {"STANDARD", "STANDARD_IA", "ONEZONE_IA", "GLACIER", "INTELLIGENT_TIERING", "DEEP_ARCHIVE", "GLACIER_IR"}
)
"""What a copy may ask for: the model's enum."""

NOT_YET: Final = (
    "AnnotationDirective",
    "ObjectLockLegalHoldStatus",
    "ObjectLockMode",
    "ObjectLockRetainUntilDate",
    "ObjectLockEventHold",
    "ObjectLockEventHoldDuration",
)
"""Members that no code carries out."""


def _read(sent: Mapping[str, Any], path: str, named: Named) -> dict[str, Any]:
    if "CannedAccessControlList" in sent and "AccessControlGrants" in sent:
        raise InvalidField(f"{path}.AccessControlGrants", "cannot be given together with CannedAccessControlList")
    retention(sent, path, mode="ObjectLockMode", until="ObjectLockRetainUntilDate")
    event_hold(sent, path, hold="ObjectLockEventHold", duration="ObjectLockEventHoldDuration")
    tags = sent.get("NewObjectTagging")
    granted = grants(sent.get("AccessControlGrants", ()), f"{path}.AccessControlGrants")
    found = {
        "dialect": "s3control",
        "key_bytes_max": KEY_BYTES_MAX,
        "target_bucket": bucket(sent["TargetResource"], f"{path}.TargetResource", named),
        "folder": sent.get("TargetKeyPrefix"),
        "metadata": new_metadata(sent, path),
        "tags": "copy" if tags is None else tag_map(tags, f"{path}.NewObjectTagging", OBJECT_TAGS_MAX),
        "canned_acl": sent.get("CannedAccessControlList"),
        **({"grants": granted} if granted else {}),
        "storage_class": sent.get("StorageClass"),
        **encryption(sent, path),
        "checksum": sent.get("ChecksumAlgorithm"),
        "redirect": sent.get("RedirectLocation"),
        "modified_since_ms": sent.get("ModifiedSinceConstraint"),
        "unmodified_since_ms": sent.get("UnModifiedSinceConstraint"),
    }
    _refuse_what_cannot_run(sent, path)
    return found


def _refuse_what_cannot_run(sent: Mapping[str, Any], path: str) -> None:
    for name in NOT_YET:
        if name in sent:
            raise NotImplementedHere(f"{path}.{name}")
    if sent.get("RequesterPays"):
        raise NotImplementedHere(f"{path}.RequesterPays")
    for number, grant in enumerate(sent.get("AccessControlGrants", ())):
        if grant["Grantee"]["TypeIdentifier"] == "emailAddress":  # its owner would have to be asked of the cloud
            raise NotImplementedHere(f"{path}.AccessControlGrants[{number}].Grantee.TypeIdentifier")


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
    tags = parameters.get("tags", "copy")
    return given(
        {
            "TargetResource": bucket_name(parameters["target_bucket"]),
            "CannedAccessControlList": parameters.get("canned_acl"),
            "AccessControlGrants": shown_grants(parameters.get("grants", ())) or None,
            **shown(parameters),
            "ModifiedSinceConstraint": parameters.get("modified_since_ms"),
            "NewObjectTagging": None if tags == "copy" else pairs(tags),
            "RedirectLocation": parameters.get("redirect"),
            "StorageClass": storage_class,
            "UnModifiedSinceConstraint": parameters.get("unmodified_since_ms"),
            "TargetKeyPrefix": folder or new.removesuffix("/") or None,
            "ChecksumAlgorithm": parameters.get("checksum"),
        }
    )


def _is_folder(prefix: str) -> bool:
    return prefix.endswith("/") and not prefix.endswith("//") and len(prefix) > 1


COPY: Final = Element("S3PutObjectCopy", "copy", _read, _write)
