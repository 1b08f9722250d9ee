"""The coordinator on a real SQLite job store, with runners that a test or a seed moves."""

import random
from collections import Counter, deque
from concurrent.futures import Future

import msgspec
import pytest
from msgspec.structs import replace

from haulier.core.accounts import Account, AssumedRole, Credentials, Key, Quotas, Role, User
from haulier.core.chunk import Chunk, Segment
from haulier.core.delivery import Place, asked
from haulier.core.directory import Directory
from haulier.core.errors import Unavailable
from haulier.core.failures import FailureClass
from haulier.core.grants import Usage
from haulier.core.lifecycle import TERMINAL, JobEvent, advance
from haulier.core.placement import Store
from haulier.core.policy import Policies
from haulier.core.policy.rights import Rights
from haulier.engine import frames
from haulier.engine.briefs import Briefs
from haulier.engine.coordinator import Coordinator
from haulier.engine.credentials import CredentialsAwaited, RoleCredentials
from haulier.engine.grants import Grants
from haulier.engine.joblife import JobLimits
from haulier.engine.port import FromRunner, RunnerJoined, RunnerLost
from haulier.engine.proofs import Proofs
from haulier.jobstore import SqlJobStore
from haulier.objectstore.sts import StsRefused, StsUnavailable
from haulier.operations.probing import Finding
from unit.values import a_job


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def now_ms(self):
        return 1_700_000_000_000 + int(self.seconds * 1000)

    def monotonic(self):
        return self.seconds


class Toy:
    """A runner that does a little of one of its units whenever it is told to `step`."""

    def __init__(self, name, world):
        self.name, self.world = name, world
        self.units = []
        self.number = 1
        self.stopping = set()
        self.outbox = deque()

    def take(self, frame):
        if isinstance(frame, frames.Submit):
            self.stopping -= {unit.job for unit in frame.units}
            self.units += [(unit, {"done": self.world.rows_of(unit), "fresh": [], "sequence": 0}) for unit in frame.units]
        elif isinstance(frame, frames.Control):
            self.stopping |= set(frame.give_back) | ({unit.job for unit, _ in self.units} if frame.shutdown else set())

    def say(self, event):
        self.outbox.append(event)

    def step(self, chance):
        if not self.units:
            return
        unit, state = self.units[chance.randrange(len(self.units))]
        ended = self.world.do(self, unit, state, chance)
        if ended:
            self.units.remove((unit, state))

    def speak(self):
        """The notice with what it has said since the last time."""
        events = tuple(self.outbox)
        self.outbox.clear()
        first, self.number = self.number, self.number + len(events)
        return FromRunner(self.name, frames.Events(first=first, events=events))


def no_such_key(count):
    """The failure classes of so many tasks whose object is not there."""
    return (FailureClass(code="NoSuchKey", status=404, count=count),) if count else ()


class World:
    """The engine port over toys, and the files they write. `effects` counts what was done to each row."""

    def __init__(self, rows=40, chunk_rows=10):
        self.rows, self.chunk_rows = rows, chunk_rows
        self.files: dict[str, list[int]] = {}
        self.effects: dict[int, int] = {}
        self.reports = []
        self.places = []
        """Where each report went."""
        self.refused = None
        """Why the store takes no report."""
        self.toys: dict[str, Toy] = {}
        self.notices = deque()
        self.born = 0
        self.bad_rows = set()
        self.probes = []
        self.short = None
        self.verdict = "proven"
        self.in_trouble = False
        self.server = "toys/1"

    # the engine port

    def start(self):
        self.toys = {}
        self.notices.clear()
        for _ in range(2):
            self.spawn()

    def spawn(self):
        self.born += 1
        name = f"toy-{self.born}"
        self.toys[name] = Toy(name, self)
        self.notices.append(RunnerJoined(name))

    def send(self, runner, frame):
        if isinstance(frame, frames.Submit):
            for unit in frame.units:
                if isinstance(unit, frames.RunChunk):
                    self.check(unit)
        if runner in self.toys:
            self.toys[runner].take(frame)

    def receive(self, wait_seconds):
        found = list(self.notices)
        self.notices.clear()
        return found

    def wake(self):
        pass

    def wind_down(self):
        pass

    def stop(self):
        self.toys = {}

    # what seeds do

    def kill(self, name):
        toy = self.toys.pop(name)
        self.notices.append(RunnerLost(name, "killed"))
        self.spawn()
        return toy

    def end(self, wait_seconds):
        """`receive` of runners that do what they were told, which was to stop."""
        for name, toy in list(self.toys.items()):
            toy.step(random.Random(1))
            self.notices.append(toy.speak())
            if not toy.units:
                del self.toys[name]
                self.notices.append(RunnerLost(name, "ended"))
        found = list(self.notices)
        self.notices.clear()
        return found

    def rows_of(self, unit):
        if not isinstance(unit, frames.RunChunk):
            return set()
        return {row for segment in unit.segments for row in self.files[segment.name]}

    def do(self, toy, unit, state, chance):
        if isinstance(unit, frames.ProbeStore) and unit.job in toy.stopping:
            toy.say(frames.Dropped(attempt=unit.attempt, job=unit.job))
            return True
        if isinstance(unit, frames.PrepareJob):
            for index, first in enumerate(range(0, self.rows, self.chunk_rows)):
                rows = min(self.chunk_rows, self.rows - first)
                name = f"acme/{unit.job}/chunks/{index}-{unit.attempt}"
                toy.say(
                    frames.ChunkWritten(
                        attempt=unit.attempt, chunk=Chunk(job=unit.job, index=index, first_row=first, rows=rows, name=name)
                    )
                )
            toy.say(frames.Prepared(attempt=unit.attempt, job=unit.job, total=self.rows, row_stores=("main",)))
            return True
        if isinstance(unit, frames.ProbeStore):
            self.probes.append(unit.store)
            finding = Finding(self.verdict, "as seen", self.server)
            if self.in_trouble:
                finding = Finding("inconclusive", "500", passing=True)
            toy.say(frames.Probed(attempt=unit.attempt, job=unit.job, store=unit.store, finding=finding))
            return True
        if isinstance(unit, frames.WriteReport):
            if self.refused:
                toy.say(frames.UnitFailed(attempt=unit.attempt, job=unit.job, code="ReportDeliveryFailed", reason=self.refused))
                return True
            names = [chunk.sealed_name for chunk in unit.chunks if chunk.sealed_name] + [s.name for s in unit.segments]
            self.places.append((unit.report.bucket, unit.report.prefix))
            self.reports.append(sorted(row for name in names for row in self.files[name]))
            toy.say(frames.Delivered(attempt=unit.attempt, job=unit.job))
            return True
        return self._run(toy, unit, state, chance)

    def _run(self, toy, unit, state, chance):
        chunk = unit.chunk
        if unit.settle:
            doubtful = range(chunk.first_row, chunk.first_row + unit.doubt_below)
            state["fresh"] += [row for row in doubtful if row not in state["done"] and row in self.effects]
            self._flush(toy, unit, state)
            toy.say(frames.GivenBack(attempt=unit.attempt, job=unit.job, chunk=chunk.index, horizon=chunk.horizon, settled=True))
            return True
        if unit.job in toy.stopping:
            self._flush(toy, unit, state)
            left = [row for row in range(chunk.rows) if chunk.first_row + row not in state["done"]]
            toy.say(
                frames.GivenBack(attempt=unit.attempt, job=unit.job, chunk=chunk.index, horizon=left[0] if left else chunk.rows)
            )
            return True
        left = [row for row in range(chunk.first_row, chunk.first_row + chunk.rows) if row not in state["done"]]
        for row in left[: chance.randint(1, 4)]:
            self.effects[row] = self.effects.get(row, 0) + 1
            state["done"].add(row)
            state["fresh"].append(row)
        if len(state["done"]) == chunk.rows:
            name = f"acme/{unit.job}/sealed/{chunk.index}-{unit.attempt}"
            self.files[name] = sorted(state["done"])
            failed = len(self.bad_rows & state["done"])
            fresh = len(self.bad_rows & set(state["fresh"]))
            toy.say(
                frames.Sealed(
                    attempt=unit.attempt,
                    job=unit.job,
                    chunk=chunk.index,
                    name=name,
                    succeeded=chunk.rows - failed,
                    failed=failed,
                    failures=no_such_key(fresh),
                    read_back=self._read_back(unit, state),
                )
            )
            return True
        if chance.random() < 0.5:
            self._flush(toy, unit, state)
        return False

    def _flush(self, toy, unit, state):
        if not state["fresh"]:
            return
        name = f"acme/{unit.job}/segments/{unit.chunk.index}-{unit.attempt}-{state['sequence']}"
        self.files[name] = list(state["fresh"])
        segment = Segment(
            job=unit.job, chunk=unit.chunk.index, attempt=unit.attempt, sequence=state["sequence"], name=name,
            rows=len(state["fresh"]), failed=len(self.bad_rows & set(state["fresh"])),
        )  # fmt: skip
        state["sequence"] += 1
        state["fresh"].clear()
        failures = no_such_key(segment.failed)
        read = self._read_back(unit, state, segment.rows)
        toy.say(frames.Flushed(attempt=unit.attempt, segment=segment, horizon=unit.chunk.rows, failures=failures, read_back=read))

    def _read_back(self, unit, state, fresh=None):
        fresh = len(state["fresh"]) if fresh is None else fresh
        read = {store: min(left - state.get("read", 0), fresh) for store, left in unit.read_back.items()}
        state["read"] = state.get("read", 0) + sum(read.values())
        return {store: count for store, count in read.items() if count > 0}

    # the spool port, as far as the coordinator uses it

    def shortage(self):
        return self.short

    def delete(self, names):
        for name in names:
            del self.files[name]


