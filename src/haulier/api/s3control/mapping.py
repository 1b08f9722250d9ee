"""Parsed S3 Batch requests in, core values out, and jobs back into what the model serialises (s3-batch-operations.md §2 to §4).

What the model can say (types, lengths, enums, patterns) was checked before; here are the rules between fields, and the refusal of
every member that no code implements: a job is refused now rather than failed late.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from haulier.api import rules, translation
from haulier.api.restxml import Sent
from haulier.core.accounts import Account, Caller
from haulier.core.arns import s3_job_arn, s3_resource, s3_role_arn
from haulier.core.errors import InvalidField, MalformedDocument, NotImplementedHere
from haulier.core.job import Job, Manifest, ObjectName, OperationSpec, Report
from haulier.service import CreateJob

CSV_MANIFEST: Final = translation.MANIFEST_FORMATS["s3control"]
DELETE: Final = translation.NAMES["s3control"]["delete"]
"""Ours: neither cloud's S3 wire can delete."""
KEY_BYTES_MAX: Final = 1024
OBJECT_TAGS_MAX: Final = 10
_Named = dict[str, str | None]


# -- a request becomes a job -----------------------------------------------------------------------------------------------------


def create_job(request: Mapping[str, Any], as_sent: dict[str, Any], caller: Caller, *, extensions: bool) -> CreateJob:
    """The job that a parsed CreateJobRequest asks for. Raises InvalidField, MalformedDocument, NotImplementedHere."""
    rules.without_options(request)
    if "ManifestGenerator" in request:
        if "Manifest" in request:
            raise MalformedDocument("ManifestGenerator", "Manifest and ManifestGenerator exclude each other")
        raise NotImplementedHere("ManifestGenerator")
    if "Manifest" not in request:
        raise MalformedDocument("Manifest", "is missing")
    buckets: _Named = {}
    manifest = _manifest(request["Manifest"], buckets)
    operation = _operation(request["Operation"], buckets, extensions=extensions)
    report = _report(request["Report"], buckets)
    return CreateJob(
        dialect="s3control",
        region=caller.region,
        token=request["ClientRequestToken"],
        digest=rules.digest(request, "s3control"),
        description=request.get("Description"),
        priority=request["Priority"],
        confirmation_required=request.get("ConfirmationRequired", True),
        role_arn=request["RoleArn"],
        manifest=manifest,
        operation=operation,
        report=report,
        buckets=buckets,
        as_sent=as_sent,
        tags=rules.tag_map(request.get("Tags", ()), "Tags"),
    )


def _bucket(arn: str, path: str, buckets: _Named) -> str:
    resource = s3_resource(arn, path)
    if resource.key is not None:
        raise InvalidField(path, f"{arn!r} names an object or an access point; a bucket is needed (arn:aws:s3:::bucket)")
    buckets.setdefault(resource.bucket, resource.region)
    return resource.bucket


def _manifest(sent: Mapping[str, Any], buckets: _Named) -> Manifest:
    location, spec = sent["Location"], sent["Spec"]
    if spec["Format"] != CSV_MANIFEST:
        raise NotImplementedHere(
            "Manifest.Spec.Format", f"{spec['Format']} is not implemented by this version; use {CSV_MANIFEST}"
        )
    resource = s3_resource(location["ObjectArn"], "Manifest.Location.ObjectArn")
    if not resource.key:
        raise InvalidField("Manifest.Location.ObjectArn", f"{location['ObjectArn']!r} names no object")
    buckets.setdefault(resource.bucket, resource.region)
    return Manifest(
        location=ObjectName(resource.bucket, resource.key, location.get("ObjectVersionId")),
        etag=rules.unquoted(location["ETag"], "Manifest.Location.ETag"),
        format=CSV_MANIFEST,
        fields=rules.csv_fields(spec.get("Fields"), "Manifest.Spec.Fields"),
    )


def _report(sent: Mapping[str, Any], buckets: _Named) -> Report:
    if not sent["Enabled"]:
        return Report(enabled=False)
    if "ExpectedBucketOwner" in sent:
        raise NotImplementedHere("Report.ExpectedBucketOwner")
    return Report(
        enabled=True,
        bucket=_bucket(sent["Bucket"], "Report.Bucket", buckets),
        prefix=sent.get("Prefix", ""),
        format=sent["Format"],
        scope=sent["ReportScope"],
    )


def _operation(sent: Mapping[str, Any], buckets: _Named, *, extensions: bool) -> OperationSpec:
    [(name, parameters)] = sent.items()
    found = _OPERATIONS.get(name)
    if found is None or (name == DELETE and not extensions):
        raise NotImplementedHere(f"Operation.{name}")
    return rules.runnable(found(parameters, f"Operation.{name}", buckets), f"Operation.{name}")


_COPY_MEMBERS_NOT_IMPLEMENTED: Final = (
    "AccessControlGrants",
    "AnnotationDirective",
    "ObjectLockLegalHoldStatus",
    "ObjectLockMode",
    "ObjectLockRetainUntilDate",
    "ObjectLockEventHold",
    "ObjectLockEventHoldDuration",
)


