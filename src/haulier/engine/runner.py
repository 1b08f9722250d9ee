"""A runner: one process that runs units. The same class under pipes (`child.py`) and, later, under a Ray actor.

Three kinds of thread: the driver's (requests, and all state of chunks), one that writes outcome files, and a few for
units that read or write whole files (preparing, reporting, loading a chunk). Whoever carries frames calls `submit`,
`control`, `renew` and `collect` from any other thread.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog

from haulier import operations
from haulier.core.accounts import Credentials
from haulier.core.chunk import LEASE_SECONDS, Segment
from haulier.core.effects import Effect
from haulier.core.errors import HaulierError, JobFailure, SpoolError, SpoolUnavailable
from haulier.core.grants import Usage
from haulier.core.ports import Clock, Driver, Operation, Spool, T
from haulier.engine.chunkrun import ChunkRun, Outcomes, Rows
from haulier.engine.connections import Connections, StoreLane
from haulier.engine.finisher import write_report
from haulier.engine.frames import (
    Access,
    Configure,
    Control,
    Dropped,
    Event,
    Events,
    Flushed,
    GivenBack,
    JobBrief,
    Lied,
    PrepareJob,
    ProbeStore,
    Rejected,
    Renew,
    RunChunk,
    Sealed,
    Submit,
    Unit,
    UnitFailed,
    WriteReport,
)
from haulier.engine.joblimits import PREFIX, JobGates
from haulier.engine.keyring import Keyring
from haulier.engine.preparer import prepare
from haulier.engine.prober import run_probe
from haulier.engine.readback import ReadingBack
from haulier.engine.settlerun import SettleRun
from haulier.engine.threads import Threads
from haulier.objectstore.gate import Gates
from haulier.spool import files, names

IN_FLIGHT_MAX: Final = 1024
"""Requests in flight on one runner, whatever the stores allow."""
TICK_SECONDS: Final = 0.1
USAGE_SECONDS: Final = 1.0
"""How often the coordinator is told what was done to the stores."""
ASK_SECONDS: Final = 0.25
"""The same of a runner that is held back."""
DRAIN_SECONDS: Final = 6.0
"""How long a shutdown waits for requests in flight; what still runs then is in doubt."""
DISK_RETRY_SECONDS: Final = 1.0
FILE_UNITS_MAX: Final = 4
WATCH_SECONDS: Final = 0.5
"""How soon a unit that waits for a store notices that it is wanted no longer."""
CALL_SECONDS_MAX: Final = 120.0
"""How long a unit of whole files waits for one call to a store, retries included; large bodies are given more."""

_log = structlog.get_logger(__name__)


class _Dropped(Exception):
    """Nobody wants the unit any longer."""


class _Overdue(Exception):
    """A store does not answer."""


class Runner:
    """Runs units and tells what became of them."""

    def __init__(
        self,
        configure: Configure,
        *,
        clock: Clock,
        driver: Driver,
        spool: Spool,
        threads: Threads,
        random: Callable[[], float],
        fenced: Callable[[], None],
    ) -> None:
        """`fenced` is called on the driver's thread when the lease ran out: it must end all requests at once. `random` gives
        numbers in [0, 1), for the jitter of retries."""
        self.name = configure.runner
        self._clock = clock
        self._driver = driver
        self._spool = spool
        self._scratch = Path(configure.scratch)
        self._fenced = fenced
        self._gates = Gates(clock)
        self._job_gates = JobGates(clock)
        self._keyring = Keyring(self._rejected)
        self._random = random
        self._connections = Connections(configure.stores, self._gates, self._keyring, clock, random)
        self._units = threads.pool(FILE_UNITS_MAX, "unit")
        # Not the same threads: a manifest or report that waits for its store must not keep chunks of others from starting.
        self._loaders = threads.pool(2, "loader")
        self._dropped: set[str] = set()
        self._runs: list[ChunkRun] = []
        self._loading = 0
        self._giving_back: set[str] = set()
        self._first_job = 0
        self._renewed = clock.monotonic()
        self._shutdown_at: float | None = None
        self._mailbox = Mailbox(threads)
        self._writer = Writer(spool, self._mailbox.put, threads)
        self._serial = 0
        self._told_at = float("-inf")
        self._horizons: dict[tuple[str, int], ChunkRun] = {}

    # -- what the carrier of frames calls, from its threads

    def submit(self, frame: Submit) -> None:
        """Take units."""
        briefs = {brief.id: brief for brief in frame.jobs}
        for unit in frame.units:
            if isinstance(unit, RunChunk):
                self._driver.call(lambda unit=unit: self._begin(unit))  # type: ignore[misc]
                self._loaders.submit(self._run_unit, unit, briefs[unit.job])
            else:
                self._dropped.discard(unit.job)
                self._units.submit(self._run_unit, unit, briefs[unit.job])

    def configure(self, frame: Configure) -> None:
        """Other stores from the next unit on."""
        self._connections = Connections(frame.stores, self._gates, self._keyring, self._clock, self._random)

    def replace_credentials(self, frame: Access) -> None:
        """Sign with these from now on, also in what runs."""
        self._driver.call(lambda: self._keyring.replace(frame.account, frame.role, frame.store, frame.credentials))

    def control(self, frame: Control) -> None:
        """Give chunks back, or all of them and end. Files that are read or written for these jobs are dropped."""
        self._dropped.update(frame.give_back)
        self._driver.call(lambda: self._give_back(frame))

    def renew(self, frame: Renew) -> None:
        """Renew the lease; events up to a number are durable."""
        self._renewed = self._clock.monotonic()
        if frame.serial != self._serial:
            self._driver.call(lambda: self._regrant(frame))
        for event in self._mailbox.acknowledge(frame.acknowledged):
            if isinstance(event, Flushed):
                self._driver.call(lambda event=event: self._grant(event))  # type: ignore[misc]

    def collect(self, wait_seconds: float) -> Events:
        """Events that were not collected yet; waits so long for the first one."""
        return self._mailbox.collect(wait_seconds)

    def run(self) -> None:
        """Be the driver's thread until shut down or fenced."""
        self._driver.call(self._tick)
        self._driver.run(self._turn)
        self._units.shutdown(wait=False, cancel_futures=True)
        self._loaders.shutdown(wait=False, cancel_futures=True)
        self._writer.close()

    # -- on the driver's thread

    def _begin(self, unit: RunChunk) -> None:
        self._loading += 1
        self._giving_back.discard(unit.job)

    def _add(self, run: ChunkRun) -> None:
        self._loading -= 1
        self._runs.append(run)
        self._horizons[run.job, run.unit.chunk.index] = run
        if run.job in self._giving_back or self._shutdown_at is not None:
            run.stop()

    def _turn(self) -> None:
        if self._clock.monotonic() - self._renewed > LEASE_SECONDS:
            _log.error("lease ran out: dropping all chunks", runner=self.name)
            self._fenced()
            return
        room = IN_FLIGHT_MAX - self._driver.running
        for run in self._in_turn():
            if room > 0:
                room -= run.fill(room)
        if any(run.finished for run in self._runs):
            self._forget_finished()

    def _in_turn(self) -> Sequence[ChunkRun]:
        """The runs in the order in which they may start requests: jobs take turns at being first; within a job the oldest chunk
        goes first, so that chunks end one after the other and the runner never runs dry."""
        jobs = dict.fromkeys(run.job for run in self._runs)
        if len(jobs) < 2:
            return self._runs
        self._first_job = (self._first_job + 1) % len(jobs)
        order = {job: (number - self._first_job) % len(jobs) for number, job in enumerate(jobs)}
        return sorted(self._runs, key=lambda run: order[run.job])

    def _forget_finished(self) -> None:
        for run in self._runs:
            if run.finished:
                self._horizons.pop((run.job, run.unit.chunk.index), None)
        self._runs = [run for run in self._runs if not run.finished]

    def _regrant(self, frame: Renew) -> None:
        self._gates.regrant({name: grant for name, grant in frame.grants.items() if not name.startswith(PREFIX)})
        self._job_gates.regrant(frame.grants)
        self._serial = frame.serial
        self._tell_usage(urgent=True)

    def _tell_usage(self, *, urgent: bool) -> None:
        """The coordinator hears of it with the next events, or at once."""
        self._told_at = self._clock.monotonic()
        held = {run.job: reason for run in self._runs if (reason := run.held()) is not None}
        self._mailbox.tell(self._serial, {**self._gates.usage(), **self._job_gates.usage()}, held, urgent=urgent)

    def _rejected(self, account: str, role: str, store: str, credentials: Credentials) -> None:
        access_key = credentials.access_key
        self._mailbox.put(Rejected(account=account, role=role, store=store, access_key=access_key))

    def _tick(self) -> None:
        asks = (self._gates.want_more or self._job_gates.want_more) and self._clock.monotonic() - self._told_at >= ASK_SECONDS
        if asks or self._clock.monotonic() - self._told_at >= USAGE_SECONDS:
            self._tell_usage(urgent=asks)
        for run in self._runs:
            run.tick()
        if self._shutdown_at is not None:
            self._end_if_drained(self._shutdown_at)
        self._driver.later(TICK_SECONDS, self._tick)

    def _end_if_drained(self, since: float) -> None:
        self._forget_finished()
        waited = self._clock.monotonic() - since
        if (self._runs or self._loading) and waited < DRAIN_SECONDS:
            return
        for run in self._runs:
            if run.flush_due(0):
                run.flush()
        self._writer.call(self._driver.stop)

    def _grant(self, event: Flushed) -> None:
        run = self._horizons.get((event.segment.job, event.segment.chunk))
        if run is not None and run.unit.attempt == event.attempt:
            run.granted(event.horizon)

    def _give_back(self, frame: Control) -> None:
        if frame.shutdown:
            self._shutdown_at = self._clock.monotonic()
        self._giving_back.update(frame.give_back)
        for run in self._runs:
            if frame.shutdown or run.job in self._giving_back:
                run.stop()

    # -- on a unit's thread

    def _await(self, unit: Unit, effect: Effect[T], seconds: float = CALL_SECONDS_MAX) -> T:
        """The effect's result. Raises _Dropped when the job's files are wanted no longer or the runner ends, _Overdue when the
        store does not answer: then the place goes to others, and the unit is tried again later."""
        if unit.job in self._dropped:
            effect.close()
            raise _Dropped
        future = self._driver.submit(effect)
        until = self._clock.monotonic() + seconds
        while True:
            try:
                return future.result(timeout=WATCH_SECONDS)
            except CancelledError:
                raise _Dropped from None
            except TimeoutError:
                if future.done():
                    raise
                if unit.job in self._dropped:
                    self._driver.withdraw(future)
                    raise _Dropped from None
                if self._clock.monotonic() > until:
                    self._driver.withdraw(future)
                    raise _Overdue from None

    def _run_unit(self, unit: Unit, brief: JobBrief) -> None:
        try:
            if isinstance(unit, RunChunk):
                self._load(unit, brief)
            else:
                self._run_file_unit(unit, brief, partial(self._await, unit))
        except _Dropped:
            self._mailbox.put(Dropped(attempt=unit.attempt, job=unit.job))
        except _Overdue:
            self._failed(unit, "InternalError", "a store did not answer in time", passing=True)
        except JobFailure as failure:
            self._failed(unit, failure.code, failure.reason, passing=failure.passing)
        except (OSError, SpoolUnavailable, MemoryError) as error:
            self._failed(unit, "InternalError", f"the disk cannot be used: {error}", passing=True)
        except SpoolError as error:
            self._failed(unit, "InternalError", f"the spool is broken: {error}")
        except Exception as error:  # noqa: BLE001  # a unit's bug must end its job with a reason, never hang it
            _log.exception("unit failed unexpectedly", unit=type(unit).__name__, job=unit.job)
            self._failed(
                unit, "InternalError", f"unexpected {type(error).__name__} in {type(unit).__name__}; see the server's log"
            )

    def _run_file_unit(self, unit: Unit, brief: JobBrief, wait: Callable[..., Any]) -> None:
        if isinstance(unit, ProbeStore):
            run_probe(unit, brief, self._connections, wait, self._mailbox.put)
        elif isinstance(unit, PrepareJob):
            prepare(unit, brief, self._connections, self._spool, self._scratch, wait, self._mailbox.put)
        elif isinstance(unit, WriteReport):
            write_report(unit, brief, self._connections, self._spool, self._scratch, wait, self._mailbox.put)

    def _failed(self, unit: Unit, code: str, reason: str, *, passing: bool = False) -> None:
        if isinstance(unit, RunChunk):
            self._driver.call(self._load_failed)
        self._mailbox.put(UnitFailed(attempt=unit.attempt, job=unit.job, code=code, reason=reason, passing=passing))

    def _load_failed(self) -> None:
        self._loading -= 1

    def _load(self, unit: RunChunk, brief: JobBrief) -> None:
        rows = _rows(files.decode_chunk(self._spool.read(unit.chunk.name)))
        if len(rows.keys) != unit.chunk.rows:
            raise SpoolError(unit.chunk.name, f"has {len(rows.keys)} rows, not {unit.chunk.rows}")
        done = [
            row - unit.chunk.first_row
            for segment in unit.segments
            for row in files.decode_outcomes(self._spool.read(segment.name)).column("row").to_pylist()
        ]
        operation: Operation = operations.load(brief.operation)
        lanes = {} if unit.blind else self._lanes(operation, brief, set(rows.buckets), writes=not unit.settle)
        if unit.read_back:
            stores = {bucket: lane.name for bucket, lane in lanes.items()}
            operation = ReadingBack(operation, stores, unit.read_back, self._clock)
        kind = SettleRun if unit.settle else ChunkRun
        run = kind(
            unit,
            rows,
            done,
            operation,
            lanes,
            driver=self._driver,
            writer=self._writer,
            clock=self._clock,
            gate=self._job_gates.of(unit.job, limited=brief.limited),
        )
        self._driver.call(lambda: self._add(run))

    def _lanes(self, operation: Operation, brief: JobBrief, buckets: Iterable[str], *, writes: bool) -> dict[str, StoreLane]:
        """A lane for each bucket of the rows, after a look at where the operation's other buckets are. Raises JobFailure."""
        for target in operation.buckets():
            self._connections.place(brief, target, writes=writes)
        return {bucket: self._connections.lane(brief, bucket, writes=writes) for bucket in buckets}