def accounts(users=("admin",)):
    user = User(account="acme", name="admin", policy="admin", keys=(Key(id="AK", secret_key="SK"),))
    return [Account(name="acme", users=(user,), roles=(Role(account="acme", name="batch", users=users),))]


class Sts:
    """What asks STS, answered at once, or when the test says so."""

    def __init__(self, clock):
        self.clock = clock
        self.asked = []
        self.error = None
        self.life_seconds = 60

    def __call__(self, how, session):
        future = Future()
        self.asked.append((how, session))
        if self.error is not None:
            future.set_exception(self.error)
        else:
            expires_ms = self.clock.now_ms() + self.life_seconds * 1000
            future.set_result(Credentials(f"K{len(self.asked)}", "S", "T", expires_ms=expires_ms))
        return future


class Flaky:
    """A job store that sometimes cannot be used, and sometimes has done what it says it could not (a lost answer)."""

    def __init__(self, jobstore):
        self.jobstore = jobstore
        self.chance = random.Random(0)
        self.before = self.after = 0.0

    def __getattr__(self, name):
        return getattr(self.jobstore, name)

    def commit(self, epoch, entries):
        if self.chance.random() < self.before:
            raise Unavailable("disk on fire")
        jobs = self.jobstore.commit(epoch, entries)
        if self.chance.random() < self.after:
            raise Unavailable("the answer was lost")
        return jobs

    def unfinished(self):
        if self.chance.random() < self.before:
            raise Unavailable("disk on fire")
        return self.jobstore.unfinished()


class Stage:
    def __init__(self, tmp_path, world=None, users=("admin",), stores=()):
        self.stores = stores
        self.clock = Clock()
        self.world = world or World()
        self.jobstore = Flaky(SqlJobStore.open(tmp_path / "haulier.db", self.clock))
        self.world.check = self.is_committed
        self.directory = Directory(accounts(users))
        self.crashes = []
        self.sts = Sts(self.clock)
        self.restart()

    def is_committed(self, unit):
        """What goes out must be what a crash would leave: no horizon and no segment that is not stored."""
        stored = self.jobstore.chunks(unit.job)[unit.chunk.index]
        assert unit.settle or stored.opened_ms is not None
        assert unit.chunk.horizon <= stored.horizon
        assert set(unit.segments) <= set(self.jobstore.segments(unit.job))

    def restart(self):
        """A new coordinator, as after kill -9: the old one's memory and runners are gone."""
        self.credentials = RoleCredentials(self.sts, self.clock, lambda: 0.5)
        self.coordinator = Coordinator(
            self.jobstore,
            self.world,
            self.world,
            Briefs(self.directory, {}, Rights(Policies()), self.world, self.credentials),
            Proofs(self.stores, self.clock),
            Grants(self.stores, self.clock),
            self.credentials,
            self.clock,
            limits=JobLimits(),
            crashed=self.crashes.append,
        )
        self.coordinator.take_over()

    def turn(self):
        self.clock.seconds += 0.3
        self.coordinator.reload()
        self.coordinator.turn(0)

    def job(self, job_id=None):
        return self.jobstore.get("acme", job_id or a_job().id)

    def settle(self, chance=None, until=lambda job: job.status in TERMINAL, turns=400, job_id=None):
        chance = chance or random.Random(1)
        for _ in range(turns):
            self.turn()
            if until(self.job(job_id)):
                return self.job(job_id)
            for toy in list(self.world.toys.values()):
                toy.step(chance)
                self.world.notices.append(toy.speak())
        raise AssertionError(f"not settled: {self.job()}")


@pytest.fixture
def stage(tmp_path):
    stage = Stage(tmp_path)
    yield stage
    stage.jobstore.close()


def with_report(**changes):
    job = a_job(**changes)
    job.report = type(job.report)(enabled=True, bucket="r", format="Report_CSV_20180820")
    return job


