"""The coordinator: the one loop that moves jobs through their states, and owns every durable write of progress.

A turn: take what the runners tell → turn it into entries → commit all entries of all jobs in one transaction (every 250 ms, or
when something waits for it) → acknowledge → decide what each job needs next → hand chunks out. Handing out writes nothing;
opening a chunk does, and comes before. What a turn does to a job is in `joblife`, `fileunits` and `handout`; pure decisions are
in `lifecycle`, `scheduler` and `jobrun`.
"""

import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from haulier.core.brake import Brake
from haulier.core.errors import SpoolError, Unavailable
from haulier.core.history import EventKind
from haulier.core.job import Job
from haulier.core.lifecycle import ENDING, TERMINAL, JobStatus
from haulier.core.ports import Clock, JobStore, Spool
from haulier.engine import frames
from haulier.engine.briefs import Briefs
from haulier.engine.clocksteps import ClockSteps
from haulier.engine.credentials import RoleAt, RoleCredentials
from haulier.engine.dispatch import Dispatch
from haulier.engine.fileunits import FileUnits
from haulier.engine.grants import Grants
from haulier.engine.handout import HandOut
from haulier.engine.joblife import JobLife, JobLimits
from haulier.engine.jobrun import JobRun
from haulier.engine.port import Engine, FromRunner, Notice, RunnerJoined
from haulier.engine.progress import Progress
from haulier.engine.proofs import Proofs
from haulier.engine.readiness import Readiness
from haulier.engine.scheduler import may_run

COMMIT_SECONDS: Final = 0.25
IDLE_COMMIT_SECONDS: Final = 2.0
"""How soon a job store that cannot be used, or another coordinator, is noticed while nothing happens."""
LOSSES_MAX: Final = 20
"""A job whose chunk (or manifest, or report) lost so many runners, without any progress between, would kill them for ever."""
STALL_SECONDS: Final = 1.0
"""How long after a failed commit the next one is tried."""
STOP_SECONDS: Final = 8.0

_log = structlog.get_logger(__name__)


