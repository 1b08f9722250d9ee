"""What becomes of an unfinished job, and of its chunks, that is brought back from a backup (docs/decisions/0025).

A backup is an old horizon: between its moment and the end of the old life every row that it knows no outcome of may have been
done, by runners that nobody can ask any more. So all those rows are in doubt, and nothing that changes objects goes on by itself.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from haulier.core.chunk import Chunk
from haulier.core.clock import timestamp
from haulier.core.job import Job
from haulier.core.lifecycle import ENDING, JobEvent, JobStatus, advance

_S, _E = JobStatus, JobEvent
_WAITS_FOR: Final = {
    _S.READY: (_E.HELD,),
    _S.ACTIVE: (_E.HELD, _E.DRAINED),
    _S.PAUSING: (_E.DRAINED,),
}
"""What pauses a job whose chunks nobody holds."""


def brought_back(job: Job, taken_ms: int, now_ms: int) -> Sequence[Job]:
    """The unfinished job as it comes out of a backup that was taken at `taken_ms`, step by step: at last it is Paused, for a user
    to resume, or to be confirmed (again) where it was not Ready yet. One that ends goes on: it only looks, and reports."""
    since_ms = taken_ms if job.restored_ms is None else min(job.restored_ms, taken_ms)
    reason = f"restored from a backup taken at {timestamp(taken_ms)}"
    steps = [msgspec.structs.replace(job, restored_ms=since_ms, status_reason=reason)]
    if JobStatus(job.status) in ENDING:
        return steps
    steps[0].confirmation_given = False
    if job.paused_by is not None:
        steps[0].paused_by = "user"
    for event in _WAITS_FOR.get(JobStatus(job.status), ()):
        steps.append(advance(steps[-1], event, now_ms=now_ms, paused_by="user"))
    return steps


def confirmation_due(job: Job) -> bool:
    """Whether a job that has just been prepared waits for a confirmation."""
    return (job.confirmation_required or job.restored_ms is not None) and not job.confirmation_given


def may_have_run(job: Job, chunk: Chunk) -> bool:
    """Whether rows of the chunk may have been started after the backup. A job that ends opens no chunk, but a runner that has one
    may start rows until it hears of the end."""
    return not chunk.sealed and (JobStatus(job.status) not in ENDING or chunk.first_opened_ms is not None)


def in_doubt(chunk: Chunk, since_ms: int) -> Chunk:
    """The chunk with all its rows in doubt that have no outcome: they may have been started at that moment, or later."""
    first_opened_ms = since_ms if chunk.first_opened_ms is None else min(chunk.first_opened_ms, since_ms)
    return msgspec.structs.replace(chunk, opened_ms=None, first_opened_ms=first_opened_ms, horizon=chunk.rows)