def test_a_job_goes_the_whole_way(stage):
    stage.jobstore.create(with_report(), unfinished_max=10)
    job = stage.settle()
    assert (job.status, job.total, job.succeeded, job.failed) == ("Complete", 40, 40, 0)
    assert stage.world.reports == [list(range(40))]
    assert set(stage.world.effects.values()) == {1}


def test_a_report_that_takes_long_is_left_alone(stage):
    stage.jobstore.create(with_report(), unfinished_max=10)
    chance = random.Random(2)
    for _ in range(200):
        stage.turn()
        for toy in list(stage.world.toys.values()):
            if not any(isinstance(unit, frames.WriteReport) for unit, _ in toy.units):
                toy.step(chance)
            stage.world.notices.append(toy.speak())
    writing = [toy for toy in stage.world.toys.values() if toy.units]
    assert stage.job().status == "Completing"
    assert [type(unit) for toy in writing for unit, _ in toy.units] == [frames.WriteReport]
    assert not any(toy.stopping for toy in writing), "it was told to drop the job whose report it writes"
    assert stage.settle().status == "Complete"


def test_a_report_that_is_refused_is_tried_for_a_day_and_then_the_job_fails_with_its_counters_kept(stage):
    stage.jobstore.create(with_report(), unfinished_max=10)
    stage.world.refused = "403 AccessDenied"
    stage.settle(until=lambda job: job.status == "Completing")
    begun = stage.clock.now_ms()
    while stage.job().status not in TERMINAL:
        stage.clock.seconds += 200
        stage.turn()
        for toy in list(stage.world.toys.values()):
            toy.step(random.Random(1))
            stage.world.notices.append(toy.speak())
    day = 24 * 3600 * 1000
    assert day <= stage.clock.now_ms() - begun < day + 700_000
    job = stage.job()
    assert (job.status, job.failure.code, job.failure.reason) == ("Failed", "ReportDeliveryFailed", "403 AccessDenied")
    assert (job.total, job.succeeded, job.failed) == (40, 40, 0)
    assert stage.world.reports == []


def undelivered(stage):
    """A job that failed because its report was refused."""
    stage.jobstore.create(with_report(), unfinished_max=10)
    stage.world.refused = "403 AccessDenied"
    stage.settle(until=lambda job: job.status == "Completing")
    stage.clock.seconds += 25 * 3600
    return stage.settle()


def deliver(stage, to=None):
    return stage.jobstore.change(
        "acme", a_job().id, lambda job: asked(job, to, by="admin", now_ms=stage.clock.now_ms()), by="admin"
    )


def is_over(job):
    return not job.delivery.waits


def test_a_report_is_delivered_after_all_and_the_job_stays_what_it_is(stage):
    failed = undelivered(stage)
    deliver(stage)
    job = stage.settle(until=is_over)
    assert (job.delivery.status, job.delivery.failure.reason) == ("Failed", "403 AccessDenied")
    stage.world.refused = None
    deliver(stage)
    job = stage.settle(until=is_over)
    assert (job.delivery.number, job.delivery.status, job.delivery.failure) == (2, "Delivered", None)
    deliver(stage, Place("elsewhere", "p"))
    job = stage.settle(until=is_over)
    assert stage.world.places == [("r", ""), ("elsewhere", "p")]
    assert stage.world.reports == [list(range(40))] * 2
    same = ("status", "status_since_ms", "ended_ms", "failure", "succeeded", "reporting_ms")
    assert [getattr(job, name) for name in same] == [getattr(failed, name) for name in same]
    told = [event.facts for event in stage.jobstore.events(job.id) if event.kind == "report delivery"]
    assert [(facts["became"], facts["bucket"]) for facts in told] == [
        ("Waiting", "r"),
        ("Failed", "r"),
        ("Waiting", "r"),
        ("Delivered", "r"),
        ("Waiting", "elsewhere"),
        ("Delivered", "elsewhere"),
    ]


def test_a_delivery_outlives_its_runner_and_its_coordinator(stage):
    undelivered(stage)
    stage.world.refused = None
    deliver(stage)
    for crash in (stage.restart, lambda: stage.world.kill(next(iter(stage.world.toys)))):
        for _ in range(3):
            stage.turn()
        crash()
    assert stage.settle(until=is_over).delivery.status == "Delivered"
    assert stage.world.reports == [list(range(40))]


def test_a_delivery_needs_the_role_and_says_when_it_is_gone(stage):
    undelivered(stage)
    stage.world.refused = None
    stage.directory.reload(accounts(users=()))
    deliver(stage)
    job = stage.settle(until=is_over)
    assert (job.delivery.status, job.delivery.failure.code) == ("Failed", "RoleNotAllowed")
    assert (job.status, stage.world.reports) == ("Failed", [])


def test_events_that_come_twice_count_once(stage):
    stage.jobstore.create(with_report(), unfinished_max=10)
    chance = random.Random(3)
    for _ in range(400):
        stage.turn()
        if stage.job().status in TERMINAL:
            break
        for toy in list(stage.world.toys.values()):
            toy.step(chance)
            stage.world.notices.extend([toy.speak()] * 2)
            if chance.random() < 0.1:
                stage.world.kill(toy.name)
    job = stage.job()
    assert (job.status, job.succeeded, job.failed) == ("Complete", 40, 0)
    assert stage.world.reports[-1] == list(range(40))


def test_a_preparation_is_dropped_when_its_job_is_cancelled(stage):
    stage.jobstore.create(a_job(), unfinished_max=10)
    for _ in range(3):
        stage.turn()
    (reading,) = [toy for toy in stage.world.toys.values() if toy.units]
    job = stage.job()
    stage.jobstore.change("acme", job.id, lambda job: advance(job, JobEvent.CANCEL_REQUESTED, now_ms=stage.clock.now_ms()))
    for _ in range(3):
        stage.turn()
    assert stage.job().status == "Cancelled"
    assert reading.stopping == {job.id}


def test_segments_are_removed_once_their_chunk_is_sealed(stage):
    stage.jobstore.create(a_job(), unfinished_max=10)
    stage.settle()
    stage.turn()
    assert {name.split("/")[2] for name in stage.world.files} == {"sealed"}


def test_confirmation_suspends_the_job_with_its_total_known(stage):
    stage.jobstore.create(a_job(confirmation_required=True), unfinished_max=10)
    job = stage.settle(until=lambda job: job.status == "Suspended")
    assert (job.total, job.suspended_cause) == (40, "AwaitingConfirmation")
    for _ in range(5):
        stage.turn()
    assert not stage.world.effects
    stage.jobstore.change("acme", job.id, lambda job: advance(job, JobEvent.CONFIRMED, now_ms=stage.clock.now_ms()))
    assert stage.settle().status == "Complete"


