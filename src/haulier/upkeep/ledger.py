"""What the database says of a job, held against itself. Pure: no file is looked at here."""

from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Final

from haulier.core.chunk import Chunk
from haulier.core.history import FIRST_KEPT, EventKind
from haulier.core.job import Job
from haulier.core.lifecycle import ENDING, TERMINAL, TRANSITIONS, JobStatus
from haulier.jobstore.snapshot import JobSnapshot
from haulier.upkeep.findings import Finding, Findings

_S = JobStatus
_UNPREPARED: Final = frozenset({_S.NEW, _S.PREPARING})
_UNBEGUN: Final = _UNPREPARED | {_S.SUSPENDED, _S.READY}
"""States in which no task has run."""
_ALL_SEALED: Final = frozenset({_S.COMPLETING, _S.COMPLETE})
_MOVES: Final = frozenset((before, after) for (before, _), after in TRANSITIONS.items())


def counters(found: JobSnapshot) -> Findings:
    """Counters are sums of what was committed."""
    job = found.job
    for name in ("succeeded", "failed"):
        told, summed = getattr(job, name), sum(getattr(chunk, name) for chunk in found.chunks)
        if told != summed:
            yield Finding(check="counters", problem=f"the job counts {told} {name}, its chunks add up to {summed}")
    flushed: dict[int, tuple[int, int]] = {}
    for segment in found.segments:
        rows, failed = flushed.get(segment.chunk, (0, 0))
        flushed[segment.chunk] = rows + segment.rows, failed + segment.failed
    sealed = {chunk.index: chunk.sealed for chunk in found.chunks}
    for chunk in found.chunks:
        rows, failed = flushed.get(chunk.index, (0, 0))
        if chunk.sealed and rows:
            yield _of(chunk, "counters", f"it is sealed, and segments of it with {rows} outcomes are still counted")
        elif not chunk.sealed and (chunk.succeeded, chunk.failed) != (rows - failed, failed):
            told = f"{chunk.succeeded} succeeded and {chunk.failed} failed"
            yield _of(chunk, "counters", f"it counts {told}, its segments {rows - failed} and {failed}")
    for index in sorted(flushed.keys() - sealed.keys()):
        yield Finding(check="counters", chunk=index, problem="segments are counted for a chunk that is not there")
    classes = sum(each.count for each in found.failures)
    for what, count in (("failure classes", classes), ("failures by code", sum(job.failures.values()))):
        if count != job.failed:
            yield Finding(check="counters", problem=f"the {what} add up to {count}, the job counts {job.failed} failed")


def coverage(found: JobSnapshot) -> Findings:
    """Chunks follow each other without a gap."""
    next_index = next_row = 0
    for chunk in found.chunks:
        if chunk.index != next_index:
            yield _of(chunk, "coverage", f"chunk {next_index} should come here")
        if chunk.first_row != next_row:
            wrong = "a gap before it" if chunk.first_row > next_row else "an overlap with the chunk before"
            yield _of(chunk, "coverage", f"it begins at row {chunk.first_row} instead of {next_row}: {wrong}")
        next_index, next_row = chunk.index + 1, chunk.first_row + chunk.rows
    job = found.job
    if job.total is None and JobStatus(job.status) not in {*_UNPREPARED, *TERMINAL, *ENDING}:
        yield Finding(check="coverage", problem=f"the job is {job.status}, and its total is not known")
    elif job.total is not None and job.total != next_row:
        yield Finding(check="coverage", problem=f"the chunks have {next_row} rows, the job has {job.total} tasks")


