"""What a commit means: entries applied in order to the jobs and chunks they touch, in memory. No SQL here.

`Ledger` is loaded with what is stored, takes the entries, and knows afterwards what has to be written. Applying the same
entries again changes nothing more:

* ChunksStaged counts only while the job is Preparing, and only for chunks that are not there yet;
* ChunksOpened counts only for chunks that are staged or released, not for open ones;
* SegmentAdded counts once by its key, and raises the horizon each time (a repeated release may have lowered it);
* ChunkSealed counts once by its chunk;
* JobMoved counts only from the status that it names, and where the table has the move;
* a Happening counts once, as a whole;
* DeliveryEnded counts once by its number.

Entries that name a job or chunk which is not there, or a job that has ended, change nothing: the user was faster, or the
preparation began anew.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from haulier.core import delivery
from haulier.core.chunk import FIRST_HORIZON, Chunk, Segment
from haulier.core.errors import IllegalTransition
from haulier.core.failures import ClassKey, FailureClass, by_code, merged
from haulier.core.history import Happening, changes
from haulier.core.job import Job
from haulier.core.lifecycle import TERMINAL, JobStatus, advance
from haulier.core.ports import (
    ChunkReleased,
    ChunkSealed,
    ChunksOpened,
    ChunksStaged,
    DeliveryEnded,
    Entry,
    JobMoved,
    JobWaits,
    SegmentAdded,
)
from haulier.core.restoring import in_doubt
from haulier.jobstore.record import Told, as_told

ChunkKey: TypeAlias = tuple[str, int]
SegmentKey: TypeAlias = tuple[str, int, int, int, int]
"""Job, chunk, the attempt's epoch and counter, sequence."""


def segment_key(segment: Segment) -> SegmentKey:
    """What makes a segment count once."""
    return segment.job, segment.chunk, segment.attempt.epoch, segment.attempt.counter, segment.sequence


def jobs_with_failures(entries: Iterable[Entry]) -> list[str]:
    """Ids of the jobs of which the entries tell failed tasks, each once."""
    segments = [entry.segment.job for entry in entries if isinstance(entry, SegmentAdded) and entry.failures]
    return list(
        dict.fromkeys([*segments, *(entry.job for entry in entries if isinstance(entry, ChunkSealed) and entry.failures)])
    )


def jobs_named(entries: Iterable[Entry]) -> list[str]:
    """Ids of the jobs that the entries name, each once, in order."""
    return list(dict.fromkeys(entry.segment.job if isinstance(entry, SegmentAdded) else entry.job for entry in entries))


def chunks_named(entries: Iterable[Entry]) -> dict[str, set[int]]:
    """Chunks that the entries name, by job."""
    named: dict[str, set[int]] = {}
    for entry in entries:
        match entry:
            case ChunksStaged():
                named.setdefault(entry.job, set()).update(chunk.index for chunk in entry.chunks)
            case ChunksOpened():
                named.setdefault(entry.job, set()).update(entry.chunks)
            case SegmentAdded():
                named.setdefault(entry.segment.job, set()).add(entry.segment.chunk)
            case ChunkReleased() | ChunkSealed():
                named.setdefault(entry.job, set()).add(entry.chunk)
            case JobMoved() | JobWaits() | Happening() | DeliveryEnded():
                pass
    return named