def test_a_job_that_nobody_confirms_fails_after_30_days(stage):
    stage.jobstore.create(a_job(confirmation_required=True), unfinished_max=10)
    stage.settle(until=lambda job: job.status == "Suspended")
    stage.clock.seconds += 31 * 86_400
    job = stage.settle()
    assert (job.status, job.failure.code) == ("Failed", "ConfirmationTimeout")


def test_a_cancelled_job_reports_what_was_done_and_does_no_more(stage):
    stage.jobstore.create(with_report(), unfinished_max=10)
    job = stage.settle(until=lambda job: job.executed > 0)
    stage.jobstore.change("acme", job.id, lambda job: advance(job, JobEvent.CANCEL_REQUESTED, now_ms=stage.clock.now_ms()))
    job = stage.settle()
    assert job.status == "Cancelled"
    assert stage.world.reports == [sorted(stage.world.effects)]
    assert 0 < job.executed == len(stage.world.effects) < 40


@pytest.mark.parametrize("crash", ["runner", "coordinator", "both, while it is settled"])
def test_what_a_lost_runner_did_for_a_cancelled_job_is_reported(tmp_path, crash):
    stage = Stage(tmp_path, World(rows=400, chunk_rows=100))
    stage.jobstore.create(with_report(), unfinished_max=10)
    stage.settle(until=lambda job: job.executed > 0)
    chance = random.Random(4)
    for toy in stage.world.toys.values():
        toy.step(chance)  # done, and nobody was told
    job = stage.job()
    stage.jobstore.change("acme", job.id, lambda job: advance(job, JobEvent.CANCEL_REQUESTED, now_ms=stage.clock.now_ms()))
    for name in list(stage.world.toys):
        stage.world.kill(name)
    if crash != "runner":
        stage.restart()
    if crash.startswith("both"):
        for _ in range(3):
            stage.turn()
        for name in list(stage.world.toys):
            stage.world.kill(name)
    job = stage.settle()
    assert job.status == "Cancelled"
    assert job.executed == len(stage.world.effects) > 0
    assert stage.world.reports == [sorted(stage.world.effects)]
    stage.jobstore.close()


def test_a_job_whose_only_requests_are_in_doubt_still_gets_its_report(stage):
    stage.jobstore.create(with_report(), unfinished_max=10)
    stage.settle(until=lambda job: job.status == "Active")
    stage.turn()
    for toy in list(stage.world.toys.values()):
        for unit, state in toy.units:
            stage.world._run(toy, unit, state, random.Random(0))
        stage.world.kill(toy.name)
    job = stage.job()
    assert job.executed == 0
    stage.jobstore.change("acme", job.id, lambda job: advance(job, JobEvent.CANCEL_REQUESTED, now_ms=stage.clock.now_ms()))
    assert stage.settle().executed == len(stage.world.effects) > 0
    assert stage.world.reports == [sorted(stage.world.effects)]


STORE = Store(name="main", endpoint="http://127.0.0.1:1", scratch_bucket="scratch")


@pytest.mark.parametrize(
    ("verdict", "store", "status", "code"),
    [
        ("proven", STORE, "Complete", None),
        ("lying", STORE, "Failed", "StoreCannotPutTagging"),
        ("inconclusive", STORE, "Failed", "StoreUnproven"),
        ("lying", msgspec.structs.replace(STORE, probe="off"), "Complete", None),
        ("lying", msgspec.structs.replace(STORE, probe="known"), "Complete", None),
    ],
)
def test_a_store_is_probed_before_the_first_task_and_a_job_that_it_would_harm_is_refused(tmp_path, verdict, store, status, code):
    world = World()
    world.verdict = verdict
    stage = Stage(tmp_path, world, stores=[store])
    stage.jobstore.create(a_job(), unfinished_max=10)
    job = stage.settle()
    assert (job.status, job.failure and job.failure.code) == (status, code)
    assert bool(world.effects) == (status == "Complete")
    assert world.probes == ([] if store.probe in ("off", "known") else ["main"])
    tried = {"store": "main", "verdict": verdict, "detail": "as seen"}
    untried = {"store": "main", "probe": store.probe}
    told = [(event.kind, event.facts) for event in stage.jobstore.events(job.id) if "store" in event.facts]
    assert told == [("probed", tried) if world.probes else ("unproven", untried)]
    stage.jobstore.close()


def test_a_store_that_is_in_trouble_is_tried_again_and_fails_no_job(tmp_path):
    stage = Stage(tmp_path, stores=[STORE])
    stage.world.in_trouble = True
    stage.jobstore.create(a_job(), unfinished_max=10)
    stage.settle(until=lambda _: len(stage.world.probes) == 3)
    assert stage.job().status not in TERMINAL
    assert not stage.world.effects
    stage.world.in_trouble = False
    assert stage.settle().status == "Complete"
    stage.jobstore.close()


def test_a_store_that_is_in_trouble_for_a_day_fails_the_job(tmp_path):
    stage = Stage(tmp_path, stores=[STORE])
    stage.world.in_trouble = True
    stage.jobstore.create(a_job(), unfinished_max=10)
    stage.settle(until=lambda _: len(stage.world.probes) == 2)
    stage.clock.seconds += 25 * 3600
    job = stage.settle()
    assert (job.status, job.failure.code) == ("Failed", "StoreUnproven")
    stage.jobstore.close()


def test_a_jobs_record_tells_its_whole_life_and_which_runners_it_lost(stage):
    stage.jobstore.create(with_report(), unfinished_max=10)
    job = stage.settle(until=lambda job: job.executed > 0)
    (name, held) = next((toy.name, toy.units) for toy in stage.world.toys.values() if toy.units)
    stage.world.kill(name)
    stage.settle()
    told = stage.jobstore.events(job.id)
    statuses = [event.facts["status"] for event in told if event.kind in ("created", "status")]
    assert statuses == ["New", "Preparing", "Ready", "Active", "Completing", "Complete"]
    lost = [event.facts for event in told if event.kind == "runner_lost"]
    assert lost == [{"runner": name, "reason": "killed", "chunks": len(held)}]


def test_what_was_proven_is_not_tried_again_by_the_next_job(tmp_path):
    stage = Stage(tmp_path, stores=[STORE])
    for number in "12":
        stage.jobstore.create(a_job(id=number * 36, token=number), unfinished_max=10)
        stage.settle(until=lambda _, number=number: stage.job(number * 36).status == "Complete", job_id=number * 36)
    assert stage.world.probes == ["main"]
    stage.jobstore.close()


def test_the_first_successes_are_read_back_also_after_a_restart_and_then_no_more(tmp_path):
    stage = Stage(tmp_path, World(rows=100, chunk_rows=10), stores=[STORE])
    asked = []

    def check(unit):
        asked.append(unit.read_back)
        stage.is_committed(unit)

    stage.world.check = check
    stage.jobstore.create(a_job(), unfinished_max=10)
    stage.settle(until=lambda job: sum(job.read_back.values()) >= 5)
    assert asked[0] == {"main": 20}
    stage.restart()
    asked.clear()
    stage.settle(until=lambda _: asked)
    assert 0 < asked[0]["main"] <= 15
    stage.settle()
    assert asked[-1] == {}
    stage.jobstore.close()


