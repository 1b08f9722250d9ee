"""The replay rules: what to do about a request that may have been carried out already (decisions §3, "In doubt").

The gap may be milliseconds (a connection that broke) or days (a crash, then a restart). Before a copy or a delete is repeated
the object is looked at: what has changed since the first attempt is left alone, unless it is what the attempt was to bring about.
"""

from typing import Final

from haulier.core.effects import Sleep
from haulier.core.errors import StoreError
from haulier.core.ports import ObjectHead, ObjectStore
from haulier.core.task import Outcome, Task

TRIES_MAX: Final = 8
"""How often an operation goes back to its start after a try of unknown fate."""
PAUSE_SECONDS: Final = 0.05
PAUSE_SECONDS_MAX: Final = 20.0
DOUBT_MS: Final = 1000
"""Stores tell times to the second: so much before the first attempt counts as after it."""


def pause(task: Task, number: int) -> Sleep:
    """The wait before the object is looked at after a try of unknown fate: doubles with `number`, which counts from 0, and is
    spread between its half and its whole by the row's number, so that tasks that failed together do not come back together."""
    spread = 0.5 + task.row * 0.618034 % 1.0 / 2
    return Sleep(spread * min(PAUSE_SECONDS_MAX, PAUSE_SECONDS * 2.0**number))


def changed_since(head: ObjectHead, first_attempt_ms: int, store: ObjectStore) -> bool:
    """Whether the object was written at or after the first attempt (our clock), compared by the store's clock."""
    return head.modified_ms >= first_attempt_ms + store.ahead_ms - DOUBT_MS


def changed_outcome(what: str) -> Outcome:
    """The failure of a task whose object someone else has written since the first attempt."""
    return Outcome(409, "ChangedSinceAttempt", f"{what} was written after the first attempt; it was left untouched")


def incomparable_outcome() -> Outcome:
    """The failure of a copy whose target was written since, by it or by someone else."""
    text = "the target was written after the first attempt, and its ETag cannot be compared with the source's to tell by whom"
    return Outcome(409, "OutcomeUnknown", f"{text}; it was left untouched")


def unknown_outcome(error: StoreError) -> Outcome:
    """The failure of a task whose effect could not be found out."""
    return error.outcome(code="OutcomeUnknown", message=f"whether it was carried out could not be read back: {error.message}")


async def look(store: ObjectStore, bucket: str, key: bytes, version: bytes | None = None) -> ObjectHead | None:
    """HEAD; None where there is no such object, version, or only a delete marker. Raises StoreError for other refusals."""
    try:
        return await store.head_object(bucket, key, version)
    except StoreError as error:
        if error.status == 404 or error.code == "DeleteMarker":
            return None
        raise