def _rows(table: files.Table) -> Rows:
    buckets = table.column("bucket").combine_chunks()
    bucket_names = buckets.dictionary.to_pylist()
    marks = table.column("first_attempt_ms")
    return Rows(
        [bucket_names[index] for index in buckets.indices.to_pylist()],
        table.column("key").to_pylist(),
        table.column("version").to_pylist(),
        table.column("size").to_pylist(),
        [None if etag is None else etag.decode() for etag in table.column("etag").to_pylist()],
        None if marks.null_count == len(marks) else marks.to_pylist(),
    )


class Mailbox:
    """Numbered events, kept until acknowledged, handed to the carrier once."""

    def __init__(self, threads: Threads) -> None:
        self._lock = threads.condition()
        self._kept: deque[tuple[int, Event]] = deque()
        self._next = 1
        self._collected = 0
        self._serial = 0
        self._usage: dict[str, Usage] = {}
        self._held: dict[str, str] = {}
        self._urgent = False

    def tell(self, serial: int, usage: dict[str, Usage], held: dict[str, str], *, urgent: bool) -> None:
        """What goes along with the next events; `urgent`: even if there are none. From any thread."""
        with self._lock:
            self._serial, self._usage, self._held = serial, usage, held
            self._urgent = self._urgent or urgent
            if urgent:
                self._lock.notify_all()

    def put(self, event: Event) -> None:
        """Add an event; from any thread."""
        with self._lock:
            self._kept.append((self._next, event))
            self._next += 1
            self._lock.notify_all()

    def collect(self, wait_seconds: float) -> Events:
        """Those not collected yet."""
        with self._lock:
            self._lock.wait_for(lambda: self._urgent or self._next - 1 > self._collected, wait_seconds)
            first = self._collected + 1
            found = tuple(event for number, event in self._kept if number >= first)
            self._collected = self._next - 1
            usage, self._usage, self._urgent = self._usage, {}, False
            held, self._held = self._held, {}
            return Events(first=first, events=found, serial=self._serial, usage=usage, held=held)

    def acknowledge(self, number: int) -> Iterator[Event]:
        """Forget events up to the number, and return them."""
        forgotten = []
        with self._lock:
            while self._kept and self._kept[0][0] <= number:
                forgotten.append(self._kept.popleft()[1])
        return iter(forgotten)