def test_a_lie_that_is_found_later_ends_the_job_and_the_next_one_is_tried_anew(tmp_path):
    stage = Stage(tmp_path, stores=[STORE])
    stage.jobstore.create(with_report(), unfinished_max=10)
    stage.settle(until=lambda job: job.executed > 0)
    toy = next(toy for toy in stage.world.toys.values() if toy.units)
    unit = toy.units[0][0]
    lie = frames.Lied(attempt=unit.attempt, job=unit.job, chunk=unit.chunk.index, store="main", seen="the object was gone")
    stage.world.notices.append(FromRunner(toy.name, frames.Events(first=toy.number, events=(lie,))))
    toy.number += 1
    stage.turn()
    assert stage.job().status == "Failing"
    job = stage.settle()
    assert (job.status, job.failure.code) == ("Failed", "StoreCannotPutTagging")
    assert "store 'main' cannot do put tagging: the object was gone" in job.failure.reason
    stage.jobstore.create(a_job(id="2" * 36, token="2"), unfinished_max=10)
    stage.settle(job_id="2" * 36)
    assert stage.world.probes == ["main", "main"]
    stage.jobstore.close()


def test_a_store_is_tried_again_when_it_answers_as_another_server(tmp_path):
    stage = Stage(tmp_path, stores=[STORE])
    stage.jobstore.create(a_job(), unfinished_max=10)
    stage.settle(until=lambda job: job.executed > 0)
    assert stage.world.probes == ["main"]
    stage.world.server = "toys/2"
    name = min(stage.world.toys)
    usage = {"main": Usage(1, 1, 1.0, full=False, paced=False, server="toys/2")}
    stage.world.notices.append(FromRunner(name, frames.Events(first=stage.world.toys[name].number, events=(), usage=usage)))
    assert stage.settle().status == "Complete"
    assert stage.world.probes == ["main", "main"]
    stage.jobstore.close()


def test_a_trial_that_a_pause_called_back_does_not_hold_the_job_for_ever(tmp_path):
    stage = Stage(tmp_path, stores=[STORE])
    stage.jobstore.create(with_report(), unfinished_max=10)
    stage.settle(until=lambda job: job.executed > 0)
    usage = {"main": Usage(1, 1, 1.0, full=False, paced=False, server="toys/2")}
    name, toy = next((name, toy) for name, toy in stage.world.toys.items() if any(unit for unit, _ in toy.units))
    stage.world.notices.append(FromRunner(name, frames.Events(first=toy.number, events=(), usage=usage)))
    stage.turn()
    assert any(isinstance(unit, frames.ProbeStore) for toy in stage.world.toys.values() for unit, _ in toy.units)

    def move(event):
        stage.jobstore.change("acme", stage.job().id, lambda job: advance(job, event, now_ms=stage.clock.now_ms()))

    move(JobEvent.HELD)
    for toy in stage.world.toys.values():
        toy.stopping.add(stage.job().id)
    stage.settle(until=lambda job: job.status == "Paused")
    for toy in stage.world.toys.values():
        toy.stopping.clear()
    move(JobEvent.RELEASED)
    stage.world.server = "toys/2"
    assert stage.settle().status == "Complete"
    stage.jobstore.close()


def test_a_job_whose_role_was_taken_away_fails_before_any_task(tmp_path):
    stage = Stage(tmp_path, users=("somebody",))
    stage.jobstore.create(a_job(), unfinished_max=10)
    job = stage.settle()
    assert (job.status, job.failure.code, stage.world.effects) == ("Failed", "RoleNotAllowed", {})
    stage.jobstore.close()


@pytest.mark.parametrize(("weight", "places"), [(3.0, (4, 2)), (1.0, (3, 3)), (0.5, (2, 4)), (0.001, (1, 5))])
def test_accounts_share_the_runners_by_weight_whatever_their_jobs_priorities(tmp_path, weight, places):
    stage = Stage(tmp_path, World(rows=4_000, chunk_rows=10))
    [acme] = accounts()
    stage.directory.reload([replace(acme, weight=weight), replace(acme, name="beta", users=(replace(acme.users[0], keys=()),))])
    ours, theirs = a_job(priority=1), a_job(id="b" * 36, account="beta", token="b", priority=1_000)
    for job in (theirs, ours):
        stage.jobstore.create(job, unfinished_max=10)
    chance, seen = random.Random(5), Counter()
    for _ in range(150):
        stage.turn()
        for toy in list(stage.world.toys.values()):
            toy.step(chance)
            stage.world.notices.append(toy.speak())
        runs = stage.coordinator._runs
        if all(run.job.status == "Active" for run in runs.values()):
            seen[len(runs[ours.id].held), len(runs[theirs.id].held)] += 1
    assert seen.most_common(1)[0][0] == places
    stage.jobstore.close()


def test_a_brief_holds_the_accounts_own_limits_and_what_is_left_of_its_spool(stage):
    [account] = accounts()
    briefs = Briefs(
        stage.directory,
        {},
        Rights(Policies()),
        stage.world,
        stage.credentials,
        quotas=Quotas(tasks_per_job=100, spool_bytes=1_000),
    )
    stage.world.used = {"acme/": 400}.get
    preparing, active = a_job(status="Preparing"), a_job(status="Active")
    assert (briefs.brief(preparing).tasks_max, briefs.brief(preparing).spool_bytes_max) == (100, 600)
    assert briefs.brief(active).spool_bytes_max is None
    stage.directory.reload([replace(account, quotas=Quotas(tasks_per_job=7, spool_bytes=300), weight=2.5)])
    assert (briefs.brief(preparing).tasks_max, briefs.brief(preparing).spool_bytes_max) == (7, 0)
    assert (briefs.weight("acme"), briefs.weight("nobody")) == (2.5, 1.0)


@pytest.mark.parametrize(
    ("user", "role"),
    [({}, None), (None, {}), ({"disabled": True}, {}), ({"policy": "viewer"}, {}), ({}, {"users": ()})],
    ids=["role gone", "creator gone", "creator disabled", "policy without PassRole", "role of others"],
)
def test_a_job_at_work_ends_within_a_minute_when_its_role_or_its_creators_right_to_it_is_gone(stage, user, role):
    stage.jobstore.create(a_job(), unfinished_max=10)
    stage.settle(until=lambda job: job.executed > 0)
    account = accounts()[0]
    users = () if user is None else (replace(account.users[0], **user),)
    roles = () if role is None else (replace(account.roles[0], **role),)
    stage.directory.reload([replace(account, users=users, roles=roles)])
    effects, since = dict(stage.world.effects), stage.clock.seconds
    while stage.job().status == "Active":  # the runners are silent: no chunk ends, so none is handed out
        stage.turn()
        assert stage.clock.seconds < since + 60
    assert (stage.job().status, stage.job().failure.code) == ("Failing", "RoleNotAllowed")
    assert stage.world.effects == effects
    assert stage.settle().status == "Failed"


