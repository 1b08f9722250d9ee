"""Documents of the native API in, core values out, and jobs back into documents."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from haulier.api import rules
from haulier.api.cos import mapping as cos
from haulier.api.elements import Named
from haulier.api.native import parameters, twin
from haulier.api.native.documents import (
    TEXT_BYTES_MAX,
    DeliverDocument,
    DeliveryDocument,
    EventDocument,
    FailureClassDocument,
    FailureDocument,
    JobDocument,
    LimitsDocument,
    ListedJob,
    ManifestDocument,
    NewJob,
    OperationDocument,
    PlacementDocument,
    ProgressDocument,
    ProgressMessage,
    ReportDocument,
    RetriedDocument,
    RetryDocument,
    SampleDocument,
    WaitsDocument,
)
from haulier.api.native.jsonbody import convert
from haulier.api.restxml import Model
from haulier.api.s3control import mapping as s3control
from haulier.core.accounts import Account, Caller
from haulier.core.arns import cos_role_arn, role_name, s3_role_arn
from haulier.core.delivery import Place
from haulier.core.errors import InvalidField, InvalidRequest, MalformedDocument, NotImplementedHere
from haulier.core.failures import FailureClass, Sample
from haulier.core.history import RecordedEvent
from haulier.core.job import Dialect, Failure, Job, Limits, Manifest, ObjectName, Report
from haulier.core.lifecycle import JobStatus
from haulier.core.retry import RetryJob
from haulier.manifests import FORMATS
from haulier.reports import LAYOUTS
from haulier.service import CreateJob

REPORT_PREFIX_BYTES_MAX: Final = 512
HARMLESS: Final = frozenset({"put_tagging"})
"""Operations that neither delete nor overwrite an object: their jobs wait for a confirmation only when told to (decisions §2)."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


# -- a request becomes a job -----------------------------------------------------------------------------------------------------


def create_job(sent: Any, key: str | None, caller: Caller, *, otherwise: str, extensions: bool) -> CreateJob:
    """The job that a JSON value asks for, in the words of the dialect that its member `dialect` names. `key` is the
    Idempotency-Key, `otherwise` the token of a request that names none. Raises InvalidField, MalformedDocument,
    NotImplementedHere, InvalidRequest."""
    if not isinstance(sent, dict):
        raise MalformedDocument("", "the body must be an object")
    match sent.get("dialect", "native"):
        case "native":
            return _native(sent, key or otherwise, caller)
        case "s3control":
            request = _with_token(sent, key, otherwise)
            _check_account(request.pop("AccountId", None), caller.account)
            parsed, echo = twin.checked(Model.s3control(extensions=extensions), "CreateJob", request)
            return s3control.create_job(parsed, dict(echo), caller, extensions=extensions)
        case "cos":
            parsed, echo = twin.checked(Model.cos(), "CreateJob", _with_token(sent, key, otherwise))
            return cos.create_job(parsed, cos.kept(parsed, echo), caller)
        case other:
            raise InvalidField("dialect", f"{str(other)[:80]!r} is not native, s3control or cos")


def _with_token(sent: Mapping[str, Any], key: str | None, otherwise: str) -> dict[str, Any]:
    """The request of a cloud's dialect without our member; the header and ClientRequestToken are two names of one thing."""
    request = {name: value for name, value in sent.items() if name != "dialect"}
    if key is not None and request.get("ClientRequestToken", key) != key:
        raise InvalidRequest("Idempotency-Key and ClientRequestToken differ; one of them is enough.")
    request.setdefault("ClientRequestToken", key or otherwise)
    return request


def _check_account(named: Any, account: Account) -> None:
    if named is not None and named != account.aws_account_id:
        raise InvalidField("AccountId", "is not the account of the key that signed; it can be left out")


def _native(sent: Mapping[str, Any], token: str, caller: Caller) -> CreateJob:
    new = convert(sent, NewJob)
    role_arn = _role_arn(new.role, caller.account)
    role_name(role_arn, caller.account, "role")  # looked at by the service as well, which calls it RoleArn
    buckets: Named = {}
    manifest, rules_of = _manifest(new.manifest, buckets)
    operation = parameters.operation(new.operation, rules_of, buckets)
    report = _report(new.report, buckets)
    return CreateJob(
        dialect="native",
        region=caller.region,
        token=token,
        digest=hashlib.sha256(msgspec.json.encode(new, order="deterministic")).hexdigest(),
        description=text_of(new.description, "description"),
        priority=new.priority,
        confirmation_required=new.operation.name not in HARMLESS if new.confirm is None else new.confirm,
        role_arn=role_arn,
        manifest=manifest,
        operation=operation,
        report=report,
        buckets=buckets,
        as_sent={name: sent[name] for name in ("manifest", "operation", "report") if name in sent},
        tags=job_tags(new.tags),
        limits=None if new.limits is None else limits(new.limits),
    )


