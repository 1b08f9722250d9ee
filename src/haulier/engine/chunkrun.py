"""One chunk on one runner: starts its rows, keeps the order of equal keys, gathers outcomes, flushes, seals, or gives it back.

Everything here runs on the driver's thread, but for the writing of files (`OutcomeWriter`, a thread of its own). Rules:
decisions §3 ("Start horizon", "Order", "In doubt").
"""

from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final, Protocol

import msgspec
import structlog

from haulier.core.chunk import FIRST_HORIZON, FLUSH_OUTCOMES, FLUSH_SECONDS, Chunk, next_horizon
from haulier.core.effects import Stopped
from haulier.core.errors import StoreError
from haulier.core.failures import FailureClass, Tally
from haulier.core.ports import Clock, Driver, ObjectStore, Operation
from haulier.core.task import Outcome, Task
from haulier.engine.frames import RunChunk
from haulier.engine.joblimits import JobGate
from haulier.engine.readback import ReadingBack
from haulier.operations.lookon import Untouched

MISSING_VERSION: Final = Outcome(400, "InvalidRequest", "Task failed due to missing VersionId")
"""AWS: a VersionId column with an empty value fails that task, without a request."""

_log = structlog.get_logger(__name__)


class Lane(Protocol):
    """The way to one bucket of one store under one role: the store, and how much more may be started on it."""

    store: ObjectStore

    def room(self) -> int:
        """How many more tasks may start now."""
        ...

    def held(self) -> str | None:
        """Why its tasks are held; None while the store is reached."""
        ...

    def acquired(self) -> None:
        """A task was started."""
        ...

    def released(self) -> None:
        """A task has ended."""
        ...


class Rows(msgspec.Struct, frozen=True):
    """A chunk's rows as columns, by position."""

    buckets: Sequence[str]
    keys: Sequence[bytes]
    versions: Sequence[bytes | None]
    sizes: Sequence[int | None]
    etags: Sequence[str | None]
    first_attempts_ms: Sequence[int | None] | None = None
    """Of a retry: when rows were begun that an earlier job may have carried out; None = no row is one of those."""


class Outcomes:
    """Outcomes as columns, in the order in which they came."""

    __slots__ = ("codes", "failures", "in_doubt", "messages", "read_back", "request_ids", "rows", "statuses")

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.statuses: list[int] = []
        self.codes: list[str | None] = []
        self.messages: list[str | None] = []
        self.in_doubt: list[bool] = []
        self.request_ids: dict[int, str] = {}
        """By row: of failures that the store named."""
        self.failures: tuple[FailureClass, ...] = ()
        """Why its failed tasks failed; of a flush only."""
        self.read_back: dict[str, int] = {}
        """How many successes were read back, by store; of a flush only."""

    def __len__(self) -> int:
        return len(self.rows)

    def extend(self, other: "Outcomes") -> None:
        """Append all of another's."""
        self.rows += other.rows
        self.statuses += other.statuses
        self.codes += other.codes
        self.messages += other.messages
        self.in_doubt += other.in_doubt
        self.request_ids |= other.request_ids

    @property
    def failed(self) -> int:
        """How many of them failed."""
        return len(self.codes) - self.codes.count(None)


class OutcomeWriter(Protocol):
    """Writes outcome files on another thread, in the order asked, and tells the coordinator by events."""

    def segment(self, unit: RunChunk, sequence: int, outcomes: Outcomes, horizon: int) -> None:
        """Write a segment; its event asks for the horizon."""
        ...

    def seal(self, unit: RunChunk, outcomes: Outcomes) -> None:
        """Merge with the unit's committed segments and write the sealed file; its failure classes, and what was read back, are
        those that no segment told."""
        ...

    def lied(self, unit: RunChunk, store: str, seen: str) -> None:
        """Tell at once that the store does not do what it answers."""
        ...

    def give_back(self, unit: RunChunk, horizon: int, *, settled: bool = False) -> None:
        """Tell that the chunk was stopped; `settled`: no row of it is in doubt any more."""
        ...