@pytest.mark.parametrize(
    ("dialect", "rows", "status"), [("cos", 1_000, "Complete"), ("cos", 1_100, "Failed"), ("s3control", 1_000, "Failed")]
)
def test_how_many_tasks_must_have_ended_before_failures_end_the_job_is_the_dialects_to_say(tmp_path, dialect, rows, status):
    world = World(rows=rows, chunk_rows=100)
    world.bad_rows = set(range(rows))
    stage = Stage(tmp_path, world)
    stage.jobstore.create(with_report(dialect=dialect), unfinished_max=10)
    assert stage.settle(turns=5_000).status == status
    stage.jobstore.close()


def test_a_job_that_was_paused_before_it_began_tells_of_untried_stores_too(tmp_path):
    stage = Stage(tmp_path, stores=[msgspec.structs.replace(STORE, probe="off")])
    stage.jobstore.create(a_job(), unfinished_max=10)
    stage.world.verdict = "lying"
    stage.settle(until=lambda job: job.status == "Ready")
    stage.jobstore.change("acme", a_job().id, lambda job: msgspec.structs.replace(job, status="Paused", paused_by="priority"))
    assert stage.settle().status == "Complete"
    assert [event.kind for event in stage.jobstore.events(a_job().id)].count("unproven") == 1
    stage.jobstore.close()


def test_more_than_half_failed_of_a_thousand_fails_the_job(tmp_path):
    world = World(rows=3_000, chunk_rows=100)
    world.bad_rows = set(range(0, 3_000, 5)) | set(range(1, 3_000, 5)) | set(range(2, 3_000, 5))
    stage = Stage(tmp_path, world)
    stage.jobstore.create(with_report(), unfinished_max=10)
    job = stage.settle(turns=5_000)
    assert (job.status, job.failure.code) == ("Failed", "FailureThresholdExceeded")
    assert 1_000 <= job.executed < 3_000
    assert stage.jobstore.failures(job.id) == list(no_such_key(job.failed))
    assert len(stage.world.reports[0]) == job.executed
    stage.jobstore.close()


def test_a_higher_priority_pauses_the_lower_job_which_goes_on_by_itself(stage):
    low = a_job(id="1" * 36, token="low", priority=1)
    stage.jobstore.create(low, unfinished_max=10)
    chance = random.Random(3)
    for _ in range(6):
        stage.turn()
        for toy in list(stage.world.toys.values()):
            toy.step(chance)
            stage.world.notices.append(toy.speak())
    stage.jobstore.create(a_job(token="high", priority=9), unfinished_max=10)
    seen = set()
    for _ in range(300):
        stage.turn()
        seen.add((stage.job(low.id).status, stage.job().status))
        for toy in list(stage.world.toys.values()):
            toy.step(chance)
            stage.world.notices.append(toy.speak())
        if stage.job(low.id).status == "Complete":
            break
    assert ("Paused", "Active") in seen
    assert (stage.job().status, stage.job(low.id).status) == ("Complete", "Complete")
    assert stage.job(low.id).succeeded == 40


def test_runners_that_die_again_and_again_do_not_fail_a_job_that_makes_progress(tmp_path):
    stage = Stage(tmp_path, World(rows=800, chunk_rows=100))
    stage.jobstore.create(with_report(), unfinished_max=10)
    chance = random.Random(5)
    kills = 0
    for turn in range(2_000):
        stage.turn()
        if stage.job().status in TERMINAL:
            break
        for toy in list(stage.world.toys.values()):
            toy.step(chance)
            stage.world.notices.append(toy.speak())
        if turn % 3 == 2:
            kills += 1
            stage.world.kill(sorted(stage.world.toys)[kills % 2])
    assert kills > 20
    assert (stage.job().status, stage.job().succeeded) == ("Complete", 800)
    stage.jobstore.close()


def test_a_slow_job_that_holds_all_places_does_not_starve_another(stage):
    slow, quick = a_job(id="1" * 36, token="slow"), a_job(id="2" * 36, token="quick")
    stage.jobstore.create(slow, unfinished_max=10)
    for _ in range(10):
        stage.turn()
        for toy in stage.world.toys.values():
            for unit, state in [pair for pair in toy.units if isinstance(pair[0], frames.PrepareJob)]:
                stage.world.do(toy, unit, state, random.Random(1))
                toy.units.remove((unit, state))
            stage.world.notices.append(toy.speak())
    stage.jobstore.create(quick, unfinished_max=10)
    for _ in range(60):
        stage.turn()
        for toy in stage.world.toys.values():
            for unit, state in list(toy.units):
                if unit.job == quick.id and stage.world.do(toy, unit, state, random.Random(1)):
                    toy.units.remove((unit, state))
            stage.world.notices.append(toy.speak())
    assert stage.job(quick.id).status == "Complete"
    assert stage.job(slow.id).status == "Active"


def test_nothing_new_goes_out_while_the_disk_is_short_of_room(stage):
    stage.world.short = "the disk is nearly full"
    stage.jobstore.create(a_job(), unfinished_max=10)
    for _ in range(5):
        stage.turn()
    assert not any(toy.units for toy in stage.world.toys.values())
    assert stage.coordinator.problem == "the disk is nearly full"
    stage.world.short = None
    assert stage.settle().status == "Complete"


def test_it_is_ready_from_its_first_turn_with_a_runner_until_it_stops(stage):
    assert stage.coordinator.problem == "starting"
    for name in list(stage.world.toys):
        stage.world.toys.pop(name)
    stage.world.notices.clear()
    stage.turn()
    assert stage.coordinator.problem == "no runner lives"
    stage.world.spawn()
    stage.turn()
    assert stage.coordinator.problem is None
    (name,) = stage.world.toys
    stage.world.notices.append(RunnerLost(name, "killed"))
    stage.turn()
    assert stage.coordinator.problem == "no runner lives"
    stage.coordinator.begin_stop()
    assert stage.coordinator.problem == "stopping"


def test_a_job_store_that_cannot_be_used_is_told_while_nothing_happens(stage):
    stage.turn()
    stage.jobstore.before = 1.0
    stage.clock.seconds += 5
    stage.turn()
    assert stage.coordinator.problem == "progress cannot be stored: disk on fire"
    stage.turn()
    assert stage.coordinator.problem == "progress cannot be stored: disk on fire"
    stage.jobstore.before = 0.0
    stage.clock.seconds += 5
    stage.turn()
    assert stage.coordinator.problem is None