class Coordinator:
    """Runs in a thread of its own between `start` and `stop`."""

    def __init__(
        self,
        jobstore: JobStore,
        engine: Engine,
        spool: Spool,
        briefs: Briefs,
        proofs: Proofs,
        grants: Grants,
        credentials: RoleCredentials,
        clock: Clock,
        *,
        limits: JobLimits,
        steps: ClockSteps | None = None,
        crashed: Callable[[BaseException], None],
        brake: Brake | None = None,
    ) -> None:
        """`steps` keeps the steps of our clock; None = it makes none. `crashed` is called when the loop ends by an error: the
        process should end then, for nothing moves any more."""
        self._brake = brake or Brake()
        self._jobstore = jobstore
        self._engine = engine
        self._spool = spool
        self._clock = clock
        self.limits = limits
        """May be replaced at any time."""
        self._steps = steps
        self._crashed = crashed
        self._proofs = proofs
        self._grants = grants
        self._credentials = credentials
        self._runs: dict[str, JobRun] = {}
        self._progress = Progress(clock)
        self._dispatch = Dispatch(engine, briefs, self._progress)
        self._file_units = FileUnits(jobstore, self._runs, self._dispatch, self._progress, proofs, spool, clock, steps)
        self._hand_out = HandOut(self._runs, self._dispatch, self._progress, proofs, clock, steps)
        self._life = JobLife(jobstore, self._dispatch, self._progress, self._file_units, self._hand_out, proofs, clock)
        self._heard: dict[str, int] = {}
        self._acknowledged: dict[str, int] = {}
        self._committed_at = self._stored_at = float("-inf")
        self._stalled_until = 0.0
        self._reload = threading.Event()
        self._rekey = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="coordinator", daemon=True)
        self._listener = threading.Thread(target=self._listen, name="changes", daemon=True)
        self._readiness = Readiness(clock)

    @property
    def problem(self) -> str | None:
        """Why no work gets done now; None when all is well. From any thread, and never blocks."""
        return self._readiness.problem

    @property
    def epoch(self) -> int:
        """Of this coordinator; 0 before it has taken over."""
        return self._dispatch.epoch

    def start(self) -> None:
        """Take over from any earlier coordinator, bring up the runners and begin."""
        self.take_over()
        self._thread.start()
        self._listener.start()

    def take_over(self) -> None:
        """Begin a new epoch, with runners of our own. A part of `start`; the simulation calls it, then `turn` by itself."""
        self._dispatch.epoch = self._jobstore.begin_epoch()
        self._engine.start()
        self.reload()

    def reload(self) -> None:
        """Read the unfinished jobs again at the next turn: something was changed."""
        self._reload.set()

    def replace_keys(self) -> None:
        """The settings have other keys for roles and stores: the runners are told at the next turn, for what runs there. From any
        thread."""
        self._rekey.set()
        self._engine.wake()

    def begin_stop(self) -> None:
        """Let the runners end what is in flight; `stop` waits for it. From any thread, and from a signal handler."""
        self._readiness.over = "stopping"
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
            self.drain()
        except Exception as error:  # noqa: BLE001  # whatever it is, the process must not live on without its coordinator
            self._readiness.over = f"the coordinator ended by {type(error).__name__}"
            self._crashed(error)
            _log.exception("coordinator ended")

    def turn(self, wait_seconds: float) -> None:
        """One turn of the loop; waits so long for something to happen."""
        stalled = self._clock.monotonic() < self._stalled_until
        self._readiness.waits_for("its runners")
        for notice in self._engine.receive(0 if self._progress.urgent and not stalled else wait_seconds):
            self._take(notice)
        self._readiness.runners = len(self._dispatch.runners)
        self._renew_credentials()
        if self._brake.on:
            self._call_all_back()
        if stalled:
            self._renew_leases()
        else:
            self._commit_and_decide()
        self._readiness.turned()

    def _renew_credentials(self) -> None:
        for at, credentials in self._credentials.turn():
            frame = frames.Access(account=at.account, role=at.role, store=at.store, credentials=credentials)
            self._dispatch.tell_all(frame)
        if self._rekey.is_set():
            self._rekey.clear()
            for frame in self._dispatch.access_of(run.job for run in self._runs.values() if run.runners()):
                self._dispatch.tell_all(frame)

    def _commit_and_decide(self) -> None:
        self._readiness.waits_for("the job store")
        try:
            self._look_at_clock()
            if self._progress.urgent or (self._clock.monotonic() - self._committed_at >= COMMIT_SECONDS):
                self._commit()
            if self._reload.is_set():
                self._read_jobs()
                self._reload.clear()
            self._decide()
        except Unavailable as error:
            # Nothing was acknowledged, so nothing is lost: the same entries are committed later. Until then nothing is decided,
            # for what is known here may be ahead of what is stored.
            self._readiness.trouble = f"progress cannot be stored: {error}"
            _log.error("the job store cannot be used; trying again", error=str(error))
            self._stalled_until = self._clock.monotonic() + STALL_SECONDS
            self._progress.urgent = False

    def _look_at_clock(self) -> None:
        try:
            if self._steps is not None:
                self._steps.look()
        except OSError as error:
            raise Unavailable(f"a step of the clock cannot be kept: {error}") from error

    def _decide(self) -> None:
        """What each job needs next, and which chunks go out."""
        limits, stopped = self.limits, self._brake.on
        allowed = may_run([run.job for run in self._runs.values()], limits.active_max, self._dispatch.weight)
        for run in self._file_units.in_turn():
            self._life.go_on(run, limits, may_run=run.job.id in allowed, stopped=stopped)
        if not stopped and not self._progress.urgent and self._spool.shortage() is None:
            self._hand_out.fill(allowed)

    def _call_all_back(self) -> None:
        """Everything that any runner has of any job, whatever can or cannot be stored at present."""
        for run in self._runs.values():
            self._call_back(run)

    def _call_back(self, run: JobRun) -> None:
        for runner in run.runners() | ({run.file_unit.runner} if run.file_unit is not None else set()):
            self._dispatch.call_back(run, runner)

    def drain(self) -> None:
        """Stop all chunks, and commit what comes of it. A part of `stop`, as `take_over` is of `start`."""
        self._engine.wind_down()
        self._dispatch.tell_all(frames.Control(shutdown=True))
        until = self._clock.monotonic() + STOP_SECONDS
        while self._dispatch.runners and self._clock.monotonic() < until:
            for notice in self._engine.receive(0.1):
                self._take(notice)
            with contextlib.suppress(Unavailable):
                self._commit()
        for run in self._runs.values():
            self._hand_out.close(run)
        with contextlib.suppress(Unavailable):
            self._commit()

    def _read_jobs(self) -> None:
        found = {job.id: job for job in (*self._jobstore.unfinished(), *self._jobstore.awaiting_delivery())}
        for job_id, job in found.items():
            run = self._runs.get(job_id)
            if run is None:
                self._runs[job_id] = JobRun(job)
            else:
                run.job = job
        for job_id in [job_id for job_id in self._runs if job_id not in found]:
            self._forget(job_id)

    def _forget(self, job_id: str) -> None:
        """The job has ended, and waits for nothing. Its runners may still hold something of it: they give it back, and nobody
        listens."""
        run = self._runs.pop(job_id)
        self._proofs.forget(job_id)
        self._call_back(run)

    # -- what comes from the runners

    def _take(self, notice: Notice) -> None:
        if isinstance(notice, RunnerJoined):
            self._dispatch.runners[notice.runner] = None
            self._heard[notice.runner] = 0
            self._grants.joined(notice.runner)
        elif isinstance(notice, FromRunner):
            if notice.runner not in self._dispatch.runners:
                return
            heard, first = self._heard[notice.runner], notice.events.first
            for event in notice.events.events[max(0, heard + 1 - first) :]:
                self._take_event(event)
            self._heard_of_stores(notice)
            self._heard[notice.runner] = max(heard, first + len(notice.events.events) - 1)
        else:
            self._lost(notice.runner, notice.reason)

    def _heard_of_stores(self, notice: FromRunner) -> None:
        self._grants.heard(notice.runner, notice.events.serial, notice.events.usage)
        for store, usage in notice.events.usage.items():
            if usage.server is not None:
                self._proofs.seen(store, usage.server)
        if notice.events.usage:  # it tells what is held when it tells what it does
            for run in self._runs.values():
                run.heard(notice.runner, notice.events.held.get(run.job.id))

    def _lost(self, runner: str, reason: str) -> None:
        self._dispatch.runners.pop(runner, None)
        self._heard.pop(runner, None)
        self._grants.lost(runner)
        if not self._stopping.is_set():
            _log.warning("runner lost", runner=runner, reason=reason)
        for run in self._runs.values():
            busy = run.file_unit is not None and run.file_unit.runner == runner
            lost = run.runner_lost(runner)
            if (lost or busy) and not self._stopping.is_set():
                self._progress.note(run, EventKind.RUNNER_LOST, runner=runner, reason=reason, chunks=len(lost))
            self._progress.urgent = self._progress.urgent or bool(lost)
            if run.losses_most >= LOSSES_MAX and JobStatus(run.job.status) not in ENDING and not self._progress.moves(run):
                reason = f"{LOSSES_MAX} runners died in a row over the same part of the job"
                self._progress.fail(run, "InternalError", reason)

    def _take_event(self, event: frames.Event) -> None:
        if isinstance(event, frames.ChunkWritten):
            self._file_units.chunk_written(event)
        elif isinstance(event, frames.Flushed):
            self._hand_out.flushed(event)
        elif isinstance(event, frames.Sealed):
            self._hand_out.sealed(event)
        elif isinstance(event, frames.Lied):
            self._hand_out.lied(event)
        elif isinstance(event, frames.Rejected):
            self._credentials.rejected(RoleAt(event.account, event.role, event.store), event.access_key)
        elif isinstance(event, frames.GivenBack):
            self._hand_out.given_back(event)
        elif isinstance(event, frames.UnitFailed) and self._holds_chunk(event):
            self._hand_out.failed(event)
        else:
            self._file_units.ended(event)

    def _holds_chunk(self, event: frames.UnitFailed) -> bool:
        run = self._runs.get(event.job)
        return run is not None and run.chunk_of(event.attempt) is not None

    # -- commits

    def _commit(self) -> None:
        """One transaction for all that happened; then the runners may forget it, and opened chunks may go out."""
        self._committed_at = self._clock.monotonic()
        if self._progress.entries or self._committed_at - self._stored_at >= IDLE_COMMIT_SECONDS:
            self._refresh(self._jobstore.commit(self._dispatch.epoch, self._progress.entries))
            self._stored_at = self._committed_at
        self._progress.committed()
        for run in self._runs.values():
            run.committed()
        self._readiness.trouble = self._spool.shortage()
        self._acknowledged = dict(self._heard)
        self._renew_leases()
        self._remove_outdated_files()

    def _remove_outdated_files(self) -> None:
        if self._hand_out.outdated_files:
            try:
                self._spool.delete(self._hand_out.outdated_files)
            except SpoolError as error:
                _log.warning("outdated files stay for now", error=str(error))
            else:
                self._hand_out.outdated_files = []

    def _renew_leases(self) -> None:
        self._grants.limit_jobs(run.job for run in self._runs.values() if run.runners())
        self._grants.renew()
        for runner in self._dispatch.runners:
            serial, grants = self._grants.of(runner)
            self._engine.send(runner, frames.Renew(acknowledged=self._acknowledged.get(runner, 0), serial=serial, grants=grants))

    def _refresh(self, jobs: Mapping[str, Job]) -> None:
        for job_id, job in jobs.items():
            run = self._runs.get(job_id)
            if run is None:
                continue
            if job.status != run.job.status:
                run.retries, run.retry_at = 0, 0.0
                _log.info("job moved", job=job_id, status=job.status, was=run.job.status)
            run.job = job
            if JobStatus(job.status) in TERMINAL and not job.awaits_delivery:
                self._forget(job_id)