class ChunkRun:
    """A chunk that is being run. `finished` once its last file was handed to the writer."""

    def __init__(
        self,
        unit: RunChunk,
        rows: Rows,
        done_rows: Sequence[int],
        operation: Operation,
        lanes: Mapping[str, Lane],
        *,
        driver: Driver,
        writer: OutcomeWriter,
        clock: Clock,
        gate: JobGate | None = None,
    ) -> None:
        """`done_rows` are positions with a committed outcome; `lanes` has one for each bucket; `gate` is the job's."""
        self.unit = unit
        self.finished = False
        self._chunk: Chunk = unit.chunk
        self._rows = rows
        self._operation = operation
        self._reader = operation if isinstance(operation, ReadingBack) else None
        self._lanes = lanes
        self._gate = gate or JobGate(clock)
        self._started: dict[int, object] = {}
        self._driver = driver
        self._writer = writer
        self._clock = clock
        self._done = bytearray(self._chunk.rows)
        for position in done_rows:
            self._done[position] = 1
        self._left = self._chunk.rows - len(done_rows)
        self._next = 0
        self._horizon = max(self._chunk.horizon, FIRST_HORIZON)
        self._busy: set[bytes] = set()
        self._behind: dict[bytes, deque[int]] = {}
        self._ready: deque[int] = deque()
        self._unknown_below = 0
        self._untouched: set[int] = set()
        self._in_flight = 0
        self._stopping = False
        self._fresh = Outcomes()
        self._tally = Tally()
        self._all = Outcomes()
        self._sequence = 0
        self._flushed_at = clock.monotonic()
        self._started_since_flush = 0

    @property
    def job(self) -> str:
        """The job it belongs to."""
        return self.unit.job

    # -- starting

    def held(self) -> str | None:
        """Why tasks of it are held; None while every store it needs is reached."""
        return next((reason for lane in self._lanes.values() if (reason := lane.held()) is not None), None)

    def fill(self, room: int) -> int:
        """Start as many requests as there is room for; how many were started."""
        if self._stopping or self.finished:
            return 0
        start = self._start_batch if self._operation.batch_rows > 1 else self._start_one
        gate = self._gate
        started = 0
        while self._ready and started < room:
            lane = self._lanes[self._rows.buckets[self._ready[0]]]
            if lane.room() <= 0 or not gate.may_start():
                return started
            position = self._ready.popleft()
            self._apply(position, self._rows.keys[position], lane)
            started += 1
        limit = self._limit()
        while started < room:
            position = self._next
            while position < limit and self._done[position]:
                position += 1
            self._next = position
            if position >= limit or (self._reader is not None and not self._reader.rows_at_once(self._in_flight)):
                break
            lane = self._lanes[self._rows.buckets[position]]
            if lane.room() <= 0 or not gate.may_start():
                break
            started += start(position, limit, lane)
        return started

    def _limit(self) -> int:
        """Rows at or above it must not start now."""
        return min(self._chunk.rows, self._horizon)

    def _task(self, position: int) -> Task:
        rows = self._rows
        return Task(
            self._chunk.first_row + position,
            rows.buckets[position],
            rows.keys[position],
            rows.versions[position],
            rows.sizes[position],
            rows.etags[position],
            self._first_attempt_ms(position),
        )

    def _first_attempt_ms(self, position: int) -> int | None:
        """When the row may have been begun by an earlier attempt, or an earlier job; None = it is fresh."""
        marks = self._rows.first_attempts_ms
        if marks is not None and marks[position] is not None:
            return marks[position]
        return self._chunk.first_opened_ms if position < self.unit.doubt_below else None

    def _is_in_doubt(self, position: int) -> bool:
        marks = self._rows.first_attempts_ms
        return position < self.unit.doubt_below or (marks is not None and marks[position] is not None)

    def _start_one(self, position: int, _limit: int, lane: Lane) -> int:
        """Start the row, or put it behind the row of the same key that runs; 1 if a request was started."""
        self._next = position + 1
        self._started_since_flush += 1
        if self._rows.versions[position] == b"":
            self._note(position, MISSING_VERSION)
            self._after()
            return 0
        key = self._rows.keys[position]
        if key in self._busy:
            self._behind.setdefault(key, deque()).append(position)
            return 0
        self._apply(position, key, lane)
        return 1

    def _apply(self, position: int, key: bytes, lane: Lane) -> None:
        self._busy.add(key)
        self._in_flight += 1
        lane.acquired()
        gate = self._gate
        gate.started()
        self._started[position] = None
        effect = self._operation.apply(self._task(position), lane.store)
        if gate.limited:
            effect = gate.counting(effect)
        started = self._driver.start(effect, partial(self._ended, position, lane))
        if position in self._started:
            self._started[position] = started

    def _start_batch(self, position: int, limit: int, lane: Lane) -> int:
        """Start one batch of fresh rows of one bucket with different keys; rows in doubt go one by one."""
        if self._is_in_doubt(position) or self._rows.versions[position] == b"":
            return self._start_one(position, limit, lane)
        bucket = self._rows.buckets[position]
        keys, versions, buckets, done, busy = self._rows.keys, self._rows.versions, self._rows.buckets, self._done, self._busy
        marks = self._rows.first_attempts_ms
        positions: list[int] = []
        most = self._operation.batch_rows if self._reader is None else self._reader.rows_at_once(self._in_flight)
        while position < limit and len(positions) < most:
            if not done[position]:
                key = keys[position]
                if (
                    buckets[position] != bucket
                    or versions[position] == b""
                    or (marks is not None and marks[position] is not None)
                ):
                    break
                if key in busy:
                    self._behind.setdefault(key, deque()).append(position)
                else:
                    busy.add(key)
                    positions.append(position)
            position += 1
        self._started_since_flush += position - self._next
        self._next = position
        if not positions:
            return 0
        self._in_flight += len(positions)
        lane.acquired()
        self._gate.started()
        tasks = [self._task(position) for position in positions]
        first = positions[0]
        self._started[first] = None
        effect = self._gate.counting(self._operation.apply_batch(tasks, lane.store))
        started = self._driver.start(effect, partial(self._batch_ended, positions, lane))
        if first in self._started:
            self._started[first] = started
        return 1

    # -- ending

    def _ended(self, position: int, lane: Lane, outcome: Outcome | None, error: BaseException | None) -> None:
        lane.released()
        self._gate.ended()
        del self._started[position]
        if error.__class__ is Stopped:
            self._dropped((position,))
        elif error.__class__ is Untouched:
            self._untouched.add(position)
            self._in_flight -= 1
            self._free(position)
        else:
            self._record(position, outcome if outcome is not None else _outcome_of(error))
        self._after()

    def _batch_ended(
        self, positions: Sequence[int], lane: Lane, outcomes: Sequence[Outcome] | None, error: BaseException | None
    ) -> None:
        lane.released()
        self._gate.ended()
        del self._started[positions[0]]
        if error.__class__ is Stopped:
            self._dropped(positions)
            self._after()
            return
        if outcomes is None or len(outcomes) != len(positions):
            outcomes = [_outcome_of(error)] * len(positions)
        for position, outcome in zip(positions, outcomes, strict=True):
            self._record(position, outcome)
        self._after()

    def _dropped(self, positions: Sequence[int]) -> None:
        """Wound down before their end: without an outcome, they are in doubt for the next attempt."""
        self._in_flight -= len(positions)
        self._unknown_below = max(self._unknown_below, positions[-1] + 1)
        for position in positions:
            self._busy.discard(self._rows.keys[position])

    def _record(self, position: int, outcome: Outcome) -> None:
        """A started row has its outcome."""
        self._note(position, outcome)
        self._in_flight -= 1
        self._free(position)

    def _free(self, position: int) -> None:
        """The row has ended: the next one of its key is ready to start. The key stays busy for it, or a later row could overtake
        it."""
        key = self._rows.keys[position]
        waiting = self._behind.get(key) if self._behind else None
        if waiting is None:
            self._busy.discard(key)
            return
        self._ready.append(waiting.popleft())
        if not waiting:
            del self._behind[key]

    def _note(self, position: int, outcome: Outcome) -> None:
        fresh = self._fresh
        row = self._chunk.first_row + position
        fresh.rows.append(row)
        fresh.statuses.append(outcome.status)
        fresh.codes.append(outcome.code)
        fresh.messages.append(outcome.message)
        fresh.in_doubt.append(self._is_in_doubt(position))
        if outcome.code is not None:
            self._tally.add(self._task(position), outcome, self._clock.now_ms())
            if outcome.request_id is not None:
                fresh.request_ids[row] = outcome.request_id
        self._done[position] = 1
        self._left -= 1

    def _after(self) -> None:
        if self.finished:
            return
        if self._reader is not None and self._reader.lie is not None and not self._stopping:
            self._writer.lied(self.unit, *self._reader.lie)
            self.stop()
            return
        if self._left == 0:
            self._seal()
        elif self._stopping and self._in_flight == 0:
            self._give_back()
        elif len(self._fresh) >= FLUSH_OUTCOMES:
            self.flush()

    # -- flushing, sealing, giving back

    def tick(self) -> None:
        """Called ten times a second."""
        if self.flush_due(FLUSH_SECONDS):
            self.flush()

    def flush_due(self, seconds: float) -> bool:
        """Whether outcomes have waited that long."""
        return not self.finished and len(self._fresh) > 0 and self._clock.monotonic() - self._flushed_at >= seconds

    def flush(self) -> None:
        """Hand the outcomes since the last flush to the writer, and ask for the next horizon."""
        self._tell_of_fresh()
        now = self._clock.monotonic()
        rate = self._started_since_flush / max(now - self._flushed_at, 0.05)
        # Rows that an earlier attempt has done need no room: were there many, none of those behind them could ever start.
        behind_done = self._done.find(0, self._next)
        last_started = (behind_done if behind_done >= 0 else self._chunk.rows) - 1
        horizon = next_horizon(last_started, self._in_flight, int(rate / 2), self._chunk.rows)
        self._writer.segment(self.unit, self._sequence, self._fresh, horizon)
        self._sequence += 1
        self._all.extend(self._fresh)
        self._fresh = Outcomes()
        self._flushed_at = now
        self._started_since_flush = 0

    def granted(self, horizon: int) -> None:
        """The horizon was committed: rows below it may start."""
        self._horizon = max(self._horizon, horizon)

    def stop(self) -> None:
        """Start nothing more and send no further request; once those under way have ended, flush and give the chunk back."""
        if self.finished or self._stopping:
            return
        self._stopping = True
        for started in tuple(self._started.values()):
            self._driver.wind_down(started)
        if self._in_flight == 0 and not self.finished:
            self._give_back()

    def _tell_of_fresh(self) -> None:
        """What goes along with the outcomes since the last flush."""
        self._fresh.failures = self._tally.take()
        if self._reader is not None:
            self._fresh.read_back = self._reader.take_read()

    def _seal(self) -> None:
        self._tell_of_fresh()
        self._all.extend(self._fresh)
        self._all.failures, self._all.read_back = self._fresh.failures, self._fresh.read_back
        self._fresh = Outcomes()
        self.finished = True
        self._writer.seal(self.unit, self._all)

    def _give_back(self, *, settled: bool = False) -> None:
        if len(self._fresh):
            self.flush()
        self.finished = True
        self._writer.give_back(self.unit, self._unsettled_below(), settled=settled)

    def _unsettled_below(self) -> int:
        """The horizon of a clean stop: every row without an outcome that may have been sent, by this attempt or an earlier one,
        lies below it. A row that only waited for another of its key may lie there too, which costs a look at its object."""
        doubtful = self._done.rfind(0, 0, self.unit.doubt_below) + 1
        first_left = self._done.find(0)
        return max(doubtful, self._unknown_below, first_left)


def _outcome_of(error: BaseException | None) -> Outcome:
    if isinstance(error, StoreError):
        return error.outcome()
    _log.error("operation failed unexpectedly", error=repr(error), exc_info=error)
    return Outcome(500, "InternalError", f"unexpected {type(error).__name__} in the operation; see the server's log")
