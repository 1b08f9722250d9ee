"""A job seen on the other wire (decisions §2): its manifest, report and operation in that dialect's words, where it has them.

Only for looking: a job that came by one wire is carried out by that wire's rules whoever looks at it. The functions know the
parameters of our operations (`operations/`), not the requests they came from.
"""

from collections.abc import Mapping
from typing import Any, Final

from haulier.api.rules import given
from haulier.core.accounts import Account
from haulier.core.job import Dialect, Job

NAMES: Final[Mapping[Dialect, Mapping[str, str]]] = {
    "s3control": {"copy": "S3PutObjectCopy", "put_tagging": "S3PutObjectTagging", "delete": "S3DeleteObject"},
    "cos": {"copy": "COSPutObjectCopy", "put_tagging": "COSPutObjectTagging", "delete": "COSDeleteObject"},
}
"""Our operations as each wire calls them."""

MANIFEST_FORMATS: Final[Mapping[Dialect, str]] = {
    "s3control": "S3BatchOperations_CSV_20180820",
    "cos": "COSBatchOperations_CSV_V1",
}
REPORT_FORMATS: Final[Mapping[Dialect, str]] = {"s3control": "Report_CSV_20180820", "cos": "Report_CSV_V1"}

STORAGE_CLASSES: Final[Mapping[Dialect, frozenset[str]]] = {
    "s3control": frozenset(
        {"STANDARD", "STANDARD_IA", "ONEZONE_IA", "GLACIER", "INTELLIGENT_TIERING", "DEEP_ARCHIVE", "GLACIER_IR"}
    ),
    "cos": frozenset(
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
    ),
}
"""What a copy may ask for (cos-batch.md §3.3; the S3 model's enum)."""

_COS_CANNED_ACLS: Final = frozenset({"private", "public-read"})


def operation_name(job: Job, dialect: Dialect) -> str:
    """The operation's name as text in a list: the dialect's own where it has one, else the name it was created under."""
    own = NAMES.get(job.dialect, {})
    if job.dialect == dialect or operation(job, dialect) is not None:
        own = NAMES[dialect]
    return own.get(job.operation.name, job.operation.name)


def bucket_name(job: Job, account: Account, bucket: str, dialect: Dialect) -> str:
    """A bucket's resource name in the dialect."""
    if dialect == "cos":
        return f"qcs::cos:{job.region}:uid/{account.cos_appid}:{bucket}"
    return f"arn:aws:s3:::{bucket}"


def manifest(job: Job, account: Account, dialect: Dialect) -> dict[str, Any]:
    """The job's Manifest in the dialect; both shapes have the same members."""
    location = job.manifest.location
    return {
        "Location": given(
            {
                "ETag": job.manifest.etag,
                "ObjectArn": f"{bucket_name(job, account, location.bucket, dialect)}/{location.key}",
                "ObjectVersionId": location.version,
            }
        ),
        "Spec": {"Fields": list(job.manifest.fields), "Format": MANIFEST_FORMATS[dialect]},
    }


def report(job: Job, account: Account, dialect: Dialect) -> dict[str, Any]:
    """The job's Report in the dialect; both shapes have the same members."""
    if not job.report.enabled:
        return {"Enabled": False}
    return given(
        {
            "Bucket": bucket_name(job, account, job.report.bucket, dialect),
            "Enabled": True,
            "Format": REPORT_FORMATS[dialect],
            "Prefix": job.report.prefix or None,
            "ReportScope": job.report.scope,
        }
    )


def operation(job: Job, dialect: Dialect, account: Account | None = None) -> dict[str, Any] | None:
    """The job's Operation in the dialect, or None where the dialect cannot say it. Without an account: names no resource."""
    parameters = job.operation.parameters
    found: dict[str, Any] | None = None
    match job.operation.name:
        case "copy":
            target = "" if account is None else bucket_name(job, account, parameters["target_bucket"], dialect)
            found = _copy_to_cos(parameters, target) if dialect == "cos" else _copy_to_s3(parameters, target)
        case "put_tagging":
            found = _tagging_to_cos(parameters) if dialect == "cos" else _tagging_to_s3(parameters)
        case "delete":
            found = _delete_to_cos(parameters) if dialect == "cos" else _delete_to_s3(parameters)
        case _:
            return None
    return None if found is None else {NAMES[dialect][job.operation.name]: found}


