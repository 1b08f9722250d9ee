"""Parsed COS Batch requests in, core values out, and jobs back into what the model serialises. Rules: cos-batch.md §2, §3.

What the model can say (types, lengths in bytes, enums) was checked before; here are the rules between fields, and the refusal of
every member that no code implements: a job is refused now rather than failed late.
"""

from collections.abc import Mapping
from typing import Any, Final

from haulier.api import rules, translation
from haulier.api.cos.elements import ELEMENTS
from haulier.api.cos.resources import bucket
from haulier.api.elements import Named
from haulier.api.restxml import EchoNode, Sent
from haulier.core.accounts import Account, Caller
from haulier.core.arns import Resource, cos_resource, cos_role_arn, role_name
from haulier.core.errors import InvalidField, MalformedDocument, NotImplementedHere
from haulier.core.job import Job, Manifest, ObjectName, Report
from haulier.core.lifecycle import JobStatus
from haulier.service import CreateJob

CSV_MANIFEST: Final = translation.MANIFEST_FORMATS["cos"]
INVENTORY: Final = "COSInventoryReport_CSV_V1"

# -- a request becomes a job ---------------------------------------------------------------------------------------------------


def create_job(request: Mapping[str, Any], as_sent: dict[str, Any], caller: Caller) -> CreateJob:
    """The job that a parsed CreateJobRequest asks for. Raises InvalidField, MalformedDocument, AccessRefused;
    NotImplementedHere only for what is right otherwise."""
    if "Options" in request:
        raise NotImplementedHere("Options")
    buckets: Named = {}
    manifest = _manifest(request["Manifest"], caller.account, buckets)
    report = _report(request["Report"], caller.account, buckets)
    role_name(request["RoleArn"], caller.account, "RoleArn")
    operation = ELEMENTS.read(request["Operation"], buckets)
    if manifest.format != CSV_MANIFEST:
        raise NotImplementedHere(
            "Manifest.Spec.Format", f"{manifest.format} is not implemented by this version; use {CSV_MANIFEST}"
        )
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


def _manifest(sent: Mapping[str, Any], account: Account, buckets: Named) -> Manifest:
    location, spec = sent["Location"], sent["Spec"]
    columns = _fields(spec) if spec["Format"] == CSV_MANIFEST else ()  # an inventory names its columns itself
    path = "Manifest.Location.ObjectArn"
    resource = _own(cos_resource(location["ObjectArn"], path), account, path)
    if not resource.key:
        raise InvalidField(path, f"{location['ObjectArn']!r} names no object")
    if spec["Format"] == INVENTORY and resource.key.rpartition("/")[2] != "manifest.json":
        raise InvalidField(path, f"{location['ObjectArn']!r} is not an inventory's manifest.json")
    buckets.setdefault(resource.bucket, resource.region)
    return Manifest(
        location=ObjectName(resource.bucket, resource.key, location.get("ObjectVersionId")),
        etag=rules.unquoted(location["ETag"], "Manifest.Location.ETag"),
        format=spec["Format"],
        fields=columns,
    )


def _fields(spec: Mapping[str, Any]) -> tuple[str, ...]:
    try:
        return rules.csv_fields(spec.get("Fields"), "Manifest.Spec.Fields")
    except InvalidField as error:  # a bad Manifest is MalformedXML on this wire
        raise MalformedDocument(error.path, error.problem) from None


def _report(sent: Mapping[str, Any], account: Account, buckets: Named) -> Report:
    if not sent["Enabled"]:
        return Report(enabled=False)
    resource = _own(bucket(sent["Bucket"], "Report.Bucket"), account, "Report.Bucket")
    buckets.setdefault(resource.bucket, resource.region)
    return Report(
        enabled=True, bucket=resource.bucket, prefix=sent.get("Prefix", ""), format=sent["Format"], scope=sent["ReportScope"]
    )


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
            "StatusUpdateReason": rules.status_reason(job) or ("Job complete" if job.status == JobStatus.COMPLETE else None),
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
