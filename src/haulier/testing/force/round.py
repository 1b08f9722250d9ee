"""One seed: two jobs on a real server and a real store, through everything that the plan has for them, and the verdict."""

import contextlib
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from botocore.exceptions import ClientError

from haulier.testing.force.dying import LISTS, SCRATCH, place_left, purpose, write_hook, write_place
from haulier.testing.force.effectlog import EffectLog
from haulier.testing.force.entry import Entry, Trap
from haulier.testing.force.ledger import RealLedger
from haulier.testing.force.plan import Moment, Plan
from haulier.testing.force.users import Users
from haulier.testing.force.verdict import SAMPLES, Tally, Verdict, gather
from haulier.testing.force.work import COPIES, DATA, VERSIONS, Work
from haulier.testing.jobs import read_report, save_report
from haulier.testing.server import HaulierServer, ServerDidNotStart
from haulier.testing.simulation import crashpoints
from haulier.testing.stores import SeaweedFS
from haulier.upkeep.examine import examine

TURN_SECONDS: Final = 0.03
LOOK_SECONDS: Final = 0.3
"""How often the database is looked at."""
ASK_SECONDS: Final = 0.1
"""How often the API is asked."""
END_SECONDS_MAX: Final = 200.0
"""A job that has not ended by then never will: more than any time-out that would set it going again."""
OLD_SECONDS: Final = 2.2
"""So long before a job objects must have been written: a second of doubt, and times to the second."""
STARTS_MAX: Final = 5
TRAPPED: Final = ("sent", "carried out")
"""Stages of a request at which the proxy lets a process die."""


class Result(msgspec.Struct, kw_only=True):
    """What came of a seed."""

    plan: Plan
    problems: list[str]
    notes: list[str]
    """On rows that ended as OutcomeUnknown."""
    tally: Tally
    crashes: list[str]
    """What died or froze, in order."""
    place_hit: bool
    statuses: list[str]
    seconds: float


def prepare_store(store: SeaweedFS) -> None:
    """Make the buckets that all rounds use."""
    s3 = store.client()
    for bucket in (DATA, COPIES, VERSIONS, LISTS, SCRATCH):
        s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=VERSIONS, VersioningConfiguration={"Status": "Enabled"})


