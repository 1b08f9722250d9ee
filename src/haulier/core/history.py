"""The record of what happened to a job, for people: who or what changed it, when, and why. Never an entry per task.

The job store writes an entry in the transaction that makes the change, by comparing the job before and after it: so a change
without its entry cannot be, whoever makes it. What shows in no field of the job (a probe's finding, chunks that run again) the
coordinator notes besides.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec

from haulier.core.job import Delivery, Job, Limits

FIRST_KEPT: Final = 100
NEWEST_KEPT: Final = 900
"""A job keeps its first and its newest events; those between are dropped, which the numbers show."""
TEXT_CHARACTERS_MAX: Final = 1_000
"""Of one text in an event; what is longer is cut."""
NAMES_MAX: Final = 10
"""Of one list of names in an event."""


class EventKind(StrEnum):
    """What an event tells; the facts that come with it stand behind each."""

    CREATED = "created"
    """`status`; of a retry `retry_of`, the id of the job whose tasks it runs again."""
    STATUS = "status"
    """`status`, `was`; where there is one `reason`, `failure` (code, reason), `paused_by`, `total`."""
    CONFIRMED = "confirmed"
    """Confirmed while the manifest was still being read: it will not wait in Suspended. May have a `reason`."""
    PAUSE_KEPT = "pause_kept"
    """A pause for a job of higher priority became the user's own. May have a `reason`."""
    PRIORITY = "priority"
    """`priority`, `was`."""
    LIMITS = "limits"
    """`concurrency`, `requests_per_second`: what the job may do to its stores from now on; one that is not there is no limit."""
    RETRIED = "retried"
    """`retry`: the id of the job that runs its failed tasks again; `codes`, `kinds`: which of them, where they were chosen."""
    DELIVERY = "report delivery"
    """The delivery of the report of a job that has ended: `became` (Waiting, Delivered, Failed), `bucket`, `prefix`; where it
    failed `failure` (code, reason)."""
    TAGS = "tags"
    """`set`, `removed`: names of tags, the first few; `tags`: how many there are now."""
    DELETED = "deleted"
    """Hidden from its account; an unfinished job ends unseen."""
    PROBED = "probed"
    """`store`, `verdict` (proven, lying, inconclusive), `detail`: whether the store was seen to do the operation."""
    UNPROVEN = "unproven"
    """`store`, `probe`: the settings let the operation run there without a trial."""
    RESTORED = "restored"
    """`taken`: when the backup was taken that the job was brought back from."""
    RUNNER_LOST = "runner_lost"
    """`runner`, `reason`, `chunks`: so many chunks run again; their rows without an outcome are in doubt."""
    WAITS = "waits"
    """`code`, `reason`: a store does not answer; the tasks are held until it does, and none fails for it."""
    GOES_ON = "goes_on"
    """`seconds`: it answers again, after so long."""
    POSTPONED = "postponed"
    """`code`, `reason`, mostly `seconds`: the manifest cannot be read, the report not written, or the role has no credentials at
    present."""


class Happening(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Something that happened to a job, not yet numbered. One of the entries that a commit takes: counts once, as a whole."""

    job: str
    at_ms: int
    kind: EventKind
    by: str | None = None
    """The user who asked for it; None = the server itself."""
    facts: dict[str, Any] = {}
    """JSON-like values; which ones tells `EventKind`."""


class RecordedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of a job's record. `sequence` counts from 1 in the order of commits; a missing number was dropped."""

    job: str
    sequence: int
    at_ms: int
    kind: str
    by: str | None = None
    facts: dict[str, Any] = {}


def happening(job: str, at_ms: int, kind: EventKind, *, by: str | None = None, **facts: Any) -> Happening:
    """A happening of bounded size, without the facts that are None."""
    kept = {name: _bounded(value) for name, value in facts.items() if value is not None}
    return Happening(job=job, at_ms=at_ms, kind=kind, by=by, facts=kept)


def created(job: Job) -> Happening:
    """The first entry of every record."""
    of = None if job.retry is None else job.retry.of
    return happening(job.id, job.created_ms, EventKind.CREATED, by=job.created_by, status=str(job.status), retry_of=of)


def retried(retry: Job) -> Happening:
    """What the record tells of the job whose tasks the retry runs again."""
    assert retry.retry is not None
    chosen = {"codes": list(retry.retry.codes) or None, "kinds": list(retry.retry.kinds) or None}
    return happening(retry.retry.of, retry.created_ms, EventKind.RETRIED, by=retry.created_by, retry=retry.id, **chosen)


def changes(before: Job, after: Job, *, at_ms: int, by: str | None = None, reason: str | None = None) -> tuple[Happening, ...]:
    """What a reader of the record must be told of the change; counters and other progress are not."""

    def told(kind: EventKind, **facts: Any) -> Happening:
        return happening(after.id, at_ms, kind, by=by, **facts)

    found: list[Happening] = []
    if (after.status, after.status_since_ms) != (before.status, before.status_since_ms):
        found.append(told(EventKind.STATUS, status=str(after.status), was=str(before.status), **_why(before, after, reason)))
    else:
        if after.confirmation_given and not before.confirmation_given:
            found.append(told(EventKind.CONFIRMED, reason=reason))
        if after.paused_by != before.paused_by:
            found.append(told(EventKind.PAUSE_KEPT, reason=reason))
        if after.waits is not None and after.waits != before.waits:
            found.append(told(EventKind.WAITS, code=after.waits.code, reason=after.waits.reason))
        if after.waits is None and before.waits is not None:
            found.append(told(EventKind.GOES_ON, seconds=max(0, at_ms - before.waits.since_ms) // 1000))
    if after.priority != before.priority:
        found.append(told(EventKind.PRIORITY, priority=after.priority, was=before.priority))
    if after.limits != before.limits:
        limits = after.limits or Limits()
        found.append(told(EventKind.LIMITS, concurrency=limits.concurrency, requests_per_second=limits.requests_per_second))
    if after.delivery is not None and after.delivery != before.delivery:
        found.append(told(EventKind.DELIVERY, **_delivery(after.delivery)))
    if after.tags != before.tags:
        given = [name for name, value in after.tags.items() if before.tags.get(name) != value]
        removed = [name for name in before.tags if name not in after.tags]
        found.append(told(EventKind.TAGS, set=given, removed=removed, tags=len(after.tags)))
    return tuple(found)


def _delivery(delivery: Delivery) -> Mapping[str, Any]:
    failure = delivery.failure
    return {
        "became": delivery.status,
        "bucket": delivery.bucket,
        "prefix": delivery.prefix,
        "failure": None if failure is None else {"code": failure.code, "reason": failure.reason},
    }


def _why(before: Job, after: Job, reason: str | None) -> Mapping[str, Any]:
    failure = after.failure if after.failure != before.failure else None
    return {
        "reason": reason,
        "failure": None if failure is None else {"code": failure.code, "reason": failure.reason},
        "paused_by": after.paused_by,
        "total": after.total if after.total != before.total else None,
    }


def _bounded(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= TEXT_CHARACTERS_MAX else value[: TEXT_CHARACTERS_MAX - 1] + "…"
    if isinstance(value, Mapping):
        return {name: _bounded(part) for name, part in value.items()}
    return [_bounded(part) for part in value[:NAMES_MAX]] if isinstance(value, list) else value
