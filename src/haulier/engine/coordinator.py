"""The coordinator: the one loop that moves jobs through their states, and owns every durable write of progress.

A turn: take what the runners tell → turn it into entries → commit all entries of all jobs in one transaction (every 250 ms, or
when something waits for it) → acknowledge → decide what each job needs next → hand chunks out. Handing out writes nothing;
opening a chunk does, and comes before. Decisions are pure and live elsewhere (`lifecycle`, `scheduler`, `jobrun`).
"""

import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import structlog

from haulier.core.chunk import Attempt
from haulier.core.errors import JobFailure, SpoolError, Unavailable
from haulier.core.history import EventKind, happening
from haulier.core.job import Failure, Job
from haulier.core.lifecycle import ENDING, TERMINAL, JobEvent, JobStatus
from haulier.core.ports import (
    ChunkReleased,
    ChunkSealed,
    ChunksOpened,
    ChunksStaged,
    Clock,
    Entry,
    JobMoved,
    JobStore,
    SegmentAdded,
    Spool,
)
from haulier.engine import frames
from haulier.engine.briefs import Briefs
from haulier.engine.jobrun import Held, JobRun
from haulier.engine.port import Engine, FromRunner, Notice, RunnerJoined
from haulier.engine.prober import Proofs
from haulier.engine.scheduler import Candidate, choose, may_run
from haulier.operations.probing import Finding

COMMIT_SECONDS: Final = 0.25
CHUNKS_PER_RUNNER: Final = 3
"""Two run, so that the end of one does not leave the runner idle; the third is loaded meanwhile."""
FILE_UNITS_PER_RUNNER: Final = 2
CHUNKS_PER_RUNNER_MAX: Final = 16
"""A job that has no chunk out gets one even when others hold all ordinary places: no slow job may starve the rest."""
LOSSES_MAX: Final = 20
"""A job whose chunk (or manifest, or report) lost so many runners, without any progress between, would kill them for ever."""
RETRY_SECONDS_MAX: Final = 300.0
GIVE_UP_MS: Final = 24 * 3600 * 1000
"""How long a manifest or a report is tried again while its store or the disk is out of order."""
FAILURE_JUDGED_FROM: Final = 1_000
STALL_SECONDS: Final = 1.0
"""How long after a failed commit the next one is tried."""
STOP_SECONDS: Final = 8.0
DAY_MS: Final = 86_400_000

_log = structlog.get_logger(__name__)


class JobLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits that the operator may change while the server runs."""

    active_max: int = 1_000
    """Jobs whose tasks run at the same time; the others wait in Ready."""
    confirmation_days: float = 30
    """After so long in Suspended a job ends Failed."""


class Coordinator:
    """Runs in a thread of its own between `start` and `stop`."""

    def __init__(
        self,
        jobstore: JobStore,
        engine: Engine,
        spool: Spool,
        briefs: Briefs,
        proofs: Proofs,
        clock: Clock,
        *,
        limits: JobLimits,
        crashed: Callable[[BaseException], None],
    ) -> None:
        """`crashed` is called when the loop ends by an error: the process should end then, for nothing moves any more."""
        self._jobstore = jobstore
        self._engine = engine
        self._spool = spool
        self._briefs = briefs
        self._proofs = proofs
        self._clock = clock
        self.limits = limits
        """May be replaced at any time."""
        self._crashed = crashed
        self._epoch = 0
        self._counter = 0
        self._runs: dict[str, JobRun] = {}
        self._runners: dict[str, int] = {}
        self._entries: list[Entry] = []
        self._urgent = False
        self._heard: dict[str, int] = {}
        self._acknowledged: dict[str, int] = {}
        self._outdated_files: list[str] = []
        self._committed_at = 0.0
        self._stalled_until = 0.0
        self._reload = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="coordinator", daemon=True)
        self._listener = threading.Thread(target=self._listen, name="changes", daemon=True)
        self.problem: str | None = "starting"
        """Why the coordinator makes no progress; None when all is well."""

    def start(self) -> None:
        """Take over from any earlier coordinator, bring up the runners and begin."""
        self.take_over()
        self._thread.start()
        self._listener.start()

    def take_over(self) -> None:
        """Begin a new epoch, with runners of our own. A part of `start`; the simulation calls it, then `turn` by itself."""
        self._epoch = self._jobstore.begin_epoch()
        self._engine.start()
        self.reload()

    def reload(self) -> None:
        """Read the unfinished jobs again at the next turn: something was changed."""
        self._reload.set()

    def begin_stop(self) -> None:
        """Let the runners end what is in flight; `stop` waits for it. From any thread, and from a signal handler."""
        self._stopping.set()
        self._engine.wake()

    def stop(self) -> None:
        """As `begin_stop`, then wait, commit what came of it, and end the runners. Takes STOP_SECONDS at most."""
        self.begin_stop()
        if self._thread.ident is not None:
            self._thread.join(STOP_SECONDS + 1)
        self._engine.stop()

    # -- the loop

    def _listen(self) -> None:
        changed = self._jobstore.changed()
        while not self._stopping.is_set():
            if changed(0.5):
                self.reload()
                self._engine.wake()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self.turn(COMMIT_SECONDS)
            self._drain()
        except Exception as error:  # noqa: BLE001  # whatever it is, the process must not live on without its coordinator
            self.problem = f"the coordinator ended by {type(error).__name__}"
            _log.exception("coordinator ended")
            self._crashed(error)

    def turn(self, wait_seconds: float) -> None:
        """One turn of the loop; waits so long for something to happen."""
        stalled = self._clock.monotonic() < self._stalled_until
        for notice in self._engine.receive(0 if self._urgent and not stalled else wait_seconds):
            self._take(notice)
        if stalled:
            self._renew_leases()
            return
        try:
            if self._urgent or (self._clock.monotonic() - self._committed_at >= COMMIT_SECONDS):
                self._commit()
            if self._reload.is_set():
                self._read_jobs()
                self._reload.clear()
            self._decide()
        except Unavailable as error:
            # Nothing was acknowledged, so nothing is lost: the same entries are committed later. Until then nothing is decided,
            # for what is known here may be ahead of what is stored.
            self.problem = f"progress cannot be stored: {error}"
            _log.error("the job store cannot be used; trying again", error=str(error))
            self._stalled_until = self._clock.monotonic() + STALL_SECONDS
            self._urgent = False

    def _decide(self) -> None:
        """What each job needs next, and which chunks go out."""
        now = self._clock.monotonic()
        allowed = may_run([run.job for run in self._runs.values()], self.limits.active_max)
        for run in list(self._runs.values()):
            self._reconcile(run, allowed, now)
        if not self._urgent and self._spool.shortage() is None:
            self._hand_out(allowed)

    def _drain(self) -> None:
        """Stop all chunks, and commit what comes of it."""
        self._engine.wind_down()
        for runner in self._runners:
            self._engine.send(runner, frames.Control(shutdown=True))
        until = self._clock.monotonic() + STOP_SECONDS
        while self._runners and self._clock.monotonic() < until:
            for notice in self._engine.receive(0.1):
                self._take(notice)
            with contextlib.suppress(Unavailable):
                self._commit()

    def _read_jobs(self) -> None:
        found = {job.id: job for job in self._jobstore.unfinished()}
        for job_id, job in found.items():
            run = self._runs.get(job_id)
            if run is None:
                self._runs[job_id] = JobRun(job)
            else:
                run.job = job
        for job_id in [job_id for job_id in self._runs if job_id not in found]:
            self._forget(job_id)

    def _forget(self, job_id: str) -> None:
        """The job is terminal. Its runners may still hold something of it: they give it back, and nobody listens."""
        run = self._runs.pop(job_id)
        for runner in run.runners() | ({run.file_unit.runner} if run.file_unit is not None else set()):
            self._engine.send(runner, frames.Control(give_back=(job_id,)))

    # -- what comes from the runners

    def _take(self, notice: Notice) -> None:
        if isinstance(notice, RunnerJoined):
            self._runners[notice.runner] = 0
            self._heard[notice.runner] = 0
        elif isinstance(notice, FromRunner):
            if notice.runner not in self._runners:
                return
            for event in notice.events.events:
                self._take_event(event)
            self._heard[notice.runner] = notice.events.first + len(notice.events.events) - 1
        else:
            self._lost(notice.runner, notice.reason)

    def _lost(self, runner: str, reason: str) -> None:
        self._runners.pop(runner, None)
        self._heard.pop(runner, None)
        if not self._stopping.is_set():
            _log.warning("runner lost", runner=runner, reason=reason)
        for run in self._runs.values():
            busy = run.file_unit is not None and run.file_unit.runner == runner
            lost = run.runner_lost(runner)
            if (lost or busy) and not self._stopping.is_set():
                self._note(run, EventKind.RUNNER_LOST, runner=runner, reason=reason, chunks=len(lost))
            self._urgent = self._urgent or bool(lost)
            if run.losses_most >= LOSSES_MAX and JobStatus(run.job.status) not in ENDING and not self._moving(run):
                self._fail(run, "InternalError", f"{LOSSES_MAX} runners died in a row over the same part of the job")

    def _take_event(self, event: frames.Event) -> None:
        if isinstance(event, frames.ChunkWritten):
            self._chunk_written(event)
        elif isinstance(event, frames.Flushed):
            run = self._current(event.segment.job, event.segment.chunk, event.attempt)
            if run is not None:
                run.flushed(event.segment, event.horizon)
                self._entries.append(SegmentAdded(segment=event.segment, horizon=event.horizon, failures=event.failures))
        elif isinstance(event, frames.Sealed):
            run = self._current(event.job, event.chunk, event.attempt)
            if run is not None:
                self._outdated_files += run.sealed(event.chunk, event.name, event.succeeded, event.failed)
                self._entries.append(
                    ChunkSealed(
                        job=event.job,
                        chunk=event.chunk,
                        name=event.name,
                        succeeded=event.succeeded,
                        failed=event.failed,
                        failures=event.failures,
                    )
                )
                self._urgent = self._urgent or run.unsealed == 0
        elif isinstance(event, frames.GivenBack):
            run = self._current(event.job, event.chunk, event.attempt)
            if run is not None:
                run.given_back(event.chunk, event.horizon)
                self._entries.append(ChunkReleased(job=event.job, chunk=event.chunk, horizon=event.horizon))
                self._urgent = self._urgent or not run.held
        else:
            self._file_unit_ended(event)

    def _current(self, job_id: str, chunk: int, attempt: Attempt) -> JobRun | None:
        """The run, if the event is of the attempt that holds the chunk now."""
        run = self._runs.get(job_id)
        return run if run is not None and run.is_current(chunk, attempt) else None

    def _chunk_written(self, event: frames.ChunkWritten) -> None:
        run = self._runs.get(event.chunk.job)
        if run is None or run.file_unit is None or run.file_unit.attempt != event.attempt:
            return
        run.staging.append(event.chunk)
        self._entries.append(ChunksStaged(job=event.chunk.job, chunks=(event.chunk,), first=len(run.staging) == 1))

    def _file_unit_ended(self, event: frames.Prepared | frames.Probed | frames.Delivered | frames.UnitFailed) -> None:
        run = self._runs.get(event.job)
        if run is None:
            return
        if isinstance(event, frames.UnitFailed) and (run.file_unit is None or run.file_unit.attempt != event.attempt):
            self._chunk_failed(run, event)
            return
        if run.file_unit is None or run.file_unit.attempt != event.attempt:
            return
        run.file_unit = None
        run.file_losses = 0
        if isinstance(event, frames.Prepared):
            due = run.job.confirmation_required and not run.job.confirmation_given
            run.loaded = False
            self._move(
                run, JobEvent.CONFIRMATION_DUE if due else JobEvent.PREPARED, total=event.total, row_stores=event.row_stores
            )
        elif isinstance(event, frames.Probed):
            self._probed(run, event)
        elif isinstance(event, frames.Delivered):
            self._move(run, JobEvent.REPORTED)
        else:
            self._file_unit_failed(run, event)

    def _probed(self, run: JobRun, event: frames.Probed) -> None:
        self._note(run, EventKind.PROBED, store=event.store, verdict=event.verdict, detail=event.detail)
        failure = self._proofs.record(run.job, event.store, Finding(event.verdict, event.detail))
        if failure is None:
            return
        if event.verdict == "inconclusive" and run.job.executed:
            # It was proven when the job began; a scratch bucket that cannot be reached now is no reason to end the job.
            self._try_later(run, failure.code, failure.reason)
        else:
            self._fail(run, failure.code, failure.reason)

    def _chunk_failed(self, run: JobRun, event: frames.UnitFailed) -> None:
        """A chunk that cannot be run (its file is broken, a bug): the job ends with the reason, unless the trouble is passing."""
        index = next((index for index, held in run.held.items() if held.attempt == event.attempt), None)
        if index is None:
            return
        if not event.passing:
            self._fail(run, event.code, event.reason)
        self._engine.send(run.held[index].runner, frames.Control(give_back=(event.job,)))
        horizon = run.chunks[index].horizon
        run.given_back(index, horizon)
        self._entries.append(ChunkReleased(job=event.job, chunk=index, horizon=horizon))

    def _file_unit_failed(self, run: JobRun, event: frames.UnitFailed) -> None:
        ending = JobStatus(run.job.status) in ENDING
        since = run.job.reporting_ms or run.job.status_since_ms
        if (event.passing or ending) and self._clock.now_ms() - since < GIVE_UP_MS:
            self._try_later(run, event.code, event.reason)
        elif ending:
            self._fail(run, "ReportDeliveryFailed", event.reason)
        else:
            self._fail(run, event.code, event.reason)

    def _try_later(self, run: JobRun, code: str, reason: str) -> None:
        run.retries += 1
        seconds = min(RETRY_SECONDS_MAX, 2.0 ** min(run.retries, 10))
        run.retry_at = self._clock.monotonic() + seconds
        self._note(run, EventKind.TRIED_AGAIN, code=code, reason=reason, seconds=round(seconds))
        _log.warning("unit will be tried again", job=run.job.id, code=code, reason=reason)

    # -- commits

    def _move(self, run: JobRun, event: JobEvent, **facts: object) -> None:
        self._entries.append(JobMoved(job=run.job.id, event=event, was=run.job.status, **facts))  # type: ignore[arg-type]
        self._urgent = True

    def _note(self, run: JobRun, kind: EventKind, **facts: Any) -> None:
        """Have it in the job's record with the next commit."""
        self._entries.append(happening(run.job.id, self._clock.now_ms(), kind, **facts))

    def _fail(self, run: JobRun, code: str, reason: str) -> None:
        _log.warning("job fails", job=run.job.id, code=code, reason=reason)
        self._move(run, JobEvent.FAILED, failure=Failure(code, reason))

    def _commit(self) -> None:
        """One transaction for all that happened; then the runners may forget it, and opened chunks may go out."""
        self._committed_at = self._clock.monotonic()
        if self._entries:
            jobs = self._jobstore.commit(self._epoch, self._entries)
            self._entries = []
            self._refresh(jobs)
        for run in self._runs.values():
            run.committed()
        self.problem = self._spool.shortage()
        self._urgent = False
        self._acknowledged = dict(self._heard)
        self._renew_leases()
        if self._outdated_files:
            try:
                self._spool.delete(self._outdated_files)
            except SpoolError as error:
                _log.warning("outdated files stay for now", error=str(error))
            else:
                self._outdated_files = []

    def _renew_leases(self) -> None:
        for runner in self._runners:
            self._engine.send(runner, frames.Renew(acknowledged=self._acknowledged.get(runner, 0)))

    def _refresh(self, jobs: Mapping[str, Job]) -> None:
        for job_id, job in jobs.items():
            run = self._runs.get(job_id)
            if run is None:
                continue
            if job.status != run.job.status:
                run.retries, run.retry_at = 0, 0.0
                _log.info("job moved", job=job_id, status=job.status, was=run.job.status)
            run.job = job
            if JobStatus(job.status) in TERMINAL:
                self._forget(job_id)

    # -- what each job needs next

    def _reconcile(self, run: JobRun, allowed: frozenset[str], now: float) -> None:
        status = JobStatus(run.job.status)
        if self._moving(run):
            return
        if status is JobStatus.NEW:
            self._move(run, JobEvent.PICKED_UP)
        elif status is JobStatus.PREPARING:
            self._file_unit(run, now)
        elif status is JobStatus.SUSPENDED:
            self._confirm_or_expire(run)
        elif status in (JobStatus.CANCELLING, JobStatus.FAILING, JobStatus.COMPLETING):
            self._finish(run, now)
        elif status in (JobStatus.READY, JobStatus.ACTIVE, JobStatus.PAUSING, JobStatus.PAUSED):
            self._keep_running(run, status, allowed)

    def _moving(self, run: JobRun) -> bool:
        """Whether a move of the job waits for its commit."""
        return any(isinstance(entry, JobMoved) and entry.job == run.job.id for entry in self._entries)

    def _confirm_or_expire(self, run: JobRun) -> None:
        if run.job.confirmation_given:  # it came while the manifest was being read
            self._move(run, JobEvent.CONFIRMED)
        elif self._clock.now_ms() - (run.job.suspended_ms or 0) > self.limits.confirmation_days * DAY_MS:
            failure = Failure("ConfirmationTimeout", f"the job was not confirmed within {self.limits.confirmation_days:g} days")
            self._move(run, JobEvent.EXPIRED, failure=failure)

    def _keep_running(self, run: JobRun, status: JobStatus, allowed: frozenset[str]) -> None:
        self._load(run)
        wanted = run.job.id in allowed
        if status is JobStatus.READY and wanted:
            if self._proven(run):
                for store, probe in self._proofs.untried(run.job):
                    self._note(run, EventKind.UNPROVEN, store=store, probe=probe)
                self._open(run)
                self._move(run, JobEvent.STARTED)
        elif status is JobStatus.ACTIVE:
            self._keep_active(run, wanted)
        elif status is JobStatus.PAUSING:
            if not run.unsealed:
                self._move(run, JobEvent.TASKS_DONE)
            elif self._given_back(run):
                self._move(run, JobEvent.DRAINED)
        elif status is JobStatus.PAUSED and wanted and run.job.paused_by == "priority":
            self._move(run, JobEvent.RELEASED)

    def _keep_active(self, run: JobRun, wanted: bool) -> None:
        job = run.job
        if job.executed >= FAILURE_JUDGED_FROM and 2 * job.failed > job.executed:
            self._fail(run, "FailureThresholdExceeded", f"{job.failed} of {job.executed} tasks failed, more than 50 %")
        elif not run.unsealed:
            self._move(run, JobEvent.TASKS_DONE)
        elif not wanted:
            self._move(run, JobEvent.HELD, paused_by="priority")
        elif self._proven(run):
            self._open(run)

    def _proven(self, run: JobRun) -> bool:
        """Whether every store that the rows are on was seen to do the operation (decisions §4); if not, the next one is tried."""
        unproven = self._proofs.missing(run.job)
        if unproven is not None:
            self._file_unit(run, self._clock.monotonic(), probe=unproven)
        return unproven is None

    def _load(self, run: JobRun) -> None:
        if not run.loaded:
            run.load(self._jobstore.chunks(run.job.id), self._jobstore.segments(run.job.id))

    def _open(self, run: JobRun) -> None:
        """Keep enough chunks open for all runners; what is open beyond costs at most a HEAD a row after a crash."""
        chosen = run.open(len(self._runners) * CHUNKS_PER_RUNNER, self._clock.now_ms())
        if chosen:
            self._entries.append(ChunksOpened(job=run.job.id, chunks=chosen, at_ms=self._clock.now_ms()))
            self._urgent = self._urgent or not run.available

    def _given_back(self, run: JobRun) -> bool:
        """Ask the runners for the job's chunks; whether none is out any more."""
        for runner in run.runners():
            self._engine.send(runner, frames.Control(give_back=(run.job.id,)))
        return not run.held

    def _finish(self, run: JobRun, now: float) -> None:
        if not self._given_back(run):
            return
        self._load(run)
        job = run.job
        undeliverable = job.failure is not None and job.failure.code == "ReportDeliveryFailed"
        if not job.report.enabled or not job.executed or undeliverable:
            self._move(run, JobEvent.REPORTED)
        else:
            self._file_unit(run, now)

    def _file_unit(self, run: JobRun, now: float, *, probe: str | None = None) -> None:
        """Have the manifest prepared, a store probed or the report written, by the runner that has the least to do."""
        if run.file_unit is not None or now < run.retry_at or not self._runners or self._spool.shortage() is not None:
            return
        busy = dict.fromkeys(self._runners, 0)
        for other in self._runs.values():
            if other.file_unit is not None and other.file_unit.runner in busy:
                busy[other.file_unit.runner] += 1
        runner = min(busy, key=lambda name: (busy[name], name))
        if busy[runner] >= FILE_UNITS_PER_RUNNER:
            return
        try:
            brief = self._briefs.brief(run.job)
        except JobFailure as failure:
            self._fail(run, failure.code, failure.reason)
            return
        attempt = self._attempt()
        run.file_unit = Held(attempt, runner)
        unit: frames.Unit
        if probe is not None:
            unit = frames.ProbeStore(attempt=attempt, job=run.job.id, store=probe)
        elif JobStatus(run.job.status) is JobStatus.PREPARING:
            run.staging = []
            unit = frames.PrepareJob(attempt=attempt, job=run.job.id)
        else:
            chunks, segments = run.report_parts()
            unit = frames.WriteReport(attempt=attempt, job=run.job.id, chunks=chunks, segments=segments)
        self._engine.send(runner, frames.Submit(jobs=(brief,), units=(unit,)))

    def _attempt(self) -> Attempt:
        self._counter += 1
        return Attempt(self._epoch, self._counter)

    # -- handing out

    def _hand_out(self, allowed: frozenset[str]) -> None:
        """Fill every free place of every runner, one chunk at a time, by the scheduler's choice."""
        load = dict.fromkeys(self._runners, 0)
        for run in self._runs.values():
            for held in run.held.values():
                if held.runner in load:
                    load[held.runner] += 1
        while load:
            runner = min(load, key=lambda name: (load[name], name))
            candidates = self._candidates(allowed)
            if load[runner] >= CHUNKS_PER_RUNNER:
                candidates = [candidate for candidate in candidates if not candidate.running]
            chosen = choose(candidates)
            if chosen is None or load[runner] >= CHUNKS_PER_RUNNER_MAX:
                return
            run = self._runs[chosen.job]
            try:
                brief = self._briefs.brief(run.job)
            except JobFailure as failure:
                self._fail(run, failure.code, failure.reason)
                return
            self._engine.send(runner, frames.Submit(jobs=(brief,), units=(run.hand_out(self._attempt(), runner),)))
            load[runner] += 1

    def _candidates(self, allowed: frozenset[str]) -> list[Candidate]:
        return [
            Candidate(
                job=run.job.id,
                account=run.job.account,
                priority=run.job.priority,
                created_ms=run.job.created_ms,
                running=len(run.held),
                available=run.available,
            )
            for run in self._runs.values()
            if run.job.status == JobStatus.ACTIVE and run.job.id in allowed and self._proofs.missing(run.job) is None
        ]
