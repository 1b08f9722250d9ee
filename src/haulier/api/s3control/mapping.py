"""Parsed S3 Batch requests in, core values out, and jobs back into what the model serialises (s3-batch-operations.md §2 to §4).

What the model can say (types, lengths, enums, patterns) was checked before; here are the rules between fields, and the refusal of
every member that no code implements: a job is refused now rather than failed late.
"""

from collections.abc import Mapping
from typing import Any, Final

from haulier import manifests
from haulier.api import rules, translation
from haulier.api.elements import Named
from haulier.api.restxml import Sent
from haulier.api.s3control import generator
from haulier.api.s3control.elements import ELEMENTS
from haulier.api.s3control.resources import bucket
from haulier.core.accounts import Account, Caller
from haulier.core.arns import s3_job_arn, s3_resource, s3_role_arn
from haulier.core.errors import InvalidField, MalformedDocument, NotImplementedHere
from haulier.core.job import Job, Manifest, ObjectName, Report
from haulier.reports.layout import layout
from haulier.service import CreateJob

CSV_MANIFEST: Final = translation.MANIFEST_FORMATS["s3control"]


# -- a request becomes a job -----------------------------------------------------------------------------------------------------


def create_job(request: Mapping[str, Any], as_sent: dict[str, Any], caller: Caller, *, extensions: bool) -> CreateJob:
    """The job that a parsed CreateJobRequest asks for. Raises InvalidField, MalformedDocument, NotImplementedHere."""
    if "Options" in request and not extensions:
        raise MalformedDocument("Options", "the element is not known here")
    if "ManifestGenerator" in request and "Manifest" in request:
        raise MalformedDocument("ManifestGenerator", "Manifest and ManifestGenerator exclude each other")
    buckets: Named = {}
    tags = rules.tag_map(request.get("Tags", ()), "Tags")
    report = _report(request["Report"], buckets)
    if "ManifestGenerator" in request:
        generator.check(request["ManifestGenerator"], buckets, extensions=extensions)
    if "Manifest" not in request:
        raise MalformedDocument("Manifest", "is missing, and so is ManifestGenerator")
    manifest = _manifest(request["Manifest"], buckets)
    operation = ELEMENTS.read(request["Operation"], buckets)
    limits = rules.limits(request)
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
        tags=tags,
        limits=limits,
    )


def _manifest(sent: Mapping[str, Any], buckets: Named) -> Manifest:
    location, spec = sent["Location"], sent["Spec"]
    resource = s3_resource(location["ObjectArn"], "Manifest.Location.ObjectArn")
    if not resource.key:
        raise InvalidField("Manifest.Location.ObjectArn", f"{location['ObjectArn']!r} names no object")
    buckets.setdefault(resource.bucket, resource.region)
    manifest = Manifest(
        location=ObjectName(resource.bucket, resource.key, location.get("ObjectVersionId")),
        etag=rules.unquoted(location["ETag"], "Manifest.Location.ETag"),
        format=spec["Format"],
        fields=_fields(spec),
    )
    manifests.reader(manifest, "s3control")  # refuses what no code reads
    return manifest


def _fields(spec: Mapping[str, Any]) -> tuple[str, ...]:
    if spec["Format"] == CSV_MANIFEST:
        return rules.csv_fields(spec.get("Fields"), "Manifest.Spec.Fields")
    if "Fields" in spec:
        raise InvalidField("Manifest.Spec.Fields", "must be left out: an inventory names its columns itself")
    return ()


def _report(sent: Mapping[str, Any], buckets: Named) -> Report:
    if not sent["Enabled"]:
        return Report(enabled=False)
    report = Report(
        enabled=True,
        bucket=bucket(sent["Bucket"], "Report.Bucket", buckets),
        prefix=sent.get("Prefix", ""),
        format=sent["Format"],
        scope=sent["ReportScope"],
    )
    layout(report)  # refuses what no code writes
    if "ExpectedBucketOwner" in sent:
        raise NotImplementedHere("Report.ExpectedBucketOwner")
    return report


# -- a job becomes an answer -----------------------------------------------------------------------------------------------------


def describe(job: Job, account: Account, now_ms: int, *, extensions: bool = True) -> dict[str, Any]:
    """The job as a `JobDescriptor`; with our extensions, or without."""
    return rules.given(
        {
            "JobId": job.id,
            "ConfirmationRequired": job.confirmation_required,
            "Description": job.description,
            "JobArn": s3_job_arn(account, job.region, job.id),
            "Status": str(job.status),
            **_asked(job, account, extensions=extensions),
            **({**_placements(job), **_retries(job)} if extensions else {}),
            "Priority": job.priority,
            "ProgressSummary": {
                **_progress(job),
                **(_failures(job) if extensions else {}),
                "Timers": {"ElapsedTimeInActiveSeconds": rules.active_seconds(job, now_ms)},
            },
            "StatusUpdateReason": rules.status_reason(job),
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


def listed(job: Job, *, extensions: bool = True) -> dict[str, Any]:
    """The job as a `JobListDescriptor`."""
    return rules.given(
        {
            "JobId": job.id,
            "Description": job.description,
            "Operation": translation.operation_name(job, "s3control", extensions=extensions),
            "Priority": job.priority,
            "Status": str(job.status),
            "CreationTime": job.created_ms,
            "TerminationDate": job.ended_ms,
            "ProgressSummary": _progress(job),
        }
    )


def _asked(job: Job, account: Account, *, extensions: bool) -> dict[str, Any]:
    """What was asked: exactly as sent, or translated from the other wire."""
    if job.dialect == "s3control":
        return {name: Sent(node) for name, node in job.as_sent.items() if extensions or name != "Options"}
    return rules.given(
        {
            "Manifest": translation.manifest(job, account, "s3control"),
            "Operation": translation.operation(job, "s3control", account, extensions=extensions),
            "Report": translation.report(job, account, "s3control"),
            "Options": _options(job) if extensions else None,
        }
    )


def _options(job: Job) -> dict[str, Any] | None:
    """Ours: the limits of a job that another API has made; rates are whole there."""
    if job.limits is None:
        return None
    rate = job.limits.requests_per_second
    return rules.given(
        {"Concurrency": job.limits.concurrency, "RequestsPerSecond": None if rate is None else max(1, round(rate))}
    )


def _placements(job: Job) -> dict[str, Any]:
    """Ours: where the job's buckets are, which is fixed before anything is changed there (decisions §1, "Resolution")."""
    found = [rules.given({"Bucket": placed.bucket, "Store": placed.store or None}) for placed in job.placements]
    return {"Placements": found} if found else {}


def _retries(job: Job) -> dict[str, Any]:
    """Ours: which jobs have tasks in common, because one runs again what another one failed at."""
    of = {} if job.retry is None else {"RetryOf": job.retry.of}
    return {**of, "RetriedBy": list(job.retried_by)} if job.retried_by else of


def _failures(job: Job) -> dict[str, Any]:
    """Ours: failed tasks by code, while the job runs. Stock clients pass over elements that they do not know."""
    return {"FailuresByCode": job.failures} if job.failures else {}


def _progress(job: Job) -> dict[str, Any]:
    return {
        "TotalNumberOfTasks": job.total or 0,
        "NumberOfTasksSucceeded": job.succeeded,
        "NumberOfTasksFailed": job.failed,
    }
