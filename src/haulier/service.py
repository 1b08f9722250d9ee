"""What a caller may ask of Haulier, the same for every wire: create, describe, list, set priority, set status, tag, delete.

The API layers turn requests into these calls and nothing else; here stand the rules that do not depend on a wire's spelling.
Those few in which the dialects differ on purpose are data, in `core.legality`. Every call is synchronous, may be made from any
thread, and has changed nothing when it raises.
"""

import hmac
import secrets
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from haulier.core import arns
from haulier.core.accounts import NO_QUOTAS, Caller, Quotas
from haulier.core.calls import Call
from haulier.core.delivery import Place, asked
from haulier.core.errors import (
    IllegalTransition,
    InvalidField,
    InvalidListToken,
    JobFailure,
    JobNotFound,
    TokenReused,
    TooManyTags,
)
from haulier.core.failures import NOT_ATTEMPTED, FailureClass, most_first
from haulier.core.history import RecordedEvent
from haulier.core.job import Dialect, Job, Limits, Manifest, OperationSpec, Placement, Report
from haulier.core.legality import DISCARD, LEGAL, Reaction, Special, react
from haulier.core.lifecycle import TERMINAL, JobEvent, JobStatus
from haulier.core.listtokens import ListTokens, is_job_id
from haulier.core.placement import Resolver
from haulier.core.policy.questions import NOTHING_REQUESTED, Requested
from haulier.core.policy.rights import Rights
from haulier.core.ports import Clock, JobStore, ListQuery, Written
from haulier.core.retry import RetryJob, again, check_choice, check_kept
from haulier.rates import RequestRates

PAGE_JOBS_MAX: Final = 1000
COS_LIST_DAYS: Final = 90
"""COS lists jobs created in the last 90 days (cos-batch.md §2.3), however long they are kept."""
TAGS_MAX: Final = 50
EVENTS_MAX: Final = 1000
"""In one answer: a job's whole record."""
DAY_MS: Final = 86_400_000


Precondition = Callable[[Job], None]
"""Called with a job as it is stored, in the transaction that would change it: what it raises is raised, and nothing changes."""


def _always(job: Job) -> None:
    """Change the job whatever it is."""


class CreateJob(msgspec.Struct, frozen=True, kw_only=True):
    """A checked request for a new job: everything the mapping of a wire found in it."""

    dialect: Dialect
    region: str
    token: str
    digest: str
    """SHA-256 of the parsed request without its token."""
    description: str | None
    priority: int
    confirmation_required: bool
    role_arn: str
    manifest: Manifest
    operation: OperationSpec
    report: Report
    buckets: Mapping[str, str | None]
    """Buckets that the request itself names (manifest, report, target) → the region in their resource name, if it has one."""
    as_sent: dict[str, Any]
    tags: dict[str, str] = {}
    limits: Limits | None = None


class Page(msgspec.Struct, frozen=True):
    """One page of a list; `next_token` is None on the last one."""

    jobs: Sequence[Job]
    next_token: str | None


class StatusAnswer(msgspec.Struct, frozen=True):
    """The job after a status request, and the status to answer: a resumed job is told to be `Ready` (decisions §2)."""

    job: Job
    status: str