def _copy(sent: Mapping[str, Any], path: str, buckets: _Named) -> OperationSpec:
    if "TargetResource" not in sent:
        raise MalformedDocument(f"{path}.TargetResource", "is missing")
    if "CannedAccessControlList" in sent and "AccessControlGrants" in sent:
        raise InvalidField(f"{path}.AccessControlGrants", "cannot be given together with CannedAccessControlList")
    for name in _COPY_MEMBERS_NOT_IMPLEMENTED:
        if name in sent:
            raise NotImplementedHere(f"{path}.{name}")
    if sent.get("RequesterPays"):
        raise NotImplementedHere(f"{path}.RequesterPays")
    tags = sent.get("NewObjectTagging")
    return OperationSpec(
        name="copy",
        parameters={
            "dialect": "s3control",
            "key_bytes_max": KEY_BYTES_MAX,
            "target_bucket": _bucket(sent["TargetResource"], f"{path}.TargetResource", buckets),
            "folder": sent.get("TargetKeyPrefix"),
            "metadata": _new_metadata(sent, path),
            "tags": "copy" if tags is None else rules.tag_map(tags, f"{path}.NewObjectTagging", OBJECT_TAGS_MAX),
            "canned_acl": sent.get("CannedAccessControlList"),
            "storage_class": sent.get("StorageClass"),
            **_encryption(sent, path),
            "checksum": sent.get("ChecksumAlgorithm"),
            "redirect": sent.get("RedirectLocation"),
            "modified_since_ms": sent.get("ModifiedSinceConstraint"),
            "unmodified_since_ms": sent.get("UnModifiedSinceConstraint"),
        },
    )


_METADATA_FIELDS: Final = {
    "CacheControl": "cache_control",
    "ContentDisposition": "content_disposition",
    "ContentEncoding": "content_encoding",
    "ContentLanguage": "content_language",
    "ContentType": "content_type",
    "HttpExpiresDate": "expires_ms",
}


def _new_metadata(sent: Mapping[str, Any], path: str) -> str | dict[str, Any]:
    """`copy`, or what the copies get instead. New metadata without a directive replaces (the model's text for NewObjectMetadata);
    an explicit COPY beside it contradicts itself."""
    new = sent.get("NewObjectMetadata", {})
    fields: dict[str, Any] = {ours: new[name] for name, ours in _METADATA_FIELDS.items() if name in new}
    user = dict(new.get("UserMetadata", {}))
    rules.metadata_names(user, f"{path}.NewObjectMetadata.UserMetadata")
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


def _put_tagging(sent: Mapping[str, Any], path: str, buckets: _Named) -> OperationSpec:  # noqa: ARG001 - all of _OPERATIONS look so
    if "TagSet" not in sent:
        raise MalformedDocument(f"{path}.TagSet", "is missing; an empty one removes all tags")
    tags = rules.tag_map(sent["TagSet"], f"{path}.TagSet", OBJECT_TAGS_MAX)
    return OperationSpec(name="put_tagging", parameters={"mode": "replace", "tags": tags})


def _delete(sent: Mapping[str, Any], path: str, buckets: _Named) -> OperationSpec:  # noqa: ARG001 - as above
    return OperationSpec(name="delete", parameters={"bypass_governance": sent.get("BypassGovernanceRetention", False)})


_OPERATIONS: Final[Mapping[str, Callable[[Mapping[str, Any], str, _Named], OperationSpec]]] = {
    "S3PutObjectCopy": _copy,
    "S3PutObjectTagging": _put_tagging,
    "S3DeleteObject": _delete,
}


# -- a job becomes an answer -----------------------------------------------------------------------------------------------------


def describe(job: Job, account: Account, now_ms: int) -> dict[str, Any]:
    """The job as a `JobDescriptor`."""
    return rules.given(
        {
            "JobId": job.id,
            "ConfirmationRequired": job.confirmation_required,
            "Description": job.description,
            "JobArn": s3_job_arn(account, job.region, job.id),
            "Status": str(job.status),
            **_asked(job, account),
            "Priority": job.priority,
            "ProgressSummary": {
                **_progress(job),
                **_failures(job),
                "Timers": {"ElapsedTimeInActiveSeconds": rules.active_seconds(job, now_ms)},
            },
            "StatusUpdateReason": job.status_reason,
            "FailureReasons": []
            if job.failure is None
            else [{"FailureCode": job.failure.code, "FailureReason": rules.shown_reason(job.failure.reason)}],
            "CreationTime": job.created_ms,
            "TerminationDate": job.ended_ms,
            "RoleArn": job.role_arn if job.dialect == "s3control" else s3_role_arn(account, job.role),
            "SuspendedDate": job.suspended_ms,
            "SuspendedCause": None if job.suspended_cause is None else "AWAITING_CONFIRMATION",
        }
    )


def listed(job: Job) -> dict[str, Any]:
    """The job as a `JobListDescriptor`."""
    return rules.given(
        {
            "JobId": job.id,
            "Description": job.description,
            "Operation": translation.operation_name(job, "s3control"),
            "Priority": job.priority,
            "Status": str(job.status),
            "CreationTime": job.created_ms,
            "TerminationDate": job.ended_ms,
            "ProgressSummary": _progress(job),
        }
    )


def _asked(job: Job, account: Account) -> dict[str, Any]:
    """Manifest, Operation and Report: exactly as sent, or translated from the other wire."""
    if job.dialect == "s3control":
        return {name: Sent(node) for name, node in job.as_sent.items()}
    return rules.given(
        {
            "Manifest": translation.manifest(job, account, "s3control"),
            "Operation": translation.operation(job, "s3control", account),
            "Report": translation.report(job, account, "s3control"),
        }
    )


def _failures(job: Job) -> dict[str, Any]:
    """Ours: failed tasks by code, while the job runs. Stock clients pass over elements that they do not know."""
    return {"FailuresByCode": job.failures} if job.failures else {}


def _progress(job: Job) -> dict[str, Any]:
    return {
        "TotalNumberOfTasks": job.total or 0,
        "NumberOfTasksSucceeded": job.succeeded,
        "NumberOfTasksFailed": job.failed,
    }