def retry_job(sent: RetryDocument, job_id: str, token: str) -> RetryJob:
    """The retry of a job that is asked for; `token` tells a repeated request from a new one."""
    asked = msgspec.json.encode((job_id, sent), order="deterministic")
    return RetryJob(
        token=token,
        digest=hashlib.sha256(asked).hexdigest(),
        codes=sent.codes,
        kinds=sent.kinds,
        priority=sent.priority,
        confirm=sent.confirm,
        description=text_of(sent.description, "description"),
    )


def place(sent: DeliverDocument) -> Place | None:
    """Where the report is to go; None = where the job said."""
    return (
        None
        if sent.to is None
        else Place(parameters.bucket(sent.to.bucket, "to.bucket", {}), _prefix(sent.to.prefix, "to.prefix"))
    )


def limits(sent: LimitsDocument) -> Limits | None:
    """The limits that a document asks for; None = none."""
    found = Limits(sent.concurrency, sent.requests_per_second)
    return None if found == Limits() else found


def text_of(text: str | None, path: str) -> str | None:
    """A description or a reason. Raises InvalidField for one of too many bytes."""
    return None if text is None else rules.text_bytes(text, path, TEXT_BYTES_MAX)


def job_tags(tags: dict[str, str]) -> dict[str, str]:
    """A job's own tags, in the form in which the S3 wire shows them (TagKeyString, TagValueString). Raises InvalidField."""
    rules.tag_forms(tags, "tags")
    return tags


def _prefix(prefix: str, path: str) -> str:
    return rules.text_bytes(prefix, path, REPORT_PREFIX_BYTES_MAX)


def _manifest(sent: ManifestDocument, buckets: Named) -> tuple[Manifest, Dialect]:
    """The manifest, and the dialect whose rules its format has."""
    found = next((format_ for format_ in FORMATS if format_.name == sent.format and "native" in format_.dialects), None)
    if found is None:
        known = ", ".join(format_.name for format_ in FORMATS if "native" in format_.dialects)
        raise NotImplementedHere("manifest.format", f"{sent.format[:80]!r} cannot be read; formats are {known}")
    key = rules.text_bytes(sent.key, "manifest.key", parameters.KEY_BYTES_MAX)
    manifest = Manifest(
        location=ObjectName(parameters.bucket(sent.bucket, "manifest.bucket", buckets), key, sent.version),
        etag=rules.unquoted(sent.etag, "manifest.etag"),
        format=sent.format,
        fields=rules.csv_fields(sent.fields, "manifest.fields"),
    )
    return manifest, "cos" if "cos" in found.dialects else "s3control"


def _report(sent: ReportDocument | None, buckets: Named) -> Report:
    if sent is None:
        return Report(enabled=False)
    known = [layout.format for layout in LAYOUTS]
    if sent.format not in known:
        raise NotImplementedHere("report.format", f"{sent.format[:80]!r} cannot be written; formats are {', '.join(known)}")
    bucket = parameters.bucket(sent.bucket, "report.bucket", buckets)
    prefix = _prefix(sent.prefix, "report.prefix")
    return Report(enabled=True, bucket=bucket, prefix=prefix, format=sent.format, scope=sent.scope)


def _role_arn(role: str, account: Account) -> str:
    """A role's name as the ARN that policies know it by; ARNs as they are."""
    if ":" in role:
        return role
    if account.aws_account_id is not None:
        return s3_role_arn(account, role)
    if account.cos_uin is not None:
        return cos_role_arn(account, role)
    raise InvalidField("role", f"account {account.name!r} has neither aws_account_id nor cos_uin, so its roles have no ARN")


# -- a job becomes a document ----------------------------------------------------------------------------------------------------


def moment(milliseconds: int) -> str:
    """Unix milliseconds as RFC 3339."""
    time = (_EPOCH + timedelta(milliseconds=milliseconds)).replace(tzinfo=None)
    return time.isoformat(timespec="milliseconds") + "Z"


