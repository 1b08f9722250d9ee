"""Giving units to runners: which runners there are, the attempt that names each handing-out, the brief that goes with it."""

from collections.abc import Iterable, Sequence

from haulier.core.chunk import Attempt
from haulier.core.errors import JobFailure
from haulier.core.job import Job
from haulier.engine.briefs import Briefs
from haulier.engine.credentials import CredentialsAwaited
from haulier.engine.frames import Access, Control, Down, JobBrief, Submit, Unit
from haulier.engine.jobrun import JobRun
from haulier.engine.port import Engine
from haulier.engine.progress import Progress


class Dispatch:
    """Used by whoever has a unit to give out; belongs to the coordinator's thread."""

    def __init__(self, engine: Engine, briefs: Briefs, progress: Progress) -> None:
        self._engine = engine
        self._briefs = briefs
        self._progress = progress
        self.epoch = 0
        """The coordinator's; the first part of every attempt."""
        self._counter = 0
        self.runners: dict[str, None] = {}
        """The runners that live, in the order in which they joined."""

    def next_attempt(self) -> Attempt:
        """A name that was never given before."""
        self._counter += 1
        return Attempt(self.epoch, self._counter)

    def may_act(self, run: JobRun) -> bool:
        """Whether the job may act as its role still: it fails where it may not. A role without credentials only waits."""
        try:
            self._briefs.check(run.job)
        except JobFailure as failure:
            self._progress.fail(run, failure.code, failure.reason)
            return False
        except CredentialsAwaited as awaited:
            self._progress.wait(run, awaited.problem)
        return True

    def brief(self, run: JobRun) -> JobBrief | None:
        """What the runner must know of the job; None where the job may not run at all: it fails then; or while its role has no
        credentials: it waits then, and its record says why."""
        try:
            brief = self._briefs.brief(run.job)
        except JobFailure as failure:
            self._progress.fail(run, failure.code, failure.reason)
            return None
        except CredentialsAwaited as awaited:
            self._progress.wait(run, awaited.problem)
            return None
        run.waits_for = None
        return brief

    def settling_brief(self, run: JobRun) -> tuple[JobBrief, bool] | None:
        """The brief of a unit that settles, and whether it must do without asking any store, for the job's role is gone. None
        while the role waits for credentials."""
        try:
            return self._briefs.brief(run.job), False
        except JobFailure:
            return self._briefs.blind(run.job), True
        except CredentialsAwaited as awaited:
            self._progress.wait(run, awaited.problem)
            return None

    def access_of(self, jobs: Iterable[Job]) -> Sequence[Access]:
        """The credentials that the jobs act with by now, each role's once; none of a job that may act no more."""
        found: dict[tuple[str, str, str], Access] = {}
        for job in jobs:
            try:
                access = self._briefs.brief(job).access
            except (JobFailure, CredentialsAwaited):
                continue
            for store, credentials in access.items():
                at = job.account, job.role, store
                found[at] = Access(account=job.account, role=job.role, store=store, credentials=credentials)
        return tuple(found.values())

    def weight(self, account: str) -> float:
        """See `Briefs.weight`."""
        return self._briefs.weight(account)

    def submit(self, runner: str, brief: JobBrief, unit: Unit) -> None:
        """The runner takes the unit."""
        self._engine.send(runner, Submit(jobs=(brief,), units=(unit,)))

    def call_back(self, run: JobRun, runner: str) -> None:
        """The runner gives back what it has of the job."""
        self._engine.send(runner, Control(give_back=(run.job.id,)))

    def tell_all(self, frame: Down) -> None:
        """The same frame to every runner."""
        for runner in self.runners:
            self._engine.send(runner, frame)
