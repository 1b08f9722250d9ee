"""A job store beside a plain model of it: random commits to one Active job, after which both must say the same."""

import itertools
from typing import Any, ClassVar

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from haulier.core.chunk import FIRST_HORIZON, Attempt, Chunk
from haulier.core.failures import FailureClass
from haulier.core.lifecycle import JobEvent
from haulier.core.ports import ChunkReleased, ChunkSealed, ChunksOpened, ChunksStaged, Entry, JobStore, SegmentAdded
from haulier.testing.suites.jobstore import PLENTY, a_chunk, a_class, a_job, flushed, moved

ROWS = 12_000
CHUNKS = 3
_numbers = itertools.count()
index = st.integers(0, CHUNKS - 1)


@st.composite
def _classes(draw: st.DrawFn, failed: int) -> tuple[FailureClass, ...]:
    """So many failed tasks, of one class or of two."""
    denied = draw(st.integers(0, failed))
    counts = {("AccessDenied", 403): denied, ("NoSuchKey", 404): failed - denied}
    return tuple(a_class(count, *key) for key, count in counts.items() if count)


class _ModelChunk:
    """A chunk as the docstrings of the entries describe it."""

    def __init__(self) -> None:
        self.opened_ms: int | None = None
        self.first_opened_ms: int | None = None
        self.horizon = 0
        self.sealed: ChunkSealed | None = None
        self.flushes: list[SegmentAdded] = []

    @property
    def counted(self) -> tuple[int, int]:
        """Succeeded and failed."""
        if self.sealed is not None:
            return self.sealed.succeeded, self.sealed.failed
        failed = sum(flush.segment.failed for flush in self.flushes)
        return sum(flush.segment.rows for flush in self.flushes) - failed, failed

    @property
    def rows_left(self) -> int:
        """Rows without an outcome."""
        return ROWS - sum(self.counted)


class JobStoreMachine(RuleBasedStateMachine):
    """Subclass it and set `jobstore` and `epoch`; each run works on a job of its own."""

    jobstore: ClassVar[JobStore]
    epoch: ClassVar[int]

    @initialize()
    def begin(self) -> None:
        """A new job, Active, its chunks staged."""
        self.job = f"model-{next(_numbers)}"
        self.model = [_ModelChunk() for _ in range(CHUNKS)]
        self.pending: list[Entry] = []
        self.committed: list[Entry] = []
        self.flushes_in_order: list[SegmentAdded] = []
        self.executed = 0
        self.jobstore.create(a_job(self.job), unfinished_max=PLENTY)
        chunks = tuple(a_chunk(number, ROWS, self.job) for number in range(CHUNKS))
        start: list[Entry] = [*moved(JobEvent.PICKED_UP, job=self.job), ChunksStaged(self.job, chunks, first=True)]
        start += moved(JobEvent.PREPARED, JobEvent.STARTED, job=self.job, total=CHUNKS * ROWS)
        self.jobstore.commit(self.epoch, start)

    @rule(which=st.sets(index, min_size=1), at_ms=st.integers(1, 9))
    def open(self, which: set[int], at_ms: int) -> None:
        """Open some chunks, open and sealed ones too."""
        self.pending.append(ChunksOpened(self.job, tuple(which), at_ms))
        for chunk in (self.model[number] for number in which):
            if chunk.sealed is None and chunk.opened_ms is None:
                chunk.opened_ms = at_ms
                chunk.first_opened_ms = chunk.first_opened_ms or at_ms
                chunk.horizon = min(ROWS, chunk.horizon + FIRST_HORIZON)

    @rule(number=index, attempt=st.integers(1, 2), sequence=st.integers(1, 4), horizon=st.integers(0, ROWS), data=st.data())
    def flush(self, number: int, attempt: int, sequence: int, horizon: int, data: st.DataObject) -> None:
        """A flush, often one that came before."""
        chunk = self.model[number]
        entry = flushed(number, sequence, attempt=Attempt(1, attempt), horizon=horizon, job=self.job)
        seen = next((flush for flush in chunk.flushes if flush.segment.name == entry.segment.name), None)
        if seen is not None:
            entry = msgspec.structs.replace(entry, segment=seen.segment, failures=seen.failures)
        else:
            rows = data.draw(st.integers(0, chunk.rows_left))
            counts = {"rows": rows, "failed": data.draw(st.integers(0, rows))}
            segment = msgspec.structs.replace(entry.segment, **counts)
            entry = msgspec.structs.replace(entry, segment=segment, failures=data.draw(_classes(segment.failed)))
        self.pending.append(entry)
        if chunk.sealed is None:
            chunk.horizon = max(chunk.horizon, horizon)
            if seen is None:
                chunk.flushes.append(entry)
                self.flushes_in_order.append(entry)

    @rule(number=index, horizon=st.integers(0, ROWS))
    def release(self, number: int, horizon: int) -> None:
        """A chunk comes back."""
        self.pending.append(ChunkReleased(self.job, number, horizon))
        if self.model[number].sealed is None:
            self.model[number].opened_ms = None
            self.model[number].horizon = horizon

    @rule(number=index, data=st.data())
    def seal(self, number: int, data: st.DataObject) -> None:
        """All that was left has its outcome."""
        chunk = self.model[number]
        succeeded, failed = chunk.counted
        more_failed = data.draw(st.integers(0, chunk.rows_left))
        counts = (succeeded + chunk.rows_left - more_failed, failed + more_failed)
        entry = ChunkSealed(self.job, number, "sealed", *counts, failures=data.draw(_classes(more_failed)))
        self.pending.append(entry)
        chunk.sealed = chunk.sealed or entry

    @precondition(lambda self: self.pending)
    @rule()
    def commit(self) -> None:
        """All pending entries in one commit."""
        self.committed, self.pending = self.pending, []
        self.jobstore.commit(self.epoch, self.committed)

    @precondition(lambda self: self.committed and not self.pending)
    @rule()
    def repeat(self) -> None:
        """The last commit again."""
        self.jobstore.commit(self.epoch, self.committed)

    @invariant()
    def both_say_the_same(self) -> None:
        """Counters, chunks and segments, whenever nothing is pending."""
        if not hasattr(self, "job") or self.pending:
            return
        job = self.jobstore.find([self.job])[self.job]
        counted = [chunk.counted for chunk in self.model]
        assert (job.succeeded, job.failed) == (sum(pair[0] for pair in counted), sum(pair[1] for pair in counted))
        classes = self.jobstore.failures(self.job)
        assert sum(each.count for each in classes) == job.failed == sum(job.failures.values())
        assert job.executed >= self.executed
        self.executed = job.executed
        assert self.jobstore.chunks(self.job) == [self._expected(number) for number in range(CHUNKS)]
        unsealed = [flush.segment for flush in self.flushes_in_order if self.model[flush.segment.chunk].sealed is None]
        assert self.jobstore.segments(self.job) == unsealed

    def _expected(self, number: int) -> Chunk:
        model = self.model[number]
        changes: dict[str, Any] = {name: getattr(model, name) for name in ("opened_ms", "first_opened_ms", "horizon")}
        if model.sealed is not None:
            changes |= {"sealed_name": "sealed", "succeeded": model.sealed.succeeded, "failed": model.sealed.failed}
        return msgspec.structs.replace(a_chunk(number, ROWS, self.job), **changes)
