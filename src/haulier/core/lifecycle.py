"""THE state machine of a job: 13 states, one table, both dialects (AWS and COS use the same names).

What the table lacks is illegal; there is no second place to look. `advance` is the only function that changes a job's
status. Which of these events a *client* may cause is narrower and differs by dialect: see `legality.py`.

    New → Preparing → (Suspended →) Ready → Active ⇄ Pausing/Paused → Completing → Complete
    Cancelling → Cancelled and Failing → Failed can be entered from every state that is not final.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from haulier.core.errors import IllegalTransition
from haulier.core.job import Failure, Job, PausedBy, Placement


class JobStatus(StrEnum):
    """The 13 states, spelled as on both wires."""

    NEW = "New"
    """Stored; the coordinator has not looked at it."""
    PREPARING = "Preparing"
    """A runner reads the manifest and stages it as chunks."""
    SUSPENDED = "Suspended"
    """Waits for the user's confirmation; never entered twice."""
    READY = "Ready"
    """Staged and confirmed; waits for a free runner."""
    ACTIVE = "Active"
    """Tasks run."""
    PAUSING = "Pausing"
    """No new request is started; those in flight end."""
    PAUSED = "Paused"
    """Nothing runs; every chunk keeps its place."""
    COMPLETING = "Completing"
    """Every task has its outcome; the report is being written."""
    COMPLETE = "Complete"
    """Final. Says nothing about how many tasks failed."""
    CANCELLING = "Cancelling"
    """No new request is started; then the report of what was done is written."""
    CANCELLED = "Cancelled"
    """Final."""
    FAILING = "Failing"
    """As Cancelling, for a job that cannot go on."""
    FAILED = "Failed"
    """Final; `failure` says why."""


class JobEvent(StrEnum):
    """What can happen to a job. The names read as the end of "the job was …" or "the job has …"."""

    PICKED_UP = "picked up"
    PREPARED = "prepared"
    CONFIRMATION_DUE = "prepared, confirmation due"
    CONFIRMED = "confirmed"
    STARTED = "started"
    HELD = "held"
    """Asked to pause, by its user or by a job of higher priority."""
    DRAINED = "drained"
    RELEASED = "released"
    """May run again after a pause."""
    TASKS_DONE = "tasks done"
    REPORTED = "reported"
    CANCEL_REQUESTED = "cancel requested"
    CANCEL_SETTLED = "cancelled with nothing to drain"
    FAILED = "failed"
    EXPIRED = "expired unconfirmed"


_S, _E = JobStatus, JobEvent

TERMINAL: Final = frozenset({_S.COMPLETE, _S.CANCELLED, _S.FAILED})
"""Never left."""

ENDING: Final = frozenset({_S.COMPLETING, _S.CANCELLING, _S.FAILING})
"""No task is started any more; the report is written, then the final state follows."""

TRANSITIONS: Final[Mapping[tuple[JobStatus, JobEvent], JobStatus]] = {
    (_S.NEW, _E.PICKED_UP): _S.PREPARING,
    (_S.PREPARING, _E.PICKED_UP): _S.PREPARING,  # a new coordinator, or a lost runner: prepared from the start again
    (_S.PREPARING, _E.PREPARED): _S.READY,
    (_S.PREPARING, _E.CONFIRMATION_DUE): _S.SUSPENDED,
    (_S.SUSPENDED, _E.CONFIRMED): _S.READY,
    (_S.SUSPENDED, _E.EXPIRED): _S.FAILED,
    (_S.READY, _E.STARTED): _S.ACTIVE,
    (_S.READY, _E.HELD): _S.PAUSED,
    (_S.ACTIVE, _E.HELD): _S.PAUSING,
    (_S.PAUSING, _E.DRAINED): _S.PAUSED,
    (_S.PAUSING, _E.RELEASED): _S.ACTIVE,
    (_S.PAUSED, _E.RELEASED): _S.ACTIVE,
    (_S.ACTIVE, _E.TASKS_DONE): _S.COMPLETING,
    (_S.PAUSING, _E.TASKS_DONE): _S.COMPLETING,  # the last chunk ended while the pause was on its way
    (_S.COMPLETING, _E.REPORTED): _S.COMPLETE,
    (_S.CANCELLING, _E.REPORTED): _S.CANCELLED,
    (_S.FAILING, _E.REPORTED): _S.FAILED,
    **{(status, _E.CANCEL_SETTLED): _S.CANCELLED for status in (_S.NEW, _S.PREPARING, _S.SUSPENDED, _S.READY, _S.PAUSED)},
    **{
        (status, _E.CANCEL_REQUESTED): _S.CANCELLING
        for status in (_S.NEW, _S.PREPARING, _S.READY, _S.ACTIVE, _S.PAUSING, _S.PAUSED)
    },
    **{
        (status, _E.FAILED): _S.FAILING
        for status in (_S.NEW, _S.PREPARING, _S.READY, _S.ACTIVE, _S.PAUSING, _S.PAUSED, _S.COMPLETING)
    },
    # A report that cannot be delivered for a cancelled or failed job: the job ends, the reason says what is missing.
    (_S.CANCELLING, _E.FAILED): _S.FAILED,
    (_S.FAILING, _E.FAILED): _S.FAILED,
}


def advance(
    job: Job,
    event: JobEvent,
    *,
    now_ms: int,
    total: int | None = None,
    reason: str | None = None,
    suspended_cause: str | None = None,
    failure: Failure | None = None,
    paused_by: PausedBy | None = None,
    row_stores: tuple[str, ...] | None = None,
    placements: tuple[Placement, ...] = (),
) -> Job:
    """The job after the event, with the dates and timers that go with the change.

    `now_ms` is Unix time in milliseconds. Raises IllegalTransition if the table has no such move.
    """
    after = TRANSITIONS.get((JobStatus(job.status), event))
    if after is None:
        raise IllegalTransition(job.id, job.status, event)
    changed = msgspec.structs.replace(job, status=after, status_since_ms=now_ms, waits=None)
    if job.status == _S.ACTIVE and after != _S.ACTIVE:
        changed.active_ms = job.active_ms + max(0, now_ms - job.status_since_ms)
    if after == _S.SUSPENDED:
        changed.suspended_ms = now_ms
        changed.suspended_cause = suspended_cause or "AwaitingConfirmation"
    if after in (_S.PAUSING, _S.PAUSED):
        changed.paused_by = paused_by or job.paused_by or "user"
    elif job.paused_by is not None:
        changed.paused_by = None
    if after in ENDING and job.reporting_ms is None:
        changed.reporting_ms = now_ms
    if after in TERMINAL:
        changed.ended_ms = now_ms
    if total is not None:
        changed.total = total
    if row_stores is not None:
        changed.row_stores = row_stores
    changed.placements = _with(job.placements, placements)
    if reason is not None:
        changed.status_reason = reason
    if failure is not None and job.failure is None:
        changed.failure = failure
    return changed


def _with(known: tuple[Placement, ...], found: tuple[Placement, ...]) -> tuple[Placement, ...]:
    """Both, and of a bucket that both have what was found last."""
    buckets = {placement.bucket for placement in found}
    return (*(placement for placement in known if placement.bucket not in buckets), *found)
