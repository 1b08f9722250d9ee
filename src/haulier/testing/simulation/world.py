"""One seed from beginning to end."""

import random
import traceback
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any, Final

import msgspec
import structlog

from haulier.core.lifecycle import TERMINAL, JobStatus
from haulier.core.placement import Store
from haulier.testing.s3answers import at_once
from haulier.testing.simulation.crashpoints import CrashPoints
from haulier.testing.simulation.database import DatabaseFiles, Troubles
from haulier.testing.simulation.endings import check_repeated_report, check_report, check_status
from haulier.testing.simulation.hub import Hub, Process
from haulier.testing.simulation.ledger import StoredLedger, Violation, reading
from haulier.testing.simulation.network import ENDPOINT, ModelStore
from haulier.testing.simulation.oracle import Oracle, Trace
from haulier.testing.simulation.plan import Moment, Plan
from haulier.testing.simulation.runners import Machine, RunnerProcess
from haulier.testing.simulation.server import ServerProcess
from haulier.testing.simulation.sizes import small
from haulier.testing.simulation.spool import Disk, ModelSpool
from haulier.testing.simulation.truth import JobTruth, Object
from haulier.testing.simulation.users import Users

LIVENESS_SECONDS: Final = 900.0
"""How long after the last trouble every job has ended: a report or a manifest may wait five minutes for its next try."""


class Result(msgspec.Struct, kw_only=True):
    """What came of a seed."""

    plan: Plan
    problem: str | None
    """The promise that was broken."""
    trace: list[str]
    hit: str | None
    """The place at which a process was crashed."""
    crashes: int
    statuses: dict[str, int]
    """Jobs by their last state."""
    places: dict[str, int]
    """How often each place for a crash was passed."""
    seconds: float
    """Of fake time."""
    digest: str
    """Of everything that happened, in order: the same for the same seed."""


def run(plan: Plan) -> Result:
    """Run a plan. Errors of the code under test are a problem of the result too, with its traceback."""
    world = World(plan)
    try:
        return world.run()
    finally:
        world.close()


