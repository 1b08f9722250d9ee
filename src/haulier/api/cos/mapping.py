"""Parsed COS Batch requests in, core values out, and jobs back into what the model serialises. Rules: cos-batch.md §2, §3.

What the model can say (types, lengths in bytes, enums) was checked before; here are the rules between fields, and the refusal of
every member that no code implements: a job is refused now rather than failed late.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from haulier.api import rules, translation
from haulier.api.restxml import EchoNode, Sent
from haulier.core.accounts import Account, Caller
from haulier.core.arns import Resource, cos_resource, cos_role_arn
from haulier.core.errors import InvalidField, MalformedDocument, NotImplementedHere
from haulier.core.job import Job, Manifest, ObjectName, OperationSpec, Report
from haulier.core.lifecycle import JobStatus
from haulier.service import CreateJob

CSV_MANIFEST: Final = translation.MANIFEST_FORMATS["cos"]
KEY_BYTES_MAX: Final = 850
OBJECT_TAGS_MAX: Final = 10

_Named = dict[str, str | None]


# -- a request becomes a job ---------------------------------------------------------------------------------------------------


def create_job(request: Mapping[str, Any], as_sent: dict[str, Any], caller: Caller) -> CreateJob:
    """The job that a parsed CreateJobRequest asks for. Raises InvalidField, MalformedDocument, NotImplementedHere."""
    rules.without_options(request)
    buckets: _Named = {}
    manifest = _manifest(request["Manifest"], caller.account, buckets)
    operation = _operation(request["Operation"], buckets)
    report = _report(request["Report"], caller.account, buckets)
    return CreateJob(
        dialect="cos",
        region=caller.region,
        token=request["ClientRequestToken"],
        digest=rules.digest(request, "cos"),
        description=request.get("Description"),
        priority=request["Priority"],
        confirmation_required=request.get("ConfirmationRequired", False),
        role_arn=request["RoleArn"],
        manifest=manifest,
        operation=operation,
        report=report,
        buckets=buckets,
        as_sent=as_sent,
    )


def kept(request: Mapping[str, Any], echo: Mapping[str, EchoNode]) -> dict[str, EchoNode]:
    """What is echoed: as sent, but PrefixReplace and the since-constraints in the one spelling that the Go SDK can decode."""
    spelled: dict[str, str] = {}
    for name, value in request["Operation"].get("COSPutObjectCopy", {}).items():
        if name in ("ModifiedSinceConstraint", "UnModifiedSinceConstraint"):
            spelled[name] = str(value)
        elif name == "PrefixReplace":
            spelled[name] = "true" if value else "false"

    def spell(node: EchoNode) -> EchoNode:
        tag, text, children = node
        return [tag, spelled.get(tag, text), [spell(child) for child in children]]

    return {name: spell(node) if name == "Operation" else node for name, node in echo.items()}


def _own(resource: Resource, account: Account, path: str) -> Resource:
    if resource.owner is not None and resource.owner != account.cos_appid:
        raise InvalidField(path, f"belongs to APPID {resource.owner}, not to the calling account's {account.cos_appid}")
    return resource


def _bucket(text: str, path: str) -> Resource:
    resource = cos_resource(text, path)
    if resource.key:
        raise InvalidField(path, f"{text!r} names an object; a bucket is needed (qcs::cos:region:uid/APPID:bucket-APPID)")
    return resource


def _manifest(sent: Mapping[str, Any], account: Account, buckets: _Named) -> Manifest:
    location, spec = sent["Location"], sent["Spec"]
    if spec["Format"] != CSV_MANIFEST:
        raise NotImplementedHere(
            "Manifest.Spec.Format", f"{spec['Format']} is not implemented by this version; use {CSV_MANIFEST}"
        )
    path = "Manifest.Location.ObjectArn"
    resource = _own(cos_resource(location["ObjectArn"], path), account, path)
    if not resource.key:
        raise InvalidField(path, f"{location['ObjectArn']!r} names no object")
    buckets.setdefault(resource.bucket, resource.region)
    return Manifest(
        location=ObjectName(resource.bucket, resource.key, location.get("ObjectVersionId")),
        etag=rules.unquoted(location["ETag"], "Manifest.Location.ETag"),
        format=CSV_MANIFEST,
        fields=_fields(spec),
    )


def _fields(spec: Mapping[str, Any]) -> tuple[str, ...]:
    try:
        return rules.csv_fields(spec.get("Fields"), "Manifest.Spec.Fields")
    except InvalidField as error:  # a bad Manifest is MalformedXML on this wire
        raise MalformedDocument(error.path, error.problem) from None


def _report(sent: Mapping[str, Any], account: Account, buckets: _Named) -> Report:
    if not sent["Enabled"]:
        return Report(enabled=False)
    resource = _own(_bucket(sent["Bucket"], "Report.Bucket"), account, "Report.Bucket")
    buckets.setdefault(resource.bucket, resource.region)
    return Report(
        enabled=True, bucket=resource.bucket, prefix=sent.get("Prefix", ""), format=sent["Format"], scope=sent["ReportScope"]
    )


def _operation(sent: Mapping[str, Any], buckets: _Named) -> OperationSpec:
    [(name, parameters)] = sent.items()
    found = _OPERATIONS.get(name)
    if found is None:
        raise NotImplementedHere(f"Operation.{name}")
    return rules.runnable(found(parameters, f"Operation.{name}", buckets), f"Operation.{name}")


def _directive(sent: Mapping[str, Any], name: str, path: str) -> str | None:
    """`copy`, `replace` or `add`; the documents write both Replace and Replaced, and case does not matter."""
    text = sent.get(name, "").strip()
    known = {"": None, "copy": "copy", "replace": "replace", "replaced": "replace", "add": "add"}
    if text.lower() not in known:
        raise InvalidField(f"{path}.{name}", f"{text!r} is not Copy, Replaced or Add")
    return known[text.lower()]


def _copy(sent: Mapping[str, Any], path: str, buckets: _Named) -> OperationSpec:
    target = _bucket(sent["TargetResource"], f"{path}.TargetResource")
    buckets.setdefault(target.bucket, target.region)
    replace_prefix: list[str] | None = None
    if sent.get("PrefixReplace", False):  # without it the documents switch the two prefixes off
        replace_prefix = [sent.get("ResourcesPrefix", ""), sent.get("TargetKeyPrefix", "")]
    return OperationSpec(
        name="copy",
        parameters={
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
        },
    )


def _milliseconds(seconds: int | None) -> int | None:
    return seconds * 1000 if seconds else None  # 0 stands for "not given" (cos-batch.md §3.3)


_METADATA_FIELDS: Final = {
    "CacheControl": "cache_control",
    "ContentDisposition": "content_disposition",
    "ContentEncoding": "content_encoding",
    "ContentType": "content_type",
    "HttpExpiresDate": "expires_ms",
}


def _new_metadata(sent: Mapping[str, Any], path: str) -> str | dict[str, Any]:
    """`copy`, or what the copies get instead; metadata that no directive would use contradicts it."""
    new = sent.get("NewObjectMetadata", {})
    fields: dict[str, Any] = {ours: new[name] for name, ours in _METADATA_FIELDS.items() if new.get(name)}
    user = rules.tag_map(new.get("UserMetadata", ()), f"{path}.NewObjectMetadata.UserMetadata")
    rules.metadata_names(user, f"{path}.NewObjectMetadata.UserMetadata")
    directive = _directive(sent, "MetadataDirective", path)
    if directive == "add":
        raise NotImplementedHere(f"{path}.MetadataDirective", "Add is not implemented by this version; use Copy or Replaced")
    if directive == "replace":
        return {**fields, "user": user}
    if fields or user:
        raise InvalidField(f"{path}.NewObjectMetadata", "holds metadata, but MetadataDirective is not Replaced")
    return "copy"


def _new_tags(sent: Mapping[str, Any], path: str) -> str | dict[str, str]:
    """`copy`, or exactly these. An empty element beside Copy is what Terraform always sends."""
    directive = _directive(sent, "TaggingDirective", path)
    if directive == "add":
        raise NotImplementedHere(f"{path}.TaggingDirective", "Add is not implemented by this version; use Copy or Replaced")
    tags = rules.tag_map(sent.get("NewObjectTagging", {}).get("COSTag", ()), f"{path}.NewObjectTagging.COSTag", OBJECT_TAGS_MAX)
    if directive == "replace":
        if "NewObjectTagging" not in sent:
            raise MalformedDocument(f"{path}.NewObjectTagging", "is missing; TaggingDirective Replaced needs it")
        return tags
    if tags:
        raise InvalidField(f"{path}.NewObjectTagging", "holds tags, but TaggingDirective is not Replaced")
    return "copy"


def _canned_acl(sent: Mapping[str, Any], path: str) -> str | None:
    directive = _directive(sent, "AccessControlDirective", path)
    if directive in ("copy", "add"):
        raise NotImplementedHere(
            f"{path}.AccessControlDirective",
            f"{sent['AccessControlDirective']} is not implemented by this version; leave it out, or use Replaced",
        )
    if sent.get("AccessControlGrants"):
        raise NotImplementedHere(f"{path}.AccessControlGrants")
    return sent.get("CannedAccessControlList") or None


def _put_tagging(sent: Mapping[str, Any], path: str, buckets: _Named) -> OperationSpec:  # noqa: ARG001 - all of _OPERATIONS look so
    directive = _directive(sent, "TaggingDirective", path) or "replace"
    if directive == "copy":
        raise InvalidField(f"{path}.TaggingDirective", "'Copy' makes no sense here; use Replaced or Add")
    tags = rules.tag_map(sent["TagSet"].get("COSTag", ()), f"{path}.TagSet.COSTag", OBJECT_TAGS_MAX)
    return OperationSpec(name="put_tagging", parameters={"mode": directive, "tags": tags})


def _delete(sent: Mapping[str, Any], path: str, buckets: _Named) -> OperationSpec:  # noqa: ARG001 - as above
    return OperationSpec(name="delete", parameters={"bypass_governance": False})


_OPERATIONS: Final[Mapping[str, Callable[[Mapping[str, Any], str, _Named], OperationSpec]]] = {
    "COSPutObjectCopy": _copy,
    "COSPutObjectTagging": _put_tagging,
    "COSDeleteObject": _delete,
}


# -- a job becomes an answer ---------------------------------------------------------------------------------------------------


def describe(job: Job, account: Account) -> dict[str, Any]:
    """The job as DescribeJob shows it; elements that clients rely on are always there (cos-batch.md §2.2, §7)."""
    failure = job.failure
    return rules.given(
        {
            "ClientRequestToken": job.token,
            "ConfirmationRequired": job.confirmation_required,
            "CreationTime": job.created_ms,
            "Description": job.description or None,
            "FailureReasons": {
                "JobFailure": {
                    "FailureCode": "" if failure is None else failure.code,
                    "FailureReason": "" if failure is None else rules.shown_reason(failure.reason),
                }
            },
            "JobId": job.id,
            **_asked(job, account),
            "Priority": job.priority,
            "ProgressSummary": _progress(job),
            "RoleArn": job.role_arn if job.dialect == "cos" else cos_role_arn(account, job.role),
            "Status": str(job.status),
            "StatusUpdateReason": job.status_reason or ("Job complete" if job.status == JobStatus.COMPLETE else None),
            "SuspendedCause": None if job.suspended_cause is None else "AwaitingConfirmation",
            "SuspendedDate": job.suspended_ms,
            "TerminationDate": job.ended_ms,
        }
    )


def listed(job: Job) -> dict[str, Any]:
    """The job as ListJobs shows it."""
    return rules.given(
        {
            "CreationTime": job.created_ms,
            "Description": job.description or None,
            "JobId": job.id,
            "Operation": translation.operation_name(job, "cos"),
            "Priority": job.priority,
            "ProgressSummary": _progress(job),
            "Status": str(job.status),
            "TerminationDate": job.ended_ms,
        }
    )


def _asked(job: Job, account: Account) -> dict[str, Any]:
    """Manifest, Operation and Report: as sent, or translated from the other wire."""
    if job.dialect == "cos":
        return {name: Sent(node) for name, node in job.as_sent.items()}
    return {
        "Manifest": translation.manifest(job, account, "cos"),
        "Operation": translation.operation(job, "cos", account),
        "Report": translation.report(job, account, "cos"),
    }


def _progress(job: Job) -> dict[str, Any]:
    return {
        "NumberOfTasksFailed": job.failed,
        "NumberOfTasksSucceeded": job.succeeded,
        "TotalNumberOfTasks": job.total or 0,
    }