@pytest.mark.parametrize(("stuck", "what"), [("receive", "its runners"), ("commit", "the job store")])
def test_a_call_that_does_not_return_is_told_with_what_it_waits_for(stage, monkeypatch, stuck, what):
    stage.turn()
    seen = []

    def hang(*_):
        seen.append(stage.coordinator.problem)
        stage.clock.seconds += 7
        seen.append(stage.coordinator.problem)
        return {} if stuck == "commit" else []

    monkeypatch.setattr(stage.world if stuck == "receive" else stage.jobstore, stuck, hang, raising=False)
    stage.clock.seconds += 4
    stage.turn()
    assert seen[0] is None
    assert seen[1].startswith(f"the coordinator has been waiting for {what} for 1")
    assert stage.coordinator.problem is None


def test_a_job_cancelled_while_the_job_store_is_down_still_gets_its_report(stage):
    stage.jobstore.create(with_report(), unfinished_max=10)
    chance = random.Random(3)
    stage.settle(until=lambda job: job.status == "Active")
    for toy in list(stage.world.toys.values()):
        toy.step(chance)
        stage.world.notices.append(toy.speak())
    stage.jobstore.before = 1.0
    job = stage.job()
    stage.jobstore.change("acme", job.id, lambda job: advance(job, JobEvent.CANCEL_REQUESTED, now_ms=stage.clock.now_ms()))
    for _ in range(3):
        stage.turn()
    stage.jobstore.before = 0.0
    job = stage.settle()
    assert job.status == "Cancelled"
    assert job.executed == len(stage.world.effects) > 0
    assert stage.world.reports == [sorted(stage.world.effects)]


def test_a_chunk_that_kills_every_runner_fails_its_job(stage):
    stage.jobstore.create(a_job(), unfinished_max=10)
    for _ in range(200):
        stage.turn()
        for name, toy in list(stage.world.toys.items()):
            if any(isinstance(unit, frames.RunChunk) for unit, _ in toy.units):
                stage.world.kill(name)
            else:
                toy.step(random.Random(1))
                stage.world.notices.append(toy.speak())
        if stage.job().status in TERMINAL:
            break
    assert (stage.job().status, stage.job().failure.code) == ("Failed", "InternalError")


def chunks_in_doubt(stage):
    """Rows that a new coordinator would take for sent ones, by chunk."""
    return {chunk.index: chunk.horizon for chunk in stage.jobstore.chunks(a_job().id) if not chunk.sealed and chunk.horizon}


@pytest.mark.parametrize("how", ["paused", "stopped"])
def test_a_clean_stop_leaves_no_row_in_doubt_that_was_never_sent(tmp_path, monkeypatch, how):
    stage = Stage(tmp_path, World(rows=400, chunk_rows=10))
    stage.jobstore.create(a_job(), unfinished_max=10)
    stage.settle(until=lambda job: job.executed > 0)
    assert len(chunks_in_doubt(stage)) > 2
    if how == "paused":
        stage.jobstore.change("acme", a_job().id, lambda job: advance(job, JobEvent.HELD, now_ms=stage.clock.now_ms()))
        stage.settle(until=lambda job: job.status == "Paused")
    else:
        monkeypatch.setattr(stage.world, "receive", stage.world.end)
        stage.coordinator.drain()
        monkeypatch.undo()
    for index, horizon in chunks_in_doubt(stage).items():
        rows = range(10 * index, 10 * index + horizon)
        assert all(row in stage.world.effects for row in rows), "what lies below the horizon was sent"
    stage.restart()
    if how == "paused":
        stage.jobstore.change("acme", a_job().id, lambda job: advance(job, JobEvent.RELEASED, now_ms=stage.clock.now_ms()))
    assert stage.settle(turns=2_000).succeeded == 400
    stage.jobstore.close()


@pytest.mark.parametrize("seed", range(60))
def test_crashes_of_runners_and_coordinator_cost_no_row_and_double_none(tmp_path, seed):
    print(f"seed {seed}")
    chance = random.Random(seed)
    stage = Stage(tmp_path, World(rows=chance.randint(1, 90), chunk_rows=chance.randint(1, 20)))
    stage.jobstore.chance = chance
    if seed % 2:
        stage.jobstore.before, stage.jobstore.after = 0.05, 0.05
    stage.world.bad_rows = {row for row in range(stage.world.rows) if chance.random() < 0.2}
    stage.jobstore.create(with_report(), unfinished_max=10)
    crashes = 0
    dead: list[Toy] = []
    counted = 0
    for _ in range(3_000):
        stage.turn()
        job = stage.job()
        assert counted <= job.executed <= stage.world.rows
        counted = job.executed
        if job.status in TERMINAL:
            break
        fate = chance.random() if crashes < 8 else 1.0
        if fate < 0.03:
            crashes += 1
            if chance.random() < 0.5:  # its last words and its end come together
                victim = chance.choice(sorted(stage.world.toys))
                stage.world.toys[victim].step(chance)
                stage.world.notices.append(stage.world.toys[victim].speak())
            dead.append(stage.world.kill(chance.choice(sorted(stage.world.toys))))
        elif fate < 0.05:
            crashes += 1
            dead += stage.world.toys.values()
            stage.restart()
        if dead and chance.random() < 0.3:
            late = chance.choice(dead)  # a word of a runner that was given up
            late.step(chance)
            stage.world.notices.append(late.speak())
        for toy in list(stage.world.toys.values()):
            if chance.random() < 0.7:
                toy.step(chance)
            if chance.random() < 0.7:
                stage.world.notices.append(toy.speak())
    job = stage.job()
    rows = list(range(stage.world.rows))
    bad = len(stage.world.bad_rows)
    assert (job.status, job.succeeded, job.failed, job.total) == ("Complete", len(rows) - bad, bad, len(rows))
    assert job.failures == ({"NoSuchKey": bad} if bad else {})
    assert stage.jobstore.failures(job.id) == list(no_such_key(bad))
    assert stage.world.reports[-1] == rows
    sealed = sorted(row for chunk in stage.jobstore.chunks(job.id) for row in stage.world.files[chunk.sealed_name])
    assert sealed == rows
    stage.jobstore.close()


def with_assumed_role(stage):
    how = AssumedRole(arn="arn:aws:iam::1:role/x", endpoint="http://sts", caller=Credentials("a", "b"), region="us-east-1")
    (account,) = accounts()
    role = replace(account.roles[0], stores=("main",), assumed={"main": how})
    stage.directory.reload([replace(account, roles=(role,))])