def run_round(
    store: SeaweedFS,
    plan: Plan,
    say: Callable[[str], None] = lambda _: None,
    *,
    keep: Path | None = None,
    sabotage: str = "",
) -> Result:
    """Run it. The store must have been prepared, and lives when it returns. `keep`: a new folder for the server's data and log,
    which stays. `sabotage`: see `write_hook`."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="haulier-force-") as folder:
        one = Round(store, plan, keep or Path(folder), say, sabotage)
        with one.log:
            try:
                one.run()
            finally:
                one.close()
        return Result(
            plan=plan,
            problems=one.problems,
            notes=one.notes,
            tally=one.tally,
            crashes=one.crashes,
            place_hit=one.place_hit,
            statuses=one.statuses,
            seconds=round(time.monotonic() - began, 1),
        )


class Round:
    """See `run_round`."""

    def __init__(self, store: SeaweedFS, plan: Plan, folder: Path, say: Callable[[str], None], sabotage: str) -> None:
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.tally = Tally()
        self.crashes: list[str] = []
        self.statuses: list[str] = []
        self.place_hit = False
        self._store = store
        self._plan = plan
        self._folder = folder
        self._say = say
        self.log = EffectLog(store.endpoint, processes=self._processes)
        settings = store.settings(in_flight_max=plan.in_flight_max, scratch_bucket=SCRATCH, endpoint=self.log.endpoint)
        environment = write_hook(folder, plan.sizes, sabotage)
        self._server = HaulierServer(settings, folder=folder / "server", environment=environment)
        self._works = [
            Work(store, job, f"{plan.seed}-{number}-{time.monotonic_ns() % 1_000_000_000}")
            for number, job in enumerate(plan.jobs)
        ]
        self._users = Users(self._server, self._works, say)
        self._ledger = RealLedger(self._server.data_dir)
        self._runners: list[int] = []
        self._frozen: list[tuple[float, int]] = []
        """Until when, and which process."""
        self._asked_at = self._looked_at = self._begun = 0.0
        self._store_back_at: float | None = None
        self._counted = self._sent = 0
        self._chance = random.Random(f"round {plan.seed}")

    # -- the whole of it

    def run(self) -> None:
        """Prepare, go through the troubles, wait for the end, judge."""
        for work in self._works:
            work.prepare()
        old_at = time.monotonic() + OLD_SECONDS
        self._set_trap()
        self.log.cut(f"cuts {self._plan.seed}", self._plan.cut_share)
        self._bring_up()
        time.sleep(max(0.0, old_at - time.monotonic()))
        for work in self._works:
            self._users.create(work, lambda: self._look_after(time.monotonic()))
        self._begun = time.monotonic()
        moments = list(self._plan.moments)
        until = self._begun + END_SECONDS_MAX
        while True:
            now = time.monotonic()
            while moments and moments[0].at <= self._progress():
                self._happen(moments.pop(0))
            self._look_after(now)
            if self._users.all_ended():
                break
            if now > until:
                for work in self._works:
                    self.problems.append(f"job {work.id} ({work.plan.kind}) does not end: {self._users.said.get(work.id)}")
                return
            time.sleep(TURN_SECONDS)
        self.place_hit = self.place_hit or (
            self._plan.place is not None and not self._needs_trap and not place_left(self._folder)
        )
        self._judge()

    def close(self) -> None:
        """End what was started, but for the store."""
        for _, pid in self._frozen:
            _signal(pid, signal.SIGCONT)
        if not self._store.running:
            self._store.restart()
        self._server.stop()

    def _progress(self) -> float:
        """The share of all rows that have been sent."""
        entries = self.log.entries
        for number in range(self._counted, len(entries)):
            for work in self._works:
                self._sent += sum(1 for _ in work.rows_of(entries[number]))
        self._counted = len(entries)
        return self._sent / sum(len(work.rows) for work in self._works)

    # -- troubles

    @property
    def _needs_trap(self) -> bool:
        assert self._plan.place is not None
        return self._plan.place.name.rpartition(": ")[2] in TRAPPED and self._plan.place.name not in crashpoints.SERVER

    def _set_trap(self) -> None:
        place = self._plan.place
        if place is None:
            return
        if not self._needs_trap:
            write_place(self._folder, place)
            return
        what, _, stage = place.name.rpartition(": ")

        def fits(entry: Entry) -> bool:
            return purpose(entry.method, entry.bucket, entry.key.decode("latin-1"), entry.query) == what

        assert stage in TRAPPED
        self.log.trap = Trap(fits, place.passing, "sent" if stage == "sent" else "carried out", self._trapped)

    def _trapped(self, entry: Entry) -> None:
        """On the proxy's thread: whoever sent the request, or its server, or the store dies now."""
        self.place_hit = True
        victim = {"runner": entry.pid, "server": self._server.pid, "store": self._store.pid}[self._plan.victim]
        self.crashes.append(f"{self._plan.victim} at {self._plan.place.name if self._plan.place else ''}")
        if victim:
            _signal(victim, signal.SIGKILL)

    def _happen(self, moment: Moment) -> None:
        what, now = moment.what, time.monotonic()
        if what == "pause":
            self._users.pause(self._chance.choice(self._works), now, moment.seconds)
            return
        if what == "cancel":
            self._users.cancel(self._chance.choice(self._works), now)
            return
        if what == "kill store":
            if not self._store.running:
                return
            self._store.kill()
            self._store_back_at = now + moment.seconds
        else:
            if not self._server.running:
                return
            self._runners = self._server.runner_pids() or self._runners
            pid = self._server.pid if what.endswith("server") else self._chance.choice(self._runners or [0])
            if not pid:
                return
            if what.startswith("freeze"):
                _signal(pid, signal.SIGSTOP)
                self._frozen.append((now + moment.seconds, pid))
            else:
                _signal(pid, signal.SIGKILL)
        self.crashes.append(f"{what} at {now - self._begun:.1f} s" + (f" for {moment.seconds:.1f} s" if moment.seconds else ""))
        self._say(self.crashes[-1])

    def _look_after(self, now: float) -> None:
        """Bring back what is down, wake what is frozen, ask and look."""
        for frozen in [each for each in self._frozen if each[0] <= now]:
            _signal(frozen[1], signal.SIGCONT)
            self._frozen.remove(frozen)
        if self._store_back_at is None and not self._store.running:
            self._store_back_at = now + 1.0
        if self._store_back_at is not None and now >= self._store_back_at:
            self._store.restart()
            self._store_back_at = None
        if not self._server.running:
            self._say("the server is dead")
            self._between_lives()
            self._bring_up()
            return
        self._runners = self._server.runner_pids() or self._runners
        if now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            self._look_at_ledger()
        if now - self._asked_at >= ASK_SECONDS and not any(pid == self._server.pid for _, pid in self._frozen):
            self._asked_at = now
            self._users.turn(now)

    def _between_lives(self) -> None:
        """The server is dead: nothing of it lives, and somebody may write what was under way."""
        end = time.monotonic() + 5.0
        while any(_lives(pid) for pid in self._runners):
            if time.monotonic() > end:
                self.problems.append("runners outlive their server")
                return
            time.sleep(0.01)
        if not self.log.drained():
            return
        self._look_at_ledger(dead=True)
        if self._plan.foreign_share and self._store.running:
            for work in self._works:
                if work.may_be_rewritten and work.id:
                    tried = gather(work, self.log.entries).tries
                    rows = [row for row in work.rows if row.number in tried]
                    chosen = self._chance.sample(rows, round(len(rows) * self._plan.foreign_share))
                    work.write_as_somebody(chosen)

    def _bring_up(self) -> None:
        """Start the server, however often it dies at a place on the way."""
        for number in range(STARTS_MAX):
            try:
                self._server.restart()
            except ServerDidNotStart:
                if number == STARTS_MAX - 1:
                    raise
            else:
                return

    def _processes(self) -> list[int]:
        return [*self._server.runner_pids(), *self._runners]

    # -- judging

    def _look_at_ledger(self, *, dead: bool = False) -> None:
        sent = [entry for entry in self.log.entries if entry.changes]
        if dead:
            self._ledger.look_at_dead()
        else:
            self._ledger.look()
        for work in self._works:
            if work.id and work.id in self._ledger.stored.jobs:
                rows = {row.number for entry in sent for row in work.rows_of(entry)} if dead else set()
                early = self._ledger.sent_too_early(work.id, rows)
                if early:
                    self.problems.append(
                        f"job {work.id} ({work.plan.kind}): rows {early[:5]} ({len(early)}) were sent, lie above the committed"
                        " horizon and have no outcome: after this crash nobody knows of them"
                    )

    def _judge(self) -> None:
        if not self._store.running:
            self._store.restart()
            self._store_back_at = None
        self.log.drained()
        self._look_at_ledger()
        control = self._server.s3control()
        s3 = self._store.client()
        for work in self._works:
            job: dict[str, Any] = control.describe_job(JobId=work.id)["Job"]
            self.statuses.append(job["Status"])
            if job["Status"] != self._users.expected_end(work, job["Status"]):
                self.problems.append(f"job {work.id} ({work.plan.kind}) is {job['Status']}: {job.get('FailureReasons')}")
            report = None
            with contextlib.suppress(ClientError):
                report = read_report(s3, LISTS, "reports", work.id)
                self._examine(s3, work)
            verdict = Verdict(work, job, report, gather(work, self.log.entries), self._ledger.outcomes(work.id))
            self.problems += verdict.problems
            self.notes += verdict.notes
            self.tally.add(verdict.tally)
        self.problems += self._ledger.problems + self._users.problems

    def _examine(self, s3: Any, work: Work) -> None:
        """What `haulier doctor` has to say of the job and its report."""
        copy = self._folder / f"report-{work.id}"
        save_report(s3, LISTS, "reports", work.id, copy)
        found = examine(self._server.data_dir, work.id, now_ms=time.time_ns() // 1_000_000, spool_retention_days=1, report=copy)
        assert found is not None
        self.problems += [f"{work.plan.kind} {work.id[:8]}: doctor: {finding}" for finding in found.findings[:SAMPLES]]


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
