"""Retry only what failed: the job that runs again what another one did not bring to a good end. Pure."""

from collections.abc import Sequence

import msgspec

from haulier.core.errors import InvalidField, NothingToRetry, OutcomesGone
from haulier.core.failures import NOT_ATTEMPTED, OTHER, FailureClass, FailureKind, chooses
from haulier.core.job import Job, Retry

DAY_MS = 86_400_000


class RetryJob(msgspec.Struct, frozen=True, kw_only=True):
    """A checked request for a retry; what is None stays as it is with the job that is retried."""

    token: str
    digest: str
    """SHA-256 of the request, and of which job it is about."""
    codes: tuple[str, ...] = ()
    kinds: tuple[FailureKind, ...] = ()
    """Which failures; with neither codes nor kinds, all, and the tasks that were left undone."""
    priority: int | None = None
    confirm: bool | None = None
    description: str | None = None


def again(source: Job, request: RetryJob, *, job_id: str, by: str, now_ms: int) -> Job:
    """The new job: operation, role, manifest, report and placements of the one it repeats, and a life of its own. It is in the
    words of the same dialect, so both wires show of it what they show of that one."""
    return Job(
        id=job_id,
        account=source.account,
        dialect=source.dialect,
        token=request.token,
        digest=request.digest,
        created_by=by,
        role=source.role,
        role_arn=source.role_arn,
        region=source.region,
        description=source.description if request.description is None else request.description,
        priority=source.priority if request.priority is None else request.priority,
        confirmation_required=source.confirmation_required if request.confirm is None else request.confirm,
        manifest=source.manifest,
        operation=source.operation,
        report=source.report,
        as_sent=source.as_sent,
        placements=source.placements,
        tags=dict(source.tags),
        retry=Retry(of=source.id, codes=request.codes, kinds=tuple(map(str, request.kinds))),
        status_since_ms=now_ms,
        created_ms=now_ms,
    )


def check_kept(source: Job, now_ms: int, spool_retention_days: float) -> None:
    """Raises OutcomesGone once what the job did is no longer kept row by row."""
    if source.ended_ms is not None and now_ms - source.ended_ms >= spool_retention_days * DAY_MS:
        raise OutcomesGone(
            f"Job {source.id} ended more than {spool_retention_days:g} days ago, so what became of each row is no longer kept "
            "(limits.spool_retention_days): its report names the failed objects, from which a new manifest can be made."
        )


def check_choice(source: Job, classes: Sequence[FailureClass], request: RetryJob) -> None:
    """Raises NothingToRetry where the retry would have no task, as far as the classes tell; InvalidField for codes that no task
    can have."""
    if OTHER in request.codes:
        raise InvalidField("codes", f"{OTHER} stands for codes that are not told apart: name them, or choose by kind")
    if source.total is None:
        raise NothingToRetry(f"The manifest of job {source.id} was never read in full, so it has no tasks: create the job anew.")
    chosen = Retry(of=source.id, codes=request.codes, kinds=tuple(map(str, request.kinds)))
    left = source.total - source.executed
    found = any(each.code == OTHER or chooses(chosen, each.code, each.status) for each in classes)
    if not found and not (left and chooses(chosen, NOT_ATTEMPTED, 0)):
        what = "in the way that was chosen" if request.codes or request.kinds else "and none was left undone"
        raise NothingToRetry(f"No task of job {source.id} failed {what}.")