def _pairs(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _tagging_to_s3(parameters: Mapping[str, Any]) -> dict[str, Any] | None:
    return {"TagSet": _pairs(parameters["tags"])} if parameters.get("mode", "replace") == "replace" else None


def _tagging_to_cos(parameters: Mapping[str, Any]) -> dict[str, Any]:
    directive = "Replaced" if parameters.get("mode", "replace") == "replace" else "Add"
    return {"TaggingDirective": directive, "TagSet": {"COSTag": _pairs(parameters["tags"])}}


def _delete_to_s3(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {"BypassGovernanceRetention": True} if parameters.get("bypass_governance") else {}


def _delete_to_cos(parameters: Mapping[str, Any]) -> dict[str, Any] | None:
    return None if parameters.get("bypass_governance") else {}


_METADATA_FIELDS: Final = {
    "CacheControl": "cache_control",
    "ContentDisposition": "content_disposition",
    "ContentEncoding": "content_encoding",
    "ContentType": "content_type",
    "HttpExpiresDate": "expires_ms",
}


def _copy_to_s3(parameters: Mapping[str, Any], target: str) -> dict[str, Any] | None:
    folder = parameters.get("folder")
    old, new = parameters.get("replace_prefix") or ("", "")
    if old or (new and not _is_folder(new)):  # S3 can only put objects into a folder
        return None
    storage_class = parameters.get("storage_class")
    if storage_class is not None and storage_class not in STORAGE_CLASSES["s3control"]:
        return None
    metadata, sse = parameters.get("metadata", "copy"), parameters.get("sse")
    new_metadata: dict[str, Any] = {}
    if metadata != "copy":
        new_metadata = {name: metadata.get(field) for name, field in _METADATA_FIELDS.items()}
        new_metadata["ContentLanguage"] = metadata.get("content_language")
        new_metadata["UserMetadata"] = metadata.get("user") or None
    new_metadata["SSEAlgorithm"] = {"aws:kms": "KMS"}.get(sse, sse) if sse else None
    tags = parameters.get("tags", "copy")
    return given(
        {
            "TargetResource": target,
            "CannedAccessControlList": parameters.get("canned_acl"),
            "MetadataDirective": "COPY" if metadata == "copy" else "REPLACE",
            "ModifiedSinceConstraint": parameters.get("modified_since_ms"),
            "NewObjectMetadata": given(new_metadata) or None,
            "NewObjectTagging": None if tags == "copy" else _pairs(tags),
            "RedirectLocation": parameters.get("redirect"),
            "StorageClass": storage_class,
            "UnModifiedSinceConstraint": parameters.get("unmodified_since_ms"),
            "SSEAwsKmsKeyId": parameters.get("sse_kms_key"),
            "TargetKeyPrefix": folder or new.removesuffix("/") or None,
            "BucketKeyEnabled": parameters.get("bucket_key"),
            "ChecksumAlgorithm": parameters.get("checksum"),
        }
    )


def _is_folder(prefix: str) -> bool:
    return prefix.endswith("/") and not prefix.endswith("//") and len(prefix) > 1


_NOT_ON_COS: Final = ("sse_kms_key", "bucket_key", "checksum", "redirect")


def _copy_to_cos(parameters: Mapping[str, Any], target: str) -> dict[str, Any] | None:
    metadata, sse, acl = parameters.get("metadata", "copy"), parameters.get("sse"), parameters.get("canned_acl")
    storage_class = parameters.get("storage_class")
    unknown = (
        any(parameters.get(name) is not None for name in _NOT_ON_COS)
        or sse not in (None, "AES256")
        or (acl is not None and acl not in _COS_CANNED_ACLS)
        or (storage_class is not None and storage_class not in STORAGE_CLASSES["cos"])
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
        new_metadata["UserMetadata"] = _pairs(metadata["user"]) if metadata.get("user") else None
    new_metadata["SSEAlgorithm"] = sse
    return given(
        {
            "CannedAccessControlList": acl,
            "MetadataDirective": "Copy" if metadata == "copy" else "Replaced",
            "ModifiedSinceConstraint": _seconds(parameters.get("modified_since_ms")),
            "NewObjectMetadata": given(new_metadata) or None,
            "NewObjectTagging": None if tags == "copy" else {"COSTag": _pairs(tags)},
            "PrefixReplace": new is not None,
            "ResourcesPrefix": old,
            "StorageClass": storage_class,
            "TaggingDirective": "Copy" if tags == "copy" else "Replaced",
            "TargetKeyPrefix": new,
            "TargetResource": target,
            "UnModifiedSinceConstraint": _seconds(parameters.get("unmodified_since_ms")),
        }
    )


def _seconds(milliseconds: int | None) -> int | None:
    return None if milliseconds is None else milliseconds // 1000