class Service:
    """The calls. Every one begins with the caller's right to it and ends with what is stored.

    `rights` says what a caller may do. `secret` keys the list tokens: processes that serve one job store share it, and a new one
    makes old tokens invalid; left out, it is new with every start. `quotas` hold for accounts that have none of their own.
    `list_days` after its end a job is no longer listed, on the S3 wire and natively; `spool_retention_days` after it its rows and
    their outcomes are no longer kept.
    """

    def __init__(
        self,
        jobstore: JobStore,
        resolver: Resolver,
        clock: Clock,
        *,
        rights: Rights,
        secret: bytes | None = None,
        quotas: Quotas = NO_QUOTAS,
        list_days: int = 90,
        spool_retention_days: float = 7,
        extensions: bool = True,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self._jobstore = jobstore
        self._resolver = resolver
        self.clock = clock
        self._rights = rights
        self._tokens = ListTokens(secret or secrets.token_bytes(32))
        self._quotas = quotas
        self._rates = RequestRates(clock)
        self._list_days = list_days
        self._spool_retention_days = spool_retention_days
        self._new_id = new_id
        self.extensions = extensions
        """Whether requests may use what neither cloud has: Paused, and operations of ours."""

    def reload(self, resolver: Resolver, *, quotas: Quotas, list_days: int, spool_retention_days: float) -> None:
        """Use these from the next call on."""
        self._resolver = resolver
        self._quotas = quotas
        self._list_days = list_days
        self._spool_retention_days = spool_retention_days

    def admit(self, caller: Caller, call: Call) -> None:
        """Raises TooManyRequests when the caller's account asks too often, AccessRefused when the caller may do this to no job.

        A wire asks first, so that no body is parsed for someone who may not send it. What depends on the job and on what is asked
        of it is decided by the calls below.
        """
        self._rates.take(caller.account.name, self._quotas_of(caller).requests_per_second)
        self._rights.admit(caller, call)

    def _quotas_of(self, caller: Caller) -> Quotas:
        return caller.account.quotas.or_else(self._quotas)

    def _job(self, caller: Caller, call: Call, job_id: str, requested: Requested = NOTHING_REQUESTED) -> Job:
        """The job, if the caller may do this to it. Raises AccessRefused, JobNotFound.

        Who may not do it to a job of that id, whatever job it is, is told so whether there is one or not.
        """
        now_ms = self.clock.now_ms()
        try:
            job = self._jobstore.get(caller.account.name, job_id)
        except JobNotFound:
            self._rights.check(caller, call, now_ms, job_id=job_id, requested=requested)
            raise
        self._rights.check(caller, call, now_ms, job=job, requested=requested)
        return job

    def create(self, caller: Caller, request: CreateJob) -> Job:
        """Store a new job, or return the one that the same request under the same token made (S3 and native) and that was not
        deleted.

        Where buckets lie is resolved now and frozen; one that resolves nowhere, or that the role may not touch, does not fail
        the call but the job later, as with AWS. Raises AccessRefused, InvalidField, TokenReused, TooManyJobs, TooManyTags.
        """
        job = self._new_job(caller, request)
        self._rights.check_run(caller, job, job.created_ms)
        _check_tag_count(request.tags)
        return self._store(caller, job)

    def retry(self, caller: Caller, job_id: str, request: RetryJob) -> Job:
        """A new job that runs again what failed, or was left undone, of one that has ended; under the same token the one that the
        same request made before. It needs what creating it needs (decisions §2).

        Raises AccessRefused, JobNotFound, IllegalTransition for a job that has not ended, OutcomesGone, NothingToRetry,
        InvalidField, TokenReused and TooManyJobs.
        """
        source = self.describe(caller, job_id)
        now_ms = self.clock.now_ms()
        job = again(source, request, job_id=self._new_id(), by=caller.user.name, now_ms=now_ms)
        self._rights.check_run(caller, job, now_ms)
        if self._jobstore.by_token(caller.account.name, job.token) is None:
            if source.status not in TERMINAL:
                raise IllegalTransition(source.id, source.status, "a retry")
            check_kept(source, now_ms, self._spool_retention_days)
            check_choice(source, self._jobstore.failures(source.id), request)
        return self._store(caller, job)

    def _store(self, caller: Caller, job: Job) -> Job:
        """Store the job, unless its token made one before: then that one."""
        earlier = self._jobstore.by_token(caller.account.name, job.token)
        if earlier is not None:
            return self._repeated(caller, earlier, job)
        try:
            self._jobstore.create(job, unfinished_max=self._quotas_of(caller).unfinished_jobs or sys.maxsize)
        except TokenReused:
            earlier = self._jobstore.by_token(caller.account.name, job.token)
            if earlier is None:
                raise
            return self._repeated(caller, earlier, job)
        return job

    def _repeated(self, caller: Caller, earlier: Job, request: Job) -> Job:
        """The answer to a token that is taken: COS refuses every repetition, the others only another content (decisions §2). Of a
        job that was deleted nothing is left to hand out, but its token stays taken (decisions §5)."""
        same = earlier.dialect == request.dialect and hmac.compare_digest(earlier.digest.encode(), request.digest.encode())
        if caller.dialect == "cos" or not same:
            raise TokenReused(request.token, earlier.id)
        try:
            return self._jobstore.get(caller.account.name, earlier.id)
        except JobNotFound:
            raise TokenReused(request.token, earlier.id, deleted=True) from None

    def _new_job(self, caller: Caller, request: CreateJob) -> Job:
        """The job that is asked for. Raises AccessRefused for another account's role, InvalidField for none."""
        now_ms = self.clock.now_ms()
        return Job(
            id=self._new_id(),
            account=caller.account.name,
            dialect=request.dialect,
            token=request.token,
            digest=request.digest,
            created_by=caller.user.name,
            role=arns.role_name(request.role_arn, caller.account, "RoleArn"),
            role_arn=request.role_arn,
            region=request.region,
            description=request.description,
            priority=request.priority,
            confirmation_required=request.confirmation_required,
            manifest=request.manifest,
            operation=request.operation,
            report=request.report,
            as_sent=request.as_sent,
            placements=self._placements(request.buckets),
            tags=dict(request.tags),
            limits=request.limits,
            status_since_ms=now_ms,
            created_ms=now_ms,
        )

    def _placements(self, buckets: Mapping[str, str | None]) -> tuple[Placement, ...]:
        return tuple(Placement(bucket, self._store_of(bucket, region), region) for bucket, region in buckets.items())

    def _store_of(self, bucket: str, region: str | None) -> str:
        try:
            return self._resolver.resolve(bucket, region).name
        except JobFailure:
            return ""  # asked again, and told to the user, when the job is prepared

    def describe(self, caller: Caller, job_id: str) -> Job:
        """The job. Raises JobNotFound, also for a job of another account."""
        return self._job(caller, Call.DESCRIBE, job_id)

    def list(
        self,
        caller: Caller,
        *,
        statuses: frozenset[str] = frozenset(),
        operations: frozenset[str] = frozenset(),
        tags: Sequence[str] = (),
        text: str | None = None,
        limit: int | None = None,
        token: str | None = None,
    ) -> Page:
        """One page of the account's jobs: COS oldest first, else newest first. No limit given means 1,000, the most there is.
        For what narrows the list see `ListQuery`.

        Raises InvalidListToken.
        """
        self._rights.check(caller, Call.LIST, self.clock.now_ms())
        limit = limit or PAGE_JOBS_MAX
        created_since_ms, ended_since_ms = self._window(caller.dialect)
        found = self._jobstore.list(
            ListQuery(
                account=caller.account.name,
                statuses=statuses,
                operations=operations,
                tags=tuple(tags),
                text=text,
                newest_first=caller.dialect != "cos",
                after=None if token is None else self._after(caller, token),
                created_since_ms=created_since_ms,
                ended_since_ms=ended_since_ms,
                limit=limit + 1,
            )
        )
        more = len(found) > limit
        return Page(found[:limit], self._tokens.make(caller, found[limit - 1]) if more else None)

    def _window(self, dialect: Dialect) -> tuple[int | None, int | None]:
        """What is too old to be listed: by its creation for COS, by its end for the others. Unfinished jobs always are."""
        now_ms = self.clock.now_ms()
        if dialect == "cos":
            return now_ms - COS_LIST_DAYS * DAY_MS, None
        return None, now_ms - self._list_days * DAY_MS

    def _after(self, caller: Caller, token: str) -> tuple[int, str]:
        if caller.dialect == "cos" and is_job_id(token):  # documented there: the last JobId of the page before
            job = self._jobstore.find([token]).get(token)  # also one that was deleted meanwhile: its place is still known
            if job is None or job.account != caller.account.name:
                raise InvalidListToken("The list token names no job.")
            return job.created_ms, job.id
        return self._tokens.read(caller, token)

    def set_priority(self, caller: Caller, job_id: str, priority: int, *, precondition: Precondition = _always) -> Job:
        """Give the job another priority, also while it runs. Raises JobNotFound, and IllegalTransition when it has ended."""
        requested = Requested(priority=priority)

        def change(job: Job) -> Job:
            if job.status in TERMINAL:
                raise IllegalTransition(job.id, job.status, "another priority")
            return msgspec.structs.replace(job, priority=priority)

        self._job(caller, Call.SET_PRIORITY, job_id, requested)
        return self._change(caller, Call.SET_PRIORITY, job_id, change, requested=requested, precondition=precondition)

    def set_limits(self, caller: Caller, job_id: str, limits: Limits | None, *, precondition: Precondition = _always) -> Job:
        """Give the job other limits, also while it runs; None = none but those of its stores. Raises JobNotFound, and
        IllegalTransition when it has ended."""

        def change(job: Job) -> Job:
            if job.status in TERMINAL:
                raise IllegalTransition(job.id, job.status, "other limits")
            return msgspec.structs.replace(job, limits=limits)

        self._job(caller, Call.SET_LIMITS, job_id)
        return self._change(caller, Call.SET_LIMITS, job_id, change, precondition=precondition)

    def set_status(
        self, caller: Caller, job_id: str, requested: str, reason: str | None, *, precondition: Precondition = _always
    ) -> StatusAnswer:
        """Confirm, resume (`Ready`), cancel (`Cancelled`) or, with extensions on, pause (`Paused`) a job.

        `Ready` lets a job act as its role, so it needs what creating it needs (decisions §2). Raises InvalidField for another
        word, IllegalTransition where the dialect's table has no such move, JobNotFound, AccessRefused.
        """
        now_ms = self.clock.now_ms()

        def change(job: Job) -> Job:
            if requested == "Ready":
                self._rights.check_run(caller, job, now_ms)
            reaction = self._reaction(caller.dialect, requested, job)
            if reaction is None:
                raise IllegalTransition(job.id, job.status, f"the status {requested}")
            changed = self._react(job, reaction, now_ms)
            return changed if reason is None else msgspec.structs.replace(changed, status_reason=reason)

        self._job(caller, Call.SET_STATUS, job_id)
        may_pause = self._may_pause(caller.dialect)
        if requested not in LEGAL[caller.dialect] or (requested == "Paused" and not may_pause):
            known = "Ready, Cancelled or Paused" if may_pause else "Ready or Cancelled"
            raise InvalidField("requestedJobStatus", f"{requested!r} is not {known}")
        job = self._change(caller, Call.SET_STATUS, job_id, change, reason=reason, precondition=precondition)
        resumed = requested == "Ready" and job.status == JobStatus.ACTIVE
        return StatusAnswer(job, JobStatus.READY.value if resumed else str(job.status))

    def _change(
        self,
        caller: Caller,
        call: Call,
        job_id: str,
        change: Callable[[Job], Job],
        *,
        requested: Requested = NOTHING_REQUESTED,
        reason: str | None = None,
        precondition: Precondition,
    ) -> Job:
        """Change the job, which `_job` has looked at. The caller's right is asked again, for the job as it is by now."""
        now_ms = self.clock.now_ms()

        def authorised(job: Job) -> Job:
            self._rights.check(caller, call, now_ms, job=job, requested=requested)
            precondition(job)
            return change(job)

        return self._jobstore.change(caller.account.name, job_id, authorised, by=caller.user.name, reason=reason)

    def _may_pause(self, dialect: Dialect) -> bool:
        """Decisions §2: on both wires while extensions are on, and natively."""
        return self.extensions or dialect == "native"

    def _reaction(self, dialect: Dialect, requested: str, job: Job) -> Reaction | None:
        status = JobStatus(job.status)
        if (
            self._may_pause(dialect)
            and requested == "Ready"
            and job.paused_by == "user"
            and status in (JobStatus.PAUSING, JobStatus.PAUSED)
        ):
            return JobEvent.RELEASED
        return LEGAL[dialect][requested].get(status)

    def _react(self, job: Job, reaction: Reaction, now_ms: int) -> Job:
        return react(job, reaction, now_ms, self._jobstore.chunks(job.id) if reaction is Special.CANCEL else ())

    def events(self, caller: Caller, job_id: str, *, after: int = 0, limit: int = EVENTS_MAX) -> Sequence[RecordedEvent]:
        """What happened to the job, behind the event numbered `after`, oldest first. Raises JobNotFound."""
        job = self.describe(caller, job_id)
        return self._jobstore.events(job.id, after=after, limit=limit)

    def failures(self, caller: Caller, job_id: str) -> Sequence[FailureClass]:
        """Why the job's tasks failed, the most frequent class first; of a job that has ended also the tasks that it left undone.
        Raises JobNotFound."""
        job = self.describe(caller, job_id)
        found = self._jobstore.failures(job.id)
        left = (job.total or 0) - job.executed
        if left and job.status in TERMINAL:
            found = most_first([*found, FailureClass(code=NOT_ATTEMPTED, status=0, count=left)])
        return found

    def deliver_report(self, caller: Caller, job_id: str, to: Place | None, *, precondition: Precondition = _always) -> Job:
        """Have the report of a job that has ended delivered once more: the same bytes, to its own place or to another one. That
        is done as the job's role, so it needs what letting the job run needs.

        Raises AccessRefused, JobNotFound, IllegalTransition, InvalidRequest and OutcomesGone.
        """
        now_ms = self.clock.now_ms()

        def change(job: Job) -> Job:
            self._rights.check_run(caller, job, now_ms)
            check_kept(job, now_ms, self._spool_retention_days)
            return asked(job, to, by=caller.user.name, now_ms=now_ms)

        self._job(caller, Call.SET_STATUS, job_id)
        return self._change(caller, Call.SET_STATUS, job_id, change, precondition=precondition)

    def get_tags(self, caller: Caller, job_id: str) -> Mapping[str, str]:
        """The job's own tags."""
        return self._job(caller, Call.GET_TAGS, job_id).tags

    def put_tags(self, caller: Caller, job_id: str, tags: Mapping[str, str], *, precondition: Precondition = _always) -> None:
        """Replace the job's tags, whatever its state. Raises TooManyTags, JobNotFound."""
        self._set_tags(caller, Call.PUT_TAGS, job_id, tags, Requested(tags=tags), precondition)

    def delete_tags(self, caller: Caller, job_id: str, *, precondition: Precondition = _always) -> None:
        """Remove all of the job's tags; none is no error."""
        self._set_tags(caller, Call.DELETE_TAGS, job_id, {}, NOTHING_REQUESTED, precondition)

    def _set_tags(
        self,
        caller: Caller,
        call: Call,
        job_id: str,
        tags: Mapping[str, str],
        requested: Requested,
        precondition: Precondition,
    ) -> None:
        after = dict(tags)
        self._job(caller, call, job_id, requested)
        _check_tag_count(tags)

        def change(job: Job) -> Job:
            return msgspec.structs.replace(job, tags=after)

        self._change(caller, call, job_id, change, requested=requested, precondition=precondition)

    def check_sight(self, caller: Caller, job: Job) -> None:
        """Raises AccessRefused unless the caller may see the job, which came from here or from `watch`. Quick: reads nothing."""
        self._rights.check(caller, Call.DESCRIBE, self.clock.now_ms(), job=job)

    def watch(self, told: Callable[[Sequence[Written]], None]) -> Callable[[], None]:
        """As `JobStore.watch`; for whoever serves callers that may see the jobs they wait for."""
        return self._jobstore.watch(told)

    def delete(self, caller: Caller, job_id: str, *, precondition: Precondition = _always) -> None:
        """Hide the job; an unfinished one is cancelled first and ends properly, unseen. Its token stays used (decisions §5)."""
        now_ms = self.clock.now_ms()
        self._job(caller, Call.DELETE, job_id)

        def change(job: Job) -> Job:
            return self._react(job, DISCARD[JobStatus(job.status)], now_ms)

        self._change(caller, Call.DELETE, job_id, change, precondition=precondition)
        self._jobstore.delete(caller.account.name, job_id, by=caller.user.name)


def _check_tag_count(tags: Mapping[str, str]) -> None:
    if len(tags) > TAGS_MAX:
        raise TooManyTags(f"Tags: {len(tags)} tags are more than the {TAGS_MAX} that a job can have.")