def test_new_credentials_reach_every_runner_without_stopping_its_chunks(tmp_path):
    stage = Stage(tmp_path, World(rows=400))
    with_assumed_role(stage)
    stage.jobstore.create(a_job(), unfinished_max=10)
    told = []
    send = stage.world.send
    stage.world.send = lambda runner, frame: (told.append((runner, frame)), send(runner, frame))
    job = stage.settle(turns=4_000)
    assert (job.status, job.succeeded) == ("Complete", 400)
    given = [frame.jobs[0].access["main"].access_key for _, frame in told if isinstance(frame, frames.Submit)]
    assert given[0] == "K1"
    renewed = [frame.credentials.access_key for runner, frame in told if isinstance(frame, frames.Access) and runner == "toy-1"]
    assert renewed == [f"K{number + 1}" for number in range(len(stage.sts.asked))]
    lived = stage.clock.seconds
    assert lived / 36 - 1 <= len(stage.sts.asked) <= lived / 24 + 2, "once in half a life"
    assert "S" not in repr(told[0][1])
    stage.jobstore.close()


def test_a_role_that_sts_refuses_fails_the_job_within_a_minute_and_touches_no_task(stage):
    with_assumed_role(stage)
    stage.sts.error = StsRefused("AccessDenied", "not you")
    stage.jobstore.create(a_job(), unfinished_max=10)
    job = stage.settle()
    assert (job.status, job.failure.code) == ("Failed", "RoleNotAllowed")
    assert "AccessDenied: not you" in job.failure.reason
    assert len(stage.sts.asked) == 3
    assert stage.clock.seconds < 60
    assert not stage.world.effects


def test_a_role_that_is_refused_later_fails_the_job_too(tmp_path):
    stage = Stage(tmp_path, World(rows=4_000))
    with_assumed_role(stage)
    stage.jobstore.create(a_job(), unfinished_max=10)
    stage.settle(until=lambda job: job.executed > 0)
    stage.sts.error = StsRefused("AccessDenied", "no longer")
    since = stage.clock.seconds
    job = stage.settle(turns=4_000)
    assert (job.status, job.failure.code) == ("Failed", "RoleNotAllowed")
    assert stage.clock.seconds - since < 36 + 60
    assert job.executed == len(stage.world.effects)
    stage.jobstore.close()


def test_an_sts_that_is_away_holds_the_job_tells_why_and_no_other_job_waits(stage):
    with_assumed_role(stage)
    stage.sts.error = StsUnavailable("STS at http://sts does not answer")
    stage.jobstore.create(a_job(), unfinished_max=10)
    for _ in range(200):
        stage.turn()
    assert stage.job().status in ("New", "Preparing")
    told = [event.facts for event in stage.jobstore.events(a_job().id) if event.kind == "postponed"]
    assert told == [
        {"code": "CredentialsUnavailable", "reason": "role 'batch' has no credentials: STS at http://sts does not answer"}
    ]
    assert 3 < len(stage.sts.asked) < 20
    stage.sts.error = None
    assert stage.settle().status == "Complete"
    assert not stage.world.effects or set(stage.world.effects.values()) == {1}


def test_an_sts_that_goes_away_fails_nothing_while_the_job_runs(tmp_path):
    stage = Stage(tmp_path, World(rows=400))
    with_assumed_role(stage)
    stage.jobstore.create(a_job(), unfinished_max=10)
    stage.settle(until=lambda job: job.executed > 0)
    stage.sts.error = StsUnavailable("away")
    for _ in range(400):
        stage.turn()
    assert stage.job().status == "Active"
    stage.sts.error = None
    assert stage.settle(turns=4_000).succeeded == 400
    stage.jobstore.close()


# -- a store that is away


def tell(stage, toy, held):
    """A word of the runner about what it holds."""
    usage = {"main": Usage(in_flight=1, holds=1, per_second=0, full=False, paced=False)}
    stage.world.notices.append(FromRunner(toy.name, frames.Events(first=toy.number, events=(), usage=usage, held=held)))
    stage.turn()
    stage.turn()


def test_a_job_tells_that_its_store_is_away_once_and_that_it_goes_on_when_outcomes_come(stage):
    stage.jobstore.create(a_job(), unfinished_max=10)
    stage.settle(until=lambda job: 0 < job.executed < 40)
    toy = next(toy for toy in stage.world.toys.values() if toy.units)
    for reason in ("store 'main' does not answer: refused", "store 'main' does not answer: timed out"):
        tell(stage, toy, {a_job().id: reason})
        assert stage.job().waits.reason == "store 'main' does not answer: refused"
    since = stage.job().waits.since_ms
    stage.restart()
    stage.turn()
    assert stage.job().waits.since_ms == since, "silence after a restart proves nothing"
    job = stage.settle(until=lambda job: job.waits is None)
    assert job.executed > 0
    assert stage.settle().status == "Complete"
    kinds = [event.kind for event in stage.jobstore.events(a_job().id)]
    assert (kinds.count("waits"), kinds.count("goes_on")) == (1, 1)


def test_a_store_that_stays_away_for_a_day_ends_the_job_with_what_its_last_word_was(stage):
    stage.jobstore.create(a_job(), unfinished_max=10)
    stage.settle(until=lambda job: 0 < job.executed < 40)
    toy = next(toy for toy in stage.world.toys.values() if toy.units)
    tell(stage, toy, {a_job().id: "store 'main' does not answer: refused"})
    stage.clock.seconds += 23 * 3600
    tell(stage, toy, {a_job().id: "store 'main' does not answer: refused"})
    assert stage.job().status == "Active"
    stage.clock.seconds += 3600
    tell(stage, toy, {a_job().id: "store 'main' does not answer: timed out"})
    job = stage.settle()
    assert (job.status, job.failure.code, job.waits) == ("Failed", "StoreUnreachable", None)
    assert job.failure.reason == "store 'main' does not answer: timed out; so it was for 24 hours"


@pytest.mark.parametrize("refused", [False, True])
def test_what_an_sts_says_of_a_role_as_it_was_is_not_taken_for_what_it_has_become(refused):
    asked = []

    def assume(how, session):
        asked.append((how.arn, Future()))
        return asked[-1][1]

    clock = Clock()
    credentials = RoleCredentials(assume, clock, lambda: 0.5)
    wide, narrow = (
        AssumedRole(arn=arn, endpoint="http://sts", caller=Credentials("a", "b"), region="us-east-1")
        for arn in ("arn:wide", "arn:narrow")
    )
    role = accounts()[0].roles[0]
    for how in (wide, narrow):
        with pytest.raises(CredentialsAwaited):
            credentials.of(replace(role, assumed={"main": how}), "main")
        credentials.turn()
    old = asked[0][1]
    old.set_exception(StsRefused("AccessDenied", "not you")) if refused else old.set_result(
        Credentials("WIDE", "S", expires_ms=10**15)
    )
    assert credentials.turn() == []
    assert [arn for arn, _ in asked] == ["arn:wide", "arn:narrow"]
    asked[1][1].set_result(Credentials("NARROW", "S", expires_ms=10**15))
    assert [given.access_key for _, given in credentials.turn()] == ["NARROW"]
    assert credentials.of(replace(role, assumed={"main": narrow}), "main").access_key == "NARROW"
