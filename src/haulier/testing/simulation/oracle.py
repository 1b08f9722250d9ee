"""The promises, held against everything that passes between runners and store (decisions §3, reliability §1 to §4).

The oracle knows what no part of Haulier knows as a whole: what is committed, what each runner was given, what was sent, and what
the store has done. It asks nothing of the code it judges.
"""

from collections import defaultdict, deque
from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from haulier.core.chunk import LEASE_SECONDS, Attempt
from haulier.core.lifecycle import TERMINAL, JobStatus
from haulier.engine.frames import JobBrief, RunChunk, Submit, WriteReport
from haulier.engine.jobrun import SETTLE_LOSSES_MAX
from haulier.engine.runner import TICK_SECONDS
from haulier.testing.simulation.hub import Hub
from haulier.testing.simulation.ledger import StoredLedger, Violation
from haulier.testing.simulation.network import ModelStore, Sent, Watch
from haulier.testing.simulation.truth import JobTruth, Object, Row

TRACE_LINES: Final = 400
EDGE_SECONDS: Final = 1e-6
LOOKED_UP: Final = ("OutcomeUnknown", "ChangedSinceAttempt")
"""Codes of rows that may have been done all the same."""
_WORKS = frozenset({JobStatus.ACTIVE, JobStatus.PAUSING, JobStatus.CANCELLING, JobStatus.FAILING})
"""States in which a job's tasks may send requests that change objects."""


class Trace:
    """The last things that happened, for a reader."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._lines: deque[tuple[float, str, tuple[object, ...]]] = deque(maxlen=TRACE_LINES)
        self._digest = sha256()

    def add(self, text: str, *facts: object) -> None:
        """One line; `{}` stand for the facts."""
        self._lines.append((self._hub.now, text, facts))
        self._digest.update(b"%f%s" % (self._hub.now, text.encode()))

    @property
    def digest(self) -> str:
        """Of all lines, those that are not kept included."""
        return self._digest.hexdigest()[:16]

    def lines(self) -> list[str]:
        """All that is kept."""
        return [f"{at:9.3f}  {text.format(*facts)}" for at, text, facts in self._lines]


class Try:
    """A request that was to change a row's object."""

    __slots__ = ("attempt", "sent")

    def __init__(self, attempt: Attempt, sent: Sent) -> None:
        self.attempt = attempt
        self.sent = sent

    @property
    def refused(self) -> bool:
        """Whether its runner knows that it was not carried out."""
        status = self.sent.answered
        return not self.sent.left or status in (429, 503) or (status is not None and 400 <= status < 500)