class World:
    """Everything there is."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        seed = plan.seed
        self._hub = Hub(f"turns {seed}")
        self._chance = random.Random(f"world {seed}")
        self._trace = Trace(self._hub)
        self._points = CrashPoints(plan.crash_place, plan.crash_passing)
        self._disk = Disk(self._hub)
        self._database = DatabaseFiles()
        self._troubles = Troubles(random.Random(f"commits {seed}").random, plan.commit_refused, plan.commit_answer_lost)
        self._store = self._model_store()
        self._ledger = StoredLedger(self._disk.durable)
        self._reading = reading(self._database.path)
        self.oracle = Oracle(self._hub, self._ledger, self._store, self._trace, plan.in_flight_max)
        self._machine = self._model_machine()
        self._jobs = [JobTruth(number, job, self._store.objects) for number, job in enumerate(plan.jobs)]
        self._server: ServerProcess | None = None
        self._users = Users(self._hub, self._jobs, self._living_server, self._store.objects, self._ledger, self.oracle)
        self._lives = 0
        self._crashes = 0
        self._settled = self._closing = False
        self._checked: set[str] = set()
        self._looked_at: object = None

    def _model_store(self) -> ModelStore:
        plan = self.plan
        numbers = range(len(plan.jobs))
        buckets = ["lists", "scratch", *(f"data-{number}" for number in numbers), *(f"copies-{number}" for number in numbers)]
        versioned = [f"{kind}-{number}" for number in numbers for kind in ("data", "copies") if plan.jobs[number].versioned]
        store = ModelStore(
            self._hub, buckets, versioned, skew_ms=plan.skew_ms, seconds=plan.request_seconds, seed=f"store {plan.seed}"
        )
        store.faults = plan.store_faults
        return store

    def _model_machine(self) -> Machine:
        plan = self.plan
        scratch = self._database.folder / "tmp"
        scratch.mkdir()
        settings = Store(
            name="main",
            endpoint=ENDPOINT,
            default=True,
            in_flight_max=plan.in_flight_max,
            probe=plan.probe,
            scratch_bucket="scratch" if plan.probe == "scratch" else None,
        )
        machine = Machine(self._hub, self._disk, self._store, self._points, self.oracle, scratch, settings)
        machine.events_doubled = plan.events_doubled
        machine.renewed = self.oracle.renewed
        machine.submitted = self.oracle.submitted
        machine.speaks = self.oracle.speaks
        return machine

    # -- the way of a seed

    def run(self) -> Result:
        """See `run`."""
        problem = None
        with ExitStack() as stack:
            stack.enter_context(small(self.plan.sizes))
            stack.enter_context(_logged(self._log))
            try:
                self._live()
            except Violation as violation:
                problem = str(violation)
            except Exception as error:  # noqa: BLE001 - of the code under test: a finding like any other
                problem = "".join(traceback.format_exception(error))
        statuses: dict[str, int] = {}
        for job in self._ledger.jobs.values():
            statuses[job.status] = statuses.get(job.status, 0) + 1
        return Result(
            plan=self.plan,
            problem=problem,
            trace=self._trace.lines(),
            hit=self._points.hit,
            crashes=self._crashes,
            statuses=statuses,
            places=dict(self._points.passed),
            seconds=self._hub.now,
            digest=self._trace.digest,
        )

    def _live(self) -> None:
        self._boot()
        for job in self._jobs:
            self._hub.later(job.plan.at, partial(self._users.create, job))
        for moment in self.plan.moments:
            self._hub.later(moment.at, partial(self._happens, moment))
        self._hub.later(self.plan.settle_at, self._settle)
        if not self._hub.run(self._all_ended, self.plan.settle_at + LIVENESS_SECONDS):
            raise Violation(f"nothing has gone wrong for {LIVENESS_SECONDS:.0f} s, and there are still jobs: {self._unended()}")
        spool = ModelSpool(self._disk, Process(self._hub, "afterwards"), self._points)
        for job in self._jobs:
            if self._ledger.jobs[job.id].status == JobStatus.COMPLETE:
                check_report(job, self._ledger, self._store.objects)
                check_repeated_report(job, self.oracle, self._store.objects, spool, self._machine.scratch)

    def _unended(self) -> list[str]:
        return [str(job) for job in self._ledger.jobs.values() if job.status not in TERMINAL]

    def _all_ended(self) -> bool:
        jobs = self._ledger.jobs
        if jobs is self._looked_at:
            return False
        self._looked_at = jobs
        for job_id, job in jobs.items():
            if job.status in TERMINAL and job_id not in self._checked:
                self._checked.add(job_id)
                truth = self.oracle.jobs[job_id]
                check_status(truth, self._ledger, cancelled=job_id in self._users.cancelled, unsure=self._lives > 1)
                self.oracle.check_end(truth)
        return len(self._checked) == len(self._jobs)

    def close(self) -> None:
        """All over."""
        self._closing = True
        for process in (self._server, *self._machine.runners.values()):
            if process is not None:
                process.kill()
        with suppress(Violation):  # the run is judged already; what was on its way arrives all the same
            self._hub.run(lambda: False, 1.0)
        self._reading.close()
        self._database.remove()

    # -- the server's lives

    def _boot(self) -> None:
        self._lives += 1
        name = f"server {self._lives}"
        self._trace.add("{} begins", name)
        self._server = ServerProcess(
            self._machine,
            self._database,
            self._troubles,
            name=name,
            runners=self.plan.runners,
            sts_seconds=self.plan.sts_seconds,
            committed=lambda: self._ledger.look(self._reading),
            new_id=lambda: str(uuid.UUID(int=self._chance.getrandbits(128), version=4)),
        )
        self._server.at_death(self._server_died)

    def _living_server(self) -> ServerProcess | None:
        return None if self._server is None or self._server.dead else self._server

    def _server_died(self) -> None:
        server = self._server
        assert server is not None
        self._trace.add("{} is gone", server.name)
        self._crashes += 1
        self._hub.later(0, server.jobstore.close)
        if self._closing:
            return
        self._meddle()
        self._hub.later(self._chance.uniform(0.01, 2.0), self._boot)

    def _meddle(self) -> None:
        """While nobody looks somebody writes objects anew that jobs are about."""
        if self._settled or not self.plan.foreign_share:
            return
        under_way = [(sent.bucket, key) for sent in self._store.under_way.values() if sent.what == "task" for key, _ in sent.keys]
        for object_ in under_way:
            if self._chance.random() < self.plan.foreign_share:
                self._hub.later(self._chance.uniform(0.0, 3.0), partial(self._write, object_))

    def _write(self, object_: Object) -> None:
        bucket, key = object_
        body = b"somebody's at %f" % self._hub.now
        self.oracle.wrote(object_, at_once(self._store.objects.put_object(bucket, key, body)))

    # -- what goes wrong

    def _happens(self, moment: Moment) -> None:
        if self._settled:
            return
        self._trace.add("{} ({:.2f} s)", moment.what, moment.seconds)
        runners = list(self._machine.runners.values())
        if moment.what.startswith(("runner", "frames")):
            if runners:
                self._to_runner(runners[moment.victim % len(runners)], moment)
        elif moment.what.startswith(("server", "power")):
            self._to_server(moment)
        elif moment.what == "somebody writes":
            self._meddle()
        elif moment.what == "store away":
            self._store.away = True
            self._hub.later(moment.seconds, lambda: setattr(self._store, "away", False))
        elif moment.what == "disk full":
            self._disk.full = self._troubles.full = True
            self._hub.later(moment.seconds, self._free_disk)
        elif moment.what == "disk slow":
            self._disk.slow = True
            self._hub.later(moment.seconds, lambda: setattr(self._disk, "slow", False))
        else:
            self._users.ask(moment)

    def _to_runner(self, runner: RunnerProcess, moment: Moment) -> None:
        if moment.what == "frames late":
            runner.hold_frames(moment.seconds, both_ways=moment.victim % 2 == 0)
            return
        self._meddle()
        if moment.what == "runner killed":
            self._crashes += 1
            runner.kill()
        else:
            runner.freeze(moment.seconds)

    def _to_server(self, moment: Moment) -> None:
        server = self._living_server()
        if server is None:
            return
        if moment.what == "server stopped":
            server.stop()
        elif moment.what == "server frozen":
            server.freeze(moment.seconds)
        else:
            server.kill()
        if moment.what == "power lost":
            for runner in list(self._machine.runners.values()):
                runner.kill()
            self._disk.lose_power()

    def _free_disk(self) -> None:
        self._disk.full = self._troubles.full = False

    # -- the end of all trouble

    def _settle(self) -> None:
        self._trace.add("no trouble any more")
        self._settled = True
        self._store.faults = {}
        self._store.away = self._disk.slow = False
        self._free_disk()
        self._troubles.stop()
        self._machine.events_doubled = 0.0
        self._users.hurry()

    def _log(self, _logger: object, level: str, facts: Any) -> Any:
        text = ", ".join(f"{name}={value}" for name, value in facts.items() if name != "exc_info")
        self._trace.add("log {}: {}", level, text)
        if level == "error" and "unexpected" in facts.get("event", ""):
            self._hub.fail(Violation(f"the code fell over: {text} {facts.get('exc_info')!r}"))
        raise structlog.DropEvent


@contextmanager
def _logged(log: Callable[[Any, str, Any], Any]) -> Iterator[None]:
    """What the code logs goes here."""
    before = structlog.get_config()
    structlog.configure(processors=[log], wrapper_class=structlog.make_filtering_bound_logger(0), cache_logger_on_first_use=False)
    try:
        yield
    finally:
        structlog.configure(**before)
