"""The life of a job: what each unfinished job needs next, by the state that it is in. The table of states is `core.lifecycle`."""

from collections.abc import Mapping
from typing import Final

import msgspec

from haulier.core.history import EventKind
from haulier.core.job import Dialect, Failure, Waits
from haulier.core.lifecycle import JobEvent, JobStatus
from haulier.core.ports import Clock, JobStore
from haulier.engine.dispatch import Dispatch
from haulier.engine.fileunits import FileUnits
from haulier.engine.handout import HandOut
from haulier.engine.jobrun import JobRun
from haulier.engine.progress import Progress
from haulier.engine.proofs import Proofs, Unproven

FAILURE_JUDGED_FROM: Final[Mapping[Dialect, int]] = {"s3control": 1_000, "native": 1_000, "cos": 1_001}
"""So many tasks must have ended before too many failures end the job: AWS says at least 1,000, COS more than 1,000."""
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
ROLE_SECONDS: Final = 10.0
"""How often a job is asked for its role, though no unit of it goes out: a chunk may run for hours."""
_GO_ON_BY_THEMSELVES: Final = frozenset({"priority", "operator"})
"""Whose pauses end when there is no more reason for them."""
_ACTS_AS_ROLE: Final = frozenset({JobStatus.PREPARING, JobStatus.READY, JobStatus.ACTIVE, JobStatus.PAUSING, JobStatus.PAUSED})


class JobLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits that the operator may change while the server runs."""

    active_max: int = 1_000
    """Jobs whose tasks run at the same time; the others wait in Ready."""
    confirmation_days: float = 30
    """After so long in Suspended a job ends Failed."""
    outage_hours: float = 24
    """A store that does not answer for so long ends the jobs that need it."""


class JobLife:
    """Moves one job at a time; nothing is decided about a job whose last move waits for its commit."""

    def __init__(
        self,
        jobstore: JobStore,
        dispatch: Dispatch,
        progress: Progress,
        file_units: FileUnits,
        hand_out: HandOut,
        proofs: Proofs,
        clock: Clock,
    ) -> None:
        self._jobstore = jobstore
        self._dispatch = dispatch
        self._progress = progress
        self._file_units = file_units
        self._hand_out = hand_out
        self._proofs = proofs
        self._clock = clock

    def go_on(self, run: JobRun, limits: JobLimits, *, may_run: bool, stopped: bool = False) -> None:
        """Do what the job needs next; `may_run` says whether its tasks may (`scheduler.may_run`), `stopped` whether the operator
        has stopped everything (`core.brake`)."""
        status = JobStatus(run.job.status)
        if self._progress.moves(run):
            return
        if stopped:
            self._hold(run, status)
            return
        if not self._has_role(run, status):
            return
        if status is JobStatus.NEW:
            self._progress.move(run, JobEvent.PICKED_UP)
        elif status is JobStatus.PREPARING:
            self._file_units.prepare(run)
        elif status is JobStatus.SUSPENDED:
            self._confirm_or_expire(run, limits.confirmation_days)
        elif status in (JobStatus.CANCELLING, JobStatus.FAILING, JobStatus.COMPLETING):
            self._finish(run)
        elif run.job.awaits_delivery:
            self._load(run)
            self._file_units.report(run)
        elif status in (JobStatus.READY, JobStatus.ACTIVE, JobStatus.PAUSING, JobStatus.PAUSED):
            self._keep_running(run, status, limits, may_run=may_run)

    def _has_role(self, run: JobRun, status: JobStatus) -> bool:
        """Whether the job may go on acting as its role; it fails where that is over (reliability.md §7)."""
        now = self._clock.monotonic()
        if status not in _ACTS_AS_ROLE or (run.role_asked_at is not None and now - run.role_asked_at < ROLE_SECONDS):
            return True
        run.role_asked_at = now
        return self._dispatch.may_act(run)

    def _confirm_or_expire(self, run: JobRun, days: float) -> None:
        if run.job.confirmation_given:  # it came while the manifest was being read
            self._progress.move(run, JobEvent.CONFIRMED)
        elif self._clock.now_ms() - (run.job.suspended_ms or 0) > days * DAY_MS:
            failure = Failure("ConfirmationTimeout", f"the job was not confirmed within {days:g} days")
            self._progress.move(run, JobEvent.EXPIRED, failure=failure)

    def _keep_running(self, run: JobRun, status: JobStatus, limits: JobLimits, *, may_run: bool) -> None:
        self._load(run)
        if status is JobStatus.READY and may_run:
            if self._proven(run):
                self._tell_untried(run)
                self._hand_out.open(run)
                self._progress.move(run, JobEvent.STARTED)
        elif status is JobStatus.ACTIVE:
            self._keep_active(run, limits, may_run=may_run)
        elif status is JobStatus.PAUSING:
            self._drain(run)
        elif status is JobStatus.PAUSED and may_run and run.job.paused_by in _GO_ON_BY_THEMSELVES:
            self._progress.move(run, JobEvent.RELEASED)

    def _hold(self, run: JobRun, status: JobStatus) -> None:
        """Pause the job if it runs; whatever else it is about to do waits."""
        if status is JobStatus.ACTIVE:
            self._progress.move(run, JobEvent.HELD, paused_by="operator")
        elif status is JobStatus.PAUSING:
            self._load(run)
            self._drain(run)

    def _drain(self, run: JobRun) -> None:
        if not run.unsealed:
            self._progress.move(run, JobEvent.TASKS_DONE)
        elif self._given_back(run):
            self._hand_out.close(run)
            self._progress.move(run, JobEvent.DRAINED)

    def _watch_stores(self, run: JobRun, hours: float) -> bool:
        """Tell whether a store is away, and end the job when that has lasted too long; False then."""
        waits = run.job.waits
        if waits is None and run.away is not None:
            self._progress.outage(run, Waits("StoreUnreachable", run.away, self._clock.now_ms()))
        elif waits is not None and run.goes_on:
            self._progress.outage(run, None)
        elif waits is not None and self._clock.now_ms() - waits.since_ms > hours * HOUR_MS:
            self._progress.fail(run, waits.code, f"{run.away or waits.reason}; so it was for {hours:g} hours")
            return False
        return True

    def _keep_active(self, run: JobRun, limits: JobLimits, *, may_run: bool) -> None:
        if not self._watch_stores(run, limits.outage_hours):
            return
        job = run.job
        if job.executed >= FAILURE_JUDGED_FROM[job.dialect] and 2 * job.failed > job.executed:
            reason = f"{job.failed} of {job.executed} tasks failed, more than 50 %"
            self._progress.fail(run, "FailureThresholdExceeded", reason)
        elif not run.unsealed:
            self._progress.move(run, JobEvent.TASKS_DONE)
        elif (store := self._proofs.gone(job)) is not None:
            # No runner is granted anything there any more: what it has of the job would wait for ever.
            self._progress.fail(run, "UnknownBucket", f"store {store!r} is no longer in the settings")
        elif (store := self._proofs.read_only(job)) is not None:
            # Chunks that runners have would go on for hours: what the operator says holds at once (decisions §1).
            self._progress.fail(run, "RoleNotAllowed", f"store {store!r} is read-only in the settings")
        elif not may_run:
            self._progress.move(run, JobEvent.HELD, paused_by="priority")
        elif self._proven(run):
            self._tell_untried(run)
            self._hand_out.open(run)

    def _tell_untried(self, run: JobRun) -> None:
        """Before the first task: on which stores the settings let it run without a trial. A job that was paused while it was
        Ready begins as one that goes on."""
        if not run.told_untried and not run.job.executed and not run.job.active_ms:
            for store, probe in self._proofs.untried(run.job):
                self._progress.note(run, EventKind.UNPROVEN, store=store, probe=probe)
        run.told_untried = True

    def _proven(self, run: JobRun) -> bool:
        """Whether every store that the rows are on was seen to do the operation (decisions §4). One that was not tried is tried
        now; one that was seen to lie ends the job."""
        obstacle = self._proofs.obstacle(run.job)
        if isinstance(obstacle, Unproven):
            self._file_units.probe(run, obstacle.store)
        elif obstacle is not None:
            self._progress.fail(run, obstacle.code, obstacle.reason)
        return obstacle is None

    def _load(self, run: JobRun) -> None:
        if not run.loaded:
            run.load(self._jobstore.chunks(run.job.id), self._jobstore.segments(run.job.id))

    def _given_back(self, run: JobRun) -> bool:
        """Ask the runners for the job's chunks; whether none is out any more."""
        at_work = run.at_work()
        for runner in at_work:
            self._dispatch.call_back(run, runner)
        return not at_work

    def _finish(self, run: JobRun) -> None:
        if not self._given_back(run):
            return
        self._load(run)
        if not self._hand_out.settle(run):
            return
        job = run.job
        undeliverable = job.failure is not None and job.failure.code == "ReportDeliveryFailed"
        if not job.owes_report or undeliverable:
            self._progress.move(run, JobEvent.REPORTED)
        else:
            self._file_units.report(run)