class Oracle(Watch):
    """See above. Raises Violation from wherever it is told something that must not be."""

    def __init__(self, hub: Hub, ledger: StoredLedger, store: ModelStore, trace: Trace, in_flight_max: int) -> None:
        self._hub = hub
        self._ledger = ledger
        self._store = store
        self._in_flight_max = in_flight_max
        self.trace = trace
        self.jobs: dict[str, JobTruth] = {}
        """By id, once created."""
        self.tries: dict[tuple[str, int], list[Try]] = defaultdict(list)
        """By job and row."""
        self._by_object: dict[tuple[str, Object], JobTruth] = {}
        self._units: dict[tuple[str, str, int], RunChunk] = {}
        self._given_out: dict[tuple[str, int], int] = defaultdict(int)
        """How often each chunk was."""
        self._renewed: dict[str, float] = {}
        self._looked: dict[tuple[str, Object], float] = {}
        """When the store last told a runner what an object is."""
        self._foreign: dict[Object, tuple[float, str]] = {}
        """When somebody else wrote an object, and its ETag."""
        self.reports: dict[str, tuple[JobBrief, WriteReport]] = {}
        """The last unit that was to write a job's report."""

    # -- what it is told

    def created(self, job: JobTruth) -> None:
        """A job was accepted."""
        self.trace.add("job {} is accepted: {}", job.id[:8], job.plan)
        self.jobs[job.id] = job
        for changed in job.by_object:
            self._by_object[job.change, changed] = job

    def renewed(self, runner: str) -> None:
        """The runner's lease begins anew."""
        self._renewed[runner] = self._hub.now

    def submitted(self, runner: str, frame: Submit) -> None:
        """The runner takes units."""
        for unit in frame.units:
            self.trace.add("{} takes {} {} of job {}", runner, type(unit).__name__, unit.attempt, unit.job[:8])
            if isinstance(unit, RunChunk):
                self._units[runner, unit.job, unit.chunk.index] = unit
                self._given_out[unit.job, unit.chunk.index] += 1
            elif isinstance(unit, WriteReport):
                self.reports[unit.job] = frame.jobs[0], unit

    def speaks(self, runner: str) -> None:
        """The runner shows that it lives."""
        since = self._hub.now - self._renewed[runner]
        if since > LEASE_SECONDS + 2 * TICK_SECONDS:
            raise Violation(f"{runner} lives on {since:.2f} s after its lease was renewed")

    def wrote(self, foreign: Object, etag: str) -> None:
        """Somebody else has written an object."""
        self.trace.add("somebody writes {}", foreign)
        self._foreign[foreign] = self._hub.now, etag

    # -- what passes

    def sending(self, sent: Sent) -> None:
        """See `Watch`."""
        self.trace.add("{} sends {} {}", sent.runner, sent.seen.method, sent.seen.target)
        since = self._hub.now - self._renewed[sent.runner]
        if since > LEASE_SECONDS + EDGE_SECONDS:
            raise Violation(f"{sent.runner} sends a request {since:.2f} s after its lease was renewed")
        in_flight = len(self._store.under_way) + 1
        if in_flight > self._in_flight_max:
            raise Violation(f"{in_flight} requests are in flight, {self._in_flight_max} are allowed")
        if sent.what == "task":
            job = self._by_object.get((sent.change or "", (sent.bucket, sent.keys[0][0])))
            if job is None:
                raise Violation(f"a request to {sent.change} {sent.bucket} {sent.keys[:3]}, which no job is about")
            for key, version in sent.keys:
                self._judge(job, job.by_object[sent.bucket, key], version, sent)

    def _judge(self, job: JobTruth, rows: list[Row], version: bytes | None, sent: Sent) -> None:
        """Whether one of the rows may be tried now."""
        stored = self._ledger.jobs.get(job.id)
        if stored is None or stored.status not in _WORKS:
            raise Violation(f"job {job.id} is {stored and stored.status}, and {sent.seen.target} is sent")
        problems = []
        for row in rows:
            if row.version != version:
                continue
            problem = self._problem(job, row, sent)
            if problem is None:
                unit = self._unit(job, row, sent.runner)
                self.tries[job.id, row.number].append(Try(unit.attempt, sent))
                return
            problems.append(problem)
        raise Violation("; ".join(problems) or f"{sent.seen.target} names another version than any row of job {job.id}")

    def _unit(self, job: JobTruth, row: Row, runner: str) -> RunChunk:
        chunk = self._ledger.chunk_at(job.id, row.number)
        unit = self._units.get((runner, job.id, chunk.index))
        if unit is None:
            raise Violation(
                f"{runner} sends a request for row {row.number} of job {job.id}, but was never given chunk {chunk.index}"
            )
        return unit

    def _problem(self, job: JobTruth, row: Row, sent: Sent) -> str | None:
        """Why this row may not be tried now; None = it may."""
        name = f"row {row.number} of job {job.id[:8]}"
        chunk = self._ledger.chunk_at(job.id, row.number)
        position = row.number - chunk.first_row
        unit = self._unit(job, row, sent.runner)
        if row.number in self._ledger.outcomes.get((job.id, chunk.index), ()):
            return f"{name} has its outcome and is tried again"
        if position >= chunk.horizon:
            return f"{name} is tried above the committed horizon ({position} of {chunk.horizon})"
        if unit.settle:
            return f"{name} is only to be looked at"
        before = self.tries[job.id, row.number]
        if any(each.attempt == unit.attempt and each.sent.answered is None for each in before):
            return f"{name} is tried twice at the same time"
        if any(each.attempt != unit.attempt for each in before) and position >= unit.doubt_below:
            return f"{name} was tried by an earlier attempt and is not in doubt"
        unsure = [each for each in before if not each.refused]
        if not unsure or job.change == "tag" or row.version is not None:
            return None
        if sent.batch:
            return f"{name} may have been deleted already and is deleted in a batch"
        if self._looked.get((sent.runner, job.changed(row)), -1.0) < unsure[-1].sent.at:
            return f"{name} is tried again without a look at its object"
        return None

    def carrying_out(self, sent: Sent) -> None:
        """See `Watch`."""
        if sent.looked:
            self._looked[sent.runner, (sent.bucket, sent.keys[0][0])] = self._hub.now
        if sent.change in ("delete", "copy") and sent.what == "task":
            for key, version in sent.keys:
                if version is None and (sent.bucket, key) in self._foreign:
                    self._check_foreign((sent.bucket, key), sent)

    def _check_foreign(self, object_: Object, sent: Sent) -> None:
        """What somebody has written since a row was first tried is left alone, unless it came after the look that told so."""
        at, etag = self._foreign[object_]
        held = self._store.objects.buckets[object_[0]].get(object_[1])
        if not held or held[-1].etag != etag:
            return
        job = self._by_object[sent.change or "", object_]
        rows = job.by_object[object_]
        if len(rows) > 1:
            return  # each of them may do it once
        first = self.tries[job.id, rows[0].number][0].sent
        looked = self._looked.get((sent.runner, object_), -1.0)
        if first is not sent and first.at < at < sent.at and looked > at:
            raise Violation(
                f"{sent.seen.method} {sent.seen.target} destroys what somebody wrote at {at:.3f}: first tried at {first.at:.3f},"
                f" looked at {looked:.3f}, sent at {sent.at:.3f}"
            )

    def carried_out(self, sent: Sent) -> None:
        """See `Watch`."""
        if sent.effects and sent.change is not None:
            self.trace.add("the store did {} {}", sent.seen.method, sent.seen.target)

    def came_back(self, sent: Sent) -> None:
        """See `Watch`."""
        self.trace.add("{} gets {} for {} {}", sent.runner, sent.answered, sent.seen.method, sent.seen.target)

    # -- at the end

    def check_end(self, job: JobTruth) -> None:
        """The job has ended: its outcomes are the truth. Raises Violation."""
        stored = self._ledger.jobs[job.id]
        assert stored.status in TERMINAL
        outcomes = self._ledger.outcomes_of(job.id)
        if stored.status == JobStatus.COMPLETE and outcomes.keys() != set(range(len(job.rows))):
            raise Violation(f"job {job.id} is Complete with {len(outcomes)} outcomes of {len(job.rows)} rows")
        for row in job.rows:
            self._check_outcome(job, row, outcomes)

    def _check_outcome(self, job: JobTruth, row: Row, outcomes: Mapping[int, tuple[str | None, bool]]) -> None:
        alike = job.by_object[job.changed(row)]
        tries = [each for twin in alike for each in self.tries[job.id, twin.number]]
        done = [each for each in tries if self._has_done(job, row, each.sent)]
        outcome = outcomes.get(row.number)
        name = f"row {row.number} of job {job.id} ({job.plan.kind})"
        if outcome is None:
            if self._known_done(done) and not self._given_up(job, row) and not any(twin.number in outcomes for twin in alike):
                raise Violation(f"{name} was done, and its job ended without an outcome for it")
            return
        code, in_doubt = outcome
        if code is None and not done and not self._is_gone(job, row):
            raise Violation(f"{name} was reported as succeeded and never done")
        if code is not None and code not in LOOKED_UP and not row.missing:
            raise Violation(f"{name} has an object, which nothing is wrong with, and has failed with {code}")
        if code is not None and code not in LOOKED_UP and self._known_done(done):
            raise Violation(f"{name} was done, and reported as failed with {code}")
        if len(alike) == 1 and len({each.attempt for each in tries}) > 1 and not in_doubt:
            raise Violation(f"{name} was tried by several attempts, and its outcome is not marked as in doubt")

    def _given_up(self, job: JobTruth, row: Row) -> bool:
        """Whether so many runners may have died over the row's chunk that it was looked at no more: its job would never end."""
        return self._given_out[job.id, self._ledger.chunk_at(job.id, row.number).index] >= SETTLE_LOSSES_MAX

    @staticmethod
    def _known_done(done: list[Try]) -> bool:
        """Whether the store has told a runner so."""
        return any(each.sent.answered in (200, 204) for each in done)

    @staticmethod
    def _has_done(job: JobTruth, row: Row, sent: Sent) -> bool:
        bucket, key = job.changed(row)
        return any(effect == (job.change, bucket, key) for _, effect in sent.effects)

    def _is_gone(self, job: JobTruth, row: Row) -> bool:
        """Whether a delete had nothing to do."""
        return job.change == "delete" and (row.missing or len(job.by_object[job.changed(row)]) > 1)