class Ledger:
    """What one commit touches. Chunks carry what they add to their job's counters, also before they are sealed."""

    def __init__(
        self,
        jobs: Mapping[str, Job],
        chunks: Mapping[ChunkKey, Chunk],
        counted: Iterable[SegmentKey],
        told: Iterable[Told],
        classes: Mapping[str, Mapping[ClassKey, FailureClass]],
        *,
        now_ms: int,
    ) -> None:
        self.jobs = dict(jobs)
        self.chunks = dict(chunks)
        self._counted = set(counted)
        self._told = set(told)
        self.classes = {job_id: dict(known) for job_id, known in classes.items()}
        """Why tasks failed, of the jobs of which the entries tell some."""
        self._now_ms = now_ms
        self.moved: set[str] = set()
        """Jobs whose state, or anything without a column of its own, changed."""
        self.ended: set[str] = set()
        """Jobs that have ended by it."""
        self.recounted: set[str] = set()
        """Jobs whose counters changed."""
        self.emptied: set[str] = set()
        """Jobs whose stored chunks and segments are to be dropped before anything is written."""
        self.staged: dict[ChunkKey, None] = {}
        """Chunks to insert."""
        self.touched: dict[ChunkKey, None] = {}
        """Stored chunks to update."""
        self.segments: dict[SegmentKey, Segment] = {}
        """Segments to insert, in order."""
        self.sealed: dict[ChunkKey, None] = {}
        """Chunks whose stored segments are to be dropped."""
        self.classified: set[tuple[str, ClassKey]] = set()
        """Failure classes that changed, or are new."""
        self.happened: list[Happening] = []
        """To be added to the jobs' records, in order."""

    def apply(self, entries: Sequence[Entry]) -> None:
        """Apply the entries in order. Raises ValueError where one contradicts what is stored: such an entry is a defect of
        the caller, and nothing of the commit may be kept."""
        for entry in entries:
            match entry:
                case ChunksStaged():
                    self._stage(entry)
                case ChunksOpened():
                    self._open(entry)
                case SegmentAdded():
                    self._add_segment(entry)
                case ChunkReleased():
                    self._release(entry)
                case ChunkSealed():
                    self._seal(entry)
                case JobMoved():
                    self._move(entry)
                case JobWaits():
                    self._wait(entry)
                case Happening():
                    self._note(entry)
                case DeliveryEnded():
                    self._end_delivery(entry)

    def _stage(self, entry: ChunksStaged) -> None:
        job = self.jobs.get(entry.job)
        if job is None or job.status != JobStatus.PREPARING:
            return
        if entry.first:
            self._empty(job)
        for chunk in entry.chunks:
            if chunk.job != entry.job:
                raise ValueError(f"chunk {chunk.index} of job {chunk.job} was staged for job {entry.job}")
            key = chunk.job, chunk.index
            if key not in self.chunks:
                self.chunks[key] = chunk if job.restored_ms is None else in_doubt(chunk, job.restored_ms)
                self.staged[key] = None

    def _empty(self, job: Job) -> None:
        self.emptied.add(job.id)
        for kept in (self.chunks, self.staged, self.touched, self.sealed):
            for key in [key for key in kept if key[0] == job.id]:
                del kept[key]
        for segment in [key for key in self.segments if key[0] == job.id]:
            del self.segments[segment]
        self._counted = {key for key in self._counted if key[0] != job.id}

    def _open(self, entry: ChunksOpened) -> None:
        for index in entry.chunks:
            chunk = self._unsealed(entry.job, index)
            if chunk is not None and chunk.opened_ms is None:
                self._put(
                    chunk,
                    opened_ms=entry.at_ms,
                    first_opened_ms=entry.at_ms if chunk.first_opened_ms is None else chunk.first_opened_ms,
                    horizon=min(chunk.rows, chunk.horizon + FIRST_HORIZON),
                )

    def _add_segment(self, entry: SegmentAdded) -> None:
        segment = entry.segment
        chunk = self._unsealed(segment.job, segment.chunk)
        key = segment_key(segment)
        if chunk is None:
            return
        chunk = self._put(chunk, horizon=min(chunk.rows, max(chunk.horizon, entry.horizon)))
        if key in self._counted:
            return
        succeeded = segment.rows - segment.failed
        if succeeded < 0 or segment.failed < 0 or chunk.succeeded + chunk.failed + segment.rows > chunk.rows:
            raise ValueError(
                f"segment {segment.name} counts {segment.rows} rows, {segment.failed} of them failed; "
                f"chunk {segment.chunk} of job {segment.job} has {chunk.rows} rows and {chunk.succeeded + chunk.failed} outcomes"
            )
        self._counted.add(key)
        self.segments[key] = segment
        self._put(
            chunk,
            succeeded=chunk.succeeded + succeeded,
            failed=chunk.failed + segment.failed,
        )
        self._count(segment.job, succeeded, segment.failed)
        self._classify(segment.job, entry.failures)
        self._read_back(segment.job, entry.read_back)

    def _release(self, entry: ChunkReleased) -> None:
        chunk = self._unsealed(entry.job, entry.chunk)
        if chunk is not None:
            self._put(chunk, opened_ms=None, horizon=entry.horizon)

    def _seal(self, entry: ChunkSealed) -> None:
        chunk = self._unsealed(entry.job, entry.chunk)
        if chunk is None:
            return
        if entry.succeeded < 0 or entry.failed < 0 or entry.succeeded + entry.failed != chunk.rows:
            raise ValueError(
                f"chunk {entry.chunk} of job {entry.job} has {chunk.rows} rows; "
                f"its sealed file has {entry.succeeded} succeeded and {entry.failed} failed"
            )
        key = entry.job, entry.chunk
        self.sealed[key] = None
        for segment in [segment for segment in self.segments if segment[:2] == key]:
            del self.segments[segment]
        self._count(entry.job, entry.succeeded - chunk.succeeded, entry.failed - chunk.failed)
        self._classify(entry.job, entry.failures)
        self._read_back(entry.job, entry.read_back)
        self._put(chunk, sealed_name=entry.name, succeeded=entry.succeeded, failed=entry.failed)

    def _move(self, entry: JobMoved) -> None:
        job = self.jobs.get(entry.job)
        if job is None or (entry.was is not None and job.status != entry.was):
            return
        try:
            moved = advance(
                job,
                entry.event,
                now_ms=self._now_ms,
                total=entry.total,
                reason=entry.reason,
                suspended_cause=entry.suspended_cause,
                failure=entry.failure,
                paused_by=entry.paused_by,
                row_stores=entry.row_stores,
                placements=entry.placements,
            )
        except IllegalTransition:
            return  # the user was faster; the caller looks at the job it gets back
        self.jobs[entry.job] = moved
        self.moved.add(entry.job)
        if moved.status in TERMINAL:
            self.ended.add(entry.job)
        self.happened += changes(job, moved, at_ms=self._now_ms, reason=entry.reason)

    def _wait(self, entry: JobWaits) -> None:
        job = self.jobs.get(entry.job)
        if job is not None and job.status == JobStatus.ACTIVE and job.waits != entry.waits:
            after = self.jobs[entry.job] = msgspec.structs.replace(job, waits=entry.waits)
            self.moved.add(entry.job)
            self.happened += changes(job, after, at_ms=self._now_ms)

    def _end_delivery(self, entry: DeliveryEnded) -> None:
        job = self.jobs.get(entry.job)
        after = None if job is None else delivery.ended(job, entry.number, entry.failure, now_ms=self._now_ms)
        if job is not None and after is not None and after is not job:
            self.jobs[entry.job] = after
            self.moved.add(entry.job)
            self.happened += changes(job, after, at_ms=self._now_ms)

    def _note(self, entry: Happening) -> None:
        told = as_told(entry)
        if entry.job in self.jobs and told not in self._told:
            self._told.add(told)
            self.happened.append(entry)

    def _unsealed(self, job_id: str, index: int) -> Chunk | None:
        job = self.jobs.get(job_id)
        chunk = self.chunks.get((job_id, index))
        if job is None or job.status in TERMINAL or chunk is None or chunk.sealed:
            return None
        return chunk

    def _put(self, chunk: Chunk, **changes: object) -> Chunk:
        key = chunk.job, chunk.index
        changed = self.chunks[key] = msgspec.structs.replace(chunk, **changes)
        if key not in self.staged:
            self.touched[key] = None
        return changed

    def _classify(self, job_id: str, failures: Sequence[FailureClass]) -> None:
        """Add to the failure classes; the job's document, which has their sums, is written for it."""
        if not failures:
            return
        before = self.classes.get(job_id, {})
        after = self.classes[job_id] = merged(before, failures)
        self.classified.update((job_id, key) for key, found in after.items() if found != before.get(key))
        self.jobs[job_id] = msgspec.structs.replace(self.jobs[job_id], failures=by_code(after.values()))
        self.moved.add(job_id)

    def _read_back(self, job_id: str, read_back: Mapping[str, int]) -> None:
        """Add what was read back, by store."""
        if read_back:
            job = self.jobs[job_id]
            known = job.read_back | {store: job.read_back.get(store, 0) + count for store, count in read_back.items()}
            self.jobs[job_id] = msgspec.structs.replace(job, read_back=known)
            self.moved.add(job_id)

    def _count(self, job_id: str, succeeded: int, failed: int) -> None:
        job = self.jobs[job_id]
        self.jobs[job_id] = msgspec.structs.replace(job, succeeded=job.succeeded + succeeded, failed=job.failed + failed)
        self.recounted.add(job_id)