def horizons(found: JobSnapshot) -> Findings:
    """How far rows may have been started, and under which attempts."""
    for chunk in found.chunks:
        if not 0 <= chunk.horizon <= chunk.rows:
            yield _of(chunk, "horizons", f"the horizon {chunk.horizon} is not within its {chunk.rows} rows")
        if chunk.opened_ms is not None and chunk.horizon == 0:
            yield _of(chunk, "horizons", "it may have been handed out, and none of its rows may have been started")
        if chunk.first_opened_ms is None and (chunk.opened_ms is not None or chunk.horizon or chunk.succeeded + chunk.failed):
            yield _of(chunk, "horizons", "its rows may have been started, and since when is not known")
        if None not in (chunk.opened_ms, chunk.first_opened_ms) and (chunk.opened_ms or 0) < (chunk.first_opened_ms or 0):
            yield _of(chunk, "horizons", "it was opened before it was opened for the first time")
    for segment in found.segments:
        if not 1 <= segment.attempt.epoch <= found.epoch:
            problem = f"segment {segment.sequence} is of attempt {segment.attempt}, the epoch is {found.epoch}"
            yield Finding(check="horizons", chunk=segment.chunk, file=segment.name, problem=problem)


def state(found: JobSnapshot) -> Findings:
    """The job's state, and what its chunks say."""
    job, status = found.job, JobStatus(found.job.status)
    if (job.ended_ms is not None) != (status in TERMINAL):
        yield _wrong(job, "and has ended" if job.ended_ms is not None else "and has no time at which it ended")
    if job.executed > (job.total or 0):
        yield _wrong(job, f"and has {job.executed} outcomes for {job.total or 0} tasks")
    if status in _UNBEGUN and job.executed:
        yield _wrong(job, f"and {job.executed} of its tasks have been run")
    if status in _ALL_SEALED:
        if job.executed != job.total:
            yield _wrong(job, f"and {job.executed} of {job.total} tasks have an outcome")
        yield from (
            _of(chunk, "state", f"the job is {status}, the chunk is not sealed") for chunk in found.chunks if not chunk.sealed
        )
    if status is _S.FAILED and job.failure is None:
        yield _wrong(job, "and nothing says why")
    if status in (_S.PAUSING, _S.PAUSED) and job.paused_by is None:
        yield _wrong(job, "and nothing says by whom")
    if status in ENDING and job.reporting_ms is None:
        yield _wrong(job, "and its report has no date")


def events(found: JobSnapshot) -> Findings:
    """The record counts from 1, without gaps but for its middle, and its changes of state follow from each other up to the job's
    own. A job of a version that kept no records begins its record with the first change since."""
    if found.events and found.events[0].sequence != 1:
        yield Finding(check="events", problem=f"the record begins with event {found.events[0].sequence}")
    behind_gap = 0
    for before, after in pairwise(found.events):
        if before.sequence == FIRST_KEPT and after.sequence > FIRST_KEPT + 1:
            behind_gap = after.sequence
        elif after.sequence != before.sequence + 1:
            yield Finding(check="events", problem=f"event {after.sequence} follows event {before.sequence}")
    yield from _states(found, behind_gap)


def _states(found: JobSnapshot, behind_gap: int) -> Findings:
    status: str | None = None
    number = 0
    for event in found.events:
        if event.kind not in (EventKind.CREATED, EventKind.STATUS):
            continue
        was, is_now = event.facts.get("was"), event.facts.get("status")
        told = f"event {event.sequence} leads from {was} to {is_now}"
        if was is not None and (was, is_now) not in _MOVES:
            yield Finding(check="events", problem=f"{told}, which no job can do")
        elif status is not None and was != status and not number < behind_gap <= event.sequence:
            yield Finding(check="events", problem=f"{told}, but by event {number} the job was {status}")
        status, number = is_now, event.sequence
    if status is not None and status != found.job.status:
        yield Finding(check="events", problem=f"the record leads to {status}, the job is {found.job.status}")


CHECKS: Final[Mapping[str, Callable[[JobSnapshot], Iterable[Finding]]]] = {
    "counters": counters,
    "coverage": coverage,
    "horizons": horizons,
    "state": state,
    "events": events,
}


def _wrong(job: Job, problem: str) -> Finding:
    return Finding(check="state", problem=f"the job is {job.status}, {problem}")


def _of(chunk: Chunk, check: str, problem: str) -> Finding:
    return Finding(check=check, chunk=chunk.index, row=chunk.first_row, problem=problem)