def _maybe(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else moment(milliseconds)


def job_document(job: Job) -> JobDocument:
    """The job, with its version: it depends on what is stored alone, never on the clock."""
    location = job.manifest.location
    document = JobDocument(
        id=job.id,
        version="",
        status=JobStatus(job.status),
        status_since=moment(job.status_since_ms),
        status_reason=job.status_reason,
        paused_by=job.paused_by,
        description=job.description,
        priority=job.priority,
        operation=OperationDocument(
            name=job.operation.name,
            parameters={name: value for name, value in job.operation.parameters.items() if name not in parameters.INTERNAL},
        ),
        manifest=ManifestDocument(
            bucket=location.bucket,
            key=location.key,
            etag=job.manifest.etag,
            version=location.version,
            format=job.manifest.format,
            fields=job.manifest.fields,  # type: ignore[arg-type]  # checked when the job was created
        ),
        report=ReportDocument(
            bucket=job.report.bucket, prefix=job.report.prefix, format=job.report.format, scope=job.report.scope
        )
        if job.report.enabled
        else None,
        role=job.role,
        role_arn=job.role_arn,
        confirm=job.confirmation_required,
        confirmed=job.confirmation_given,
        dialect=job.dialect,
        created_by=job.created_by,
        created_at=moment(job.created_ms),
        suspended_at=_maybe(job.suspended_ms),
        ended_at=_maybe(job.ended_ms),
        active_seconds=job.active_ms / 1000,
        progress=progress(job),
        failure=_failure(job),
        waits=None
        if job.waits is None
        else WaitsDocument(code=job.waits.code, reason=job.waits.reason, since=moment(job.waits.since_ms)),
        tags=job.tags,
        limits=None
        if job.limits is None
        else LimitsDocument(concurrency=job.limits.concurrency, requests_per_second=job.limits.requests_per_second),
        delivery=_delivery(job),
        retry=None if job.retry is None else RetriedDocument(of=job.retry.of, codes=job.retry.codes, kinds=job.retry.kinds),
        retried_by=job.retried_by,
        placements=tuple(PlacementDocument(bucket=placed.bucket, store=placed.store) for placed in job.placements),
    )
    return msgspec.structs.replace(document, version=version_of(document))


def progress_message(job: Job) -> ProgressMessage:
    """The job in a stream."""
    document = job_document(job)
    return ProgressMessage(**{name: getattr(document, name) for name in ProgressMessage.__struct_fields__})


def version_of(document: object) -> str:
    """A short text that differs when the document does."""
    return hashlib.blake2b(msgspec.json.encode(document, order="deterministic"), digest_size=9).hexdigest()


def listed(job: Job) -> ListedJob:
    """The job in a list."""
    return ListedJob(
        id=job.id,
        status=JobStatus(job.status),
        description=job.description,
        operation=job.operation.name,
        priority=job.priority,
        created_by=job.created_by,
        created_at=moment(job.created_ms),
        ended_at=_maybe(job.ended_ms),
        progress=progress(job),
        failure=_failure(job),
        tags=job.tags,
        retry_of=None if job.retry is None else job.retry.of,
    )


def progress(job: Job) -> ProgressDocument:
    """The job's counters."""
    return ProgressDocument(total=job.total, succeeded=job.succeeded, failed=job.failed, failures=job.failures)


def _delivery(job: Job) -> DeliveryDocument | None:
    delivery = job.delivery
    if delivery is None:
        return None
    return DeliveryDocument(
        bucket=delivery.bucket,
        prefix=delivery.prefix,
        status=delivery.status,
        asked_by=delivery.by,
        asked_at=moment(delivery.asked_ms),
        ended_at=_maybe(delivery.ended_ms),
        failure=_told(delivery.failure),
    )


def failure_class(found: FailureClass) -> FailureClassDocument:
    """A class of failures."""
    return FailureClassDocument(
        code=found.code,
        kind=found.kind,
        http_status=found.status or None,
        count=found.count,
        first_at=_maybe(found.first_ms),
        last_at=_maybe(found.last_ms),
        samples=tuple(_sample(each) for each in found.samples),
        hint=found.hint,
    )


def _sample(sample: Sample) -> SampleDocument:
    return SampleDocument(
        bucket=sample.bucket,
        key=_text(sample.key),
        version=None if sample.version is None else _text(sample.version),
        at=moment(sample.at_ms),
        message=sample.message,
        request_id=sample.request_id,
    )


def _text(name: bytes) -> str:
    """A key or version id, which nearly always is UTF-8."""
    return name.decode(errors="backslashreplace")


def _failure(job: Job) -> FailureDocument | None:
    return _told(job.failure)


def _told(failure: Failure | None) -> FailureDocument | None:
    return None if failure is None else FailureDocument(code=failure.code, reason=failure.reason)


def event_document(event: RecordedEvent) -> EventDocument:
    """An entry of a job's record."""
    return EventDocument(sequence=event.sequence, at=moment(event.at_ms), kind=event.kind, by=event.by, facts=event.facts)