class Writer:
    """Writes outcome files in order on one thread (`chunkrun.OutcomeWriter`). A full disk is waited out: outcomes stay in
    memory, and as no horizon moves, no further row starts."""

    def __init__(self, spool: Spool, put: Callable[[Event], None], threads: Threads) -> None:
        self._spool = spool
        self._put = put
        self._thread = threads.pool(1, "writer")
        self._closing = threads.event()

    def segment(self, unit: RunChunk, sequence: int, outcomes: Outcomes, horizon: int) -> None:
        """Write a segment, then its event."""
        self._thread.submit(self._guarded, unit, lambda: self._segment(unit, sequence, outcomes, horizon))

    def seal(self, unit: RunChunk, outcomes: Outcomes) -> None:
        """Write the sealed file, then its event."""
        self._thread.submit(self._guarded, unit, lambda: self._seal(unit, outcomes))

    def lied(self, unit: RunChunk, store: str, seen: str) -> None:
        """The event alone, before all that waits for the disk."""
        self._put(Lied(attempt=unit.attempt, job=unit.job, chunk=unit.chunk.index, store=store, seen=seen))

    def give_back(self, unit: RunChunk, horizon: int, *, settled: bool = False) -> None:
        """The event alone, behind the segments."""
        event = GivenBack(attempt=unit.attempt, job=unit.job, chunk=unit.chunk.index, horizon=horizon, settled=settled)
        self._thread.submit(self._put, event)

    def call(self, function: Callable[[], None]) -> None:
        """Call it after all that was asked before."""
        self._thread.submit(function)

    def close(self) -> None:
        """Finish what was asked, without waiting for a disk."""
        self._closing.set()
        self._thread.shutdown(wait=True)

    def _guarded(self, unit: RunChunk, write: Callable[[], None]) -> None:
        while True:
            try:
                return write()
            except (OSError, SpoolUnavailable) as error:
                _log.error("outcomes cannot be written; trying again", job=unit.job, error=str(error))
                if self._closing.wait(DISK_RETRY_SECONDS):
                    return None
            except HaulierError as error:
                return self._put(UnitFailed(attempt=unit.attempt, job=unit.job, code="InternalError", reason=str(error)))
            except Exception:  # noqa: BLE001  # a bug here must end the job with a reason: the thread has nobody to tell
                _log.exception("outcomes cannot be written", job=unit.job)
                return self._put(
                    UnitFailed(attempt=unit.attempt, job=unit.job, code="InternalError", reason="see the server's log")
                )

    def _segment(self, unit: RunChunk, sequence: int, outcomes: Outcomes, horizon: int) -> None:
        chunk = unit.chunk
        name = names.segment_name(names.folder_of(chunk.name), chunk.index, unit.attempt, sequence)
        self._spool.write(name, _encoded(outcomes))
        segment = Segment(
            job=unit.job,
            chunk=chunk.index,
            attempt=unit.attempt,
            sequence=sequence,
            name=name,
            rows=len(outcomes),
            failed=outcomes.failed,
        )
        self._put(
            Flushed(
                attempt=unit.attempt,
                segment=segment,
                horizon=horizon,
                failures=outcomes.failures,
                read_back=outcomes.read_back,
            )
        )

    def _seal(self, unit: RunChunk, outcomes: Outcomes) -> None:
        chunk = unit.chunk
        tables = [files.decode_outcomes(self._spool.read(segment.name)) for segment in unit.segments]
        tables.append(files.decode_outcomes(_encoded(outcomes)))
        merged = files.merge_outcomes(tables)
        if merged.num_rows != chunk.rows:
            raise SpoolError(chunk.name, f"{merged.num_rows} outcomes for {chunk.rows} rows")
        failed = sum(segment.failed for segment in unit.segments) + outcomes.failed
        name = names.sealed_name(names.folder_of(chunk.name), chunk.index, unit.attempt)
        self._spool.write(name, files.encode_outcome_table(merged))
        self._put(
            Sealed(
                attempt=unit.attempt,
                job=unit.job,
                chunk=chunk.index,
                name=name,
                succeeded=chunk.rows - failed,
                failed=failed,
                failures=outcomes.failures,
                read_back=outcomes.read_back,
            )
        )


def _encoded(outcomes: Outcomes) -> bytes | memoryview:
    return files.encode_outcomes(
        outcomes.rows, outcomes.statuses, outcomes.codes, outcomes.messages, outcomes.in_doubt, outcomes.request_ids
    )
