from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haulier.core.chunk import FIRST_HORIZON, Attempt, Chunk
from haulier.core.effects import Stopped
from haulier.core.errors import StoreError
from haulier.core.task import Outcome
from haulier.engine.chunkrun import MISSING_VERSION, ChunkRun, Rows
from haulier.engine.frames import RunChunk


class HandDriver:
    """Runs what was started only when told to, in the order the test wants."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Any, Any]] = []

    def __del__(self) -> None:
        for coroutine, _ in self.waiting:
            coroutine.close()

    def start(self, coroutine, done):
        self.waiting.append((coroutine, done))
        return self.waiting[-1]

    def wind_down(self, started):
        """Requests under way end; the operations of these tests send one each."""

    def cut(self, index: int = 0) -> None:
        """As if the coroutine had slept when it was wound down."""
        coroutine, done = self.waiting.pop(index)
        coroutine.close()
        done(None, Stopped())

    def answer(self, index: int = 0) -> None:
        coroutine, done = self.waiting.pop(index)
        try:
            coroutine.send(None)
        except StopIteration as ended:
            done(ended.value, None)
        except Exception as error:
            done(None, error)
        else:
            raise AssertionError("the operation of these tests awaits nothing")

    def answer_all(self) -> None:
        while self.waiting:
            self.answer()


class AnyRoom:
    store: Any = None
    away: str | None = None

    def held(self):
        return self.away

    def __init__(self, most: int = 1_000_000) -> None:
        self.most, self.running, self.highest = most, 0, 0

    def room(self):
        return self.most - self.running

    def acquired(self):
        self.running += 1
        self.highest = max(self.highest, self.running)

    def released(self):
        self.running -= 1


class Paper:
    """Remembers what would be written."""

    def __init__(self) -> None:
        self.segments, self.sealed, self.returned, self.lies = [], None, None, []

    def lied(self, unit, store, seen):
        self.lies.append((store, seen))

    def segment(self, unit, sequence, outcomes, horizon):
        self.segments.append((sequence, list(outcomes.rows), horizon))

    def seal(self, unit, outcomes):
        assert self.sealed is None
        self.sealed = outcomes

    def give_back(self, unit, horizon, *, settled=False):
        assert self.returned is None
        self.returned, self.settled = horizon, settled


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def monotonic(self):
        return self.time

    def now_ms(self):
        return int(self.time * 1000)


class One:
    """An operation on one object at a time."""

    batch_rows = 1

    def __init__(self) -> None:
        self.tasks = []

    async def apply(self, task, store):
        self.tasks.append(task)
        if task.key.startswith(b"missing"):
            raise StoreError(404, "NoSuchKey", "no such key")
        if task.key.startswith(b"bug"):
            raise ZeroDivisionError
        return Outcome(200)


class Batch(One):
    batch_rows = 10

    def __init__(self) -> None:
        super().__init__()
        self.batches = []

    async def apply_batch(self, tasks, store):
        self.batches.append(tasks)
        return [Outcome(204) for _ in tasks]


class Bench:
    """A chunk on a bench: everything around it is the test's."""

    def __init__(
        self, keys, operation=None, *, kind=ChunkRun, done=(), lane=None, versions=None, buckets=None, marks=None, **unit
    ) -> None:
        self.driver, self.paper, self.clock = HandDriver(), Paper(), Clock()
        self.operation = operation or One()
        self.lane = lane or AnyRoom()
        chunk = Chunk(
            job="j", index=0, first_row=100, rows=len(keys), name="acme/j/chunks/0.arrow",
            opened_ms=5, first_opened_ms=5, horizon=unit.pop("horizon", FIRST_HORIZON),
        )  # fmt: skip
        work = RunChunk(attempt=Attempt(1, 1), job="j", chunk=chunk, segments=(), doubt_below=unit.pop("doubt_below", 0), **unit)
        empty = [None] * len(keys)
        rows = Rows(buckets or ["b"] * len(keys), keys, versions or empty, empty, empty, marks)
        self.run = kind(
            work, rows, list(done), self.operation, dict.fromkeys(rows.buckets, self.lane),
            driver=self.driver, writer=self.paper, clock=self.clock,
        )  # fmt: skip

    def finish(self):
        while not self.run.finished:
            self.run.fill(100)
            self.driver.answer_all()

    def rows_sealed(self):
        return sorted(self.paper.sealed.rows)


def keys(count):
    return [b"key-%05d" % n for n in range(count)]


def test_every_row_is_run_once_and_the_chunk_is_sealed():
    bench = Bench(keys(7))
    assert bench.run.fill(100) == 7
    bench.driver.answer_all()
    assert bench.rows_sealed() == list(range(100, 107))
    assert bench.run.finished
    assert bench.lane.running == 0


def test_a_row_that_an_earlier_job_may_have_done_is_in_doubt_since_then_and_rides_in_no_batch():
    bench = Bench(keys(6), Batch(), marks=[None, None, 3, None, 1, None], doubt_below=1)
    bench.finish()
    alone = {task.key: task.first_attempt_ms for task in bench.operation.tasks}
    assert alone == {keys(6)[0]: 5, keys(6)[2]: 3, keys(6)[4]: 1}
    assert sorted(task.key for batch in bench.operation.batches for task in batch) == [keys(6)[n] for n in (1, 3, 5)]
    sealed = bench.paper.sealed
    doubt = dict(zip(sealed.rows, sealed.in_doubt, strict=True))
    assert [row for row in sorted(doubt) if doubt[row]] == [100, 102, 104]


def test_rows_behind_many_that_are_done_are_started_too():
    # One slow row among many: the chunk was paused, and the horizon lowered to what is in doubt.
    rows = 4 * FIRST_HORIZON
    bench = Bench(keys(rows), done=[*range(1, rows - 1)], horizon=1)
    bench.run.fill(100)
    bench.driver.answer()
    bench.run.flush()
    (_, _, horizon) = bench.paper.segments[0]
    assert horizon == rows
    bench.run.granted(horizon)
    assert bench.run.fill(100) == 1
    bench.driver.answer()
    assert bench.rows_sealed() == [100, 100 + rows - 1]


def test_no_more_is_started_than_there_is_room_for():
    bench = Bench(keys(50), lane=AnyRoom(most=8))
    assert bench.run.fill(5) == 5
    assert bench.run.fill(100) == 3
    bench.driver.answer()
    assert bench.run.fill(100) == 1


def test_rows_with_a_committed_outcome_are_not_run_again():
    bench = Bench(keys(5), done=[0, 3])
    bench.run.fill(100)
    bench.driver.answer_all()
    assert [task.row for task in bench.operation.tasks] == [101, 102, 104]
    assert bench.rows_sealed() == [101, 102, 104]


def test_no_row_at_or_above_the_committed_horizon_is_started():
    bench = Bench(keys(FIRST_HORIZON + 20))
    assert bench.run.fill(10**9) == FIRST_HORIZON
    assert bench.run.fill(10**9) == 0
    bench.run.granted(FIRST_HORIZON + 10)
    assert bench.run.fill(10**9) == 10


def test_a_flush_asks_for_a_horizon_beyond_what_was_started():
    bench = Bench(keys(20_000))
    bench.run.fill(5_000)
    for _ in range(5_000):
        bench.driver.answer()
    (_, rows, horizon) = bench.paper.segments[0]
    assert (len(rows), bench.paper.segments[0][0]) == (5_000, 0)
    assert horizon > 5_000


def test_a_failure_is_an_outcome_and_a_bug_is_a_failure_not_a_hang():
    bench = Bench([b"a", b"missing", b"bug"])
    bench.run.fill(100)
    bench.driver.answer_all()
    sealed = bench.paper.sealed
    assert dict(zip(sealed.rows, zip(sealed.statuses, sealed.codes, strict=True), strict=True)) == {
        100: (200, None),
        101: (404, "NoSuchKey"),
        102: (500, "InternalError"),
    }
    assert sealed.failed == 2
    assert [(found.code, found.status, found.count) for found in sealed.failures] == [
        ("NoSuchKey", 404, 1),
        ("InternalError", 500, 1),
    ]
    assert [(sample.key, sample.at_ms) for found in sealed.failures for sample in found.samples] == [
        (b"missing", 100_000),
        (b"bug", 100_000),
    ]


def test_rows_of_one_key_run_one_after_another_in_manifest_order():
    bench = Bench([b"a", b"b", b"a", b"a"])
    assert bench.run.fill(100) == 2
    bench.driver.answer(1)
    assert len(bench.driver.waiting) == 1
    bench.finish()
    assert [task.row for task in bench.operation.tasks if task.key == b"a"] == [100, 102, 103]
    assert bench.rows_sealed() == [100, 101, 102, 103]


@pytest.mark.parametrize("operation", [One, Batch])
def test_rows_that_waited_for_their_key_start_only_where_there_is_room(operation):
    bench = Bench([*keys(25), *keys(25)], operation(), lane=AnyRoom(most=4))
    while not bench.run.finished:
        bench.run.fill(3)
        assert len(bench.driver.waiting) <= 4
        bench.driver.answer_all()
        assert len(bench.driver.waiting) == 0
    assert bench.lane.highest <= 4
    assert bench.rows_sealed() == list(range(100, 150))


def test_a_later_row_does_not_overtake_one_that_waits_for_room():
    bench = Bench([b"a", b"a", b"b", b"a"])
    bench.run.fill(1)
    bench.run.fill(0)
    bench.run.fill(1)  # the second row of a waits behind the first; b starts
    bench.driver.answer(0)
    bench.run.fill(1)
    bench.finish()
    assert [task.row for task in bench.operation.tasks if task.key == b"a"] == [100, 101, 103]


def test_thousands_of_rows_of_one_key_do_not_exhaust_the_stack():
    bench = Bench([b"same"] * 5_000)
    bench.finish()
    assert len(bench.rows_sealed()) == 5_000


def test_rows_below_the_doubt_mark_carry_the_time_of_the_first_attempt():
    bench = Bench(keys(4), done=[1], doubt_below=3)
    bench.run.fill(100)
    bench.driver.answer_all()
    assert [(task.row, task.first_attempt_ms) for task in bench.operation.tasks] == [(100, 5), (102, 5), (103, None)]
    assert dict(zip(bench.paper.sealed.rows, bench.paper.sealed.in_doubt, strict=True)) == {100: True, 102: True, 103: False}


def test_an_empty_version_fails_its_task_without_a_request():
    bench = Bench(keys(3), versions=[b"v1", b"", b"null"])
    bench.run.fill(100)
    bench.driver.answer_all()
    assert [task.row for task in bench.operation.tasks] == [100, 102]
    assert bench.paper.sealed.codes[bench.paper.sealed.rows.index(101)] == MISSING_VERSION.code


def test_a_stopped_chunk_starts_nothing_waits_for_what_runs_and_says_how_far_it_came():
    bench = Bench(keys(100))
    bench.run.fill(10)
    bench.run.stop()
    assert bench.run.fill(100) == 0
    assert bench.paper.returned is None
    bench.driver.answer_all()
    assert bench.paper.returned == 10
    assert [len(rows) for _, rows, _ in bench.paper.segments] == [10]
    assert bench.run.finished


@pytest.mark.parametrize("batched", [False, True])
def test_rows_that_were_wound_down_have_no_outcome_and_lie_below_the_horizon(batched):
    bench = Bench(keys(10), Batch() if batched else One())
    bench.run.fill(3)
    bench.run.stop()
    bench.driver.cut(0)
    bench.driver.answer_all()
    recorded = [row for _, rows, _ in bench.paper.segments for row in rows]
    assert recorded == ([] if batched else [101, 102])
    assert bench.paper.returned == (10 if batched else 1)
    assert bench.lane.running == 0


def test_a_stopped_chunk_leaves_rows_that_waited_for_their_key_to_the_next_attempt():
    bench = Bench([b"a", b"a", b"b"])
    bench.run.fill(100)
    bench.run.stop()
    bench.driver.answer_all()
    assert bench.paper.returned == 1
    assert bench.paper.segments[0][1] == [100, 102]


@pytest.mark.parametrize("batched", [False, True])
def test_a_stop_forgets_nothing_of_what_an_earlier_attempt_may_have_sent(batched):
    bench = Bench(keys(100), Batch() if batched else One(), doubt_below=60, done=[59, 7])
    bench.run.fill(4)
    bench.run.stop()
    bench.driver.cut(0)
    bench.driver.answer_all()
    assert bench.paper.returned == 59, "the last row of those without an outcome"


def test_a_row_that_waits_does_not_hide_what_was_sent_behind_it():
    bench = Bench([b"a", b"a", *keys(20)], Batch())
    bench.run.fill(1)
    bench.run.stop()
    bench.driver.cut(0)
    assert bench.paper.returned == 11, "ten rows were sent in a batch, the second row only waited"


def test_a_stop_before_anything_was_started_leaves_no_row_in_doubt():
    bench = Bench(keys(20), done=[0, 1, 2])
    bench.run.stop()
    assert bench.paper.returned == 3


def test_batches_hold_a_key_once_and_one_bucket():
    operation = Batch()
    bench = Bench([b"a", b"b", b"a", b"c", b"d"], operation, buckets=["x", "x", "x", "y", "y"])
    bench.finish()
    assert [[task.row for task in batch] for batch in operation.batches] == [[100, 101], [103, 104]]
    assert [task.row for task in operation.tasks] == [102]
    assert bench.rows_sealed() == [100, 101, 102, 103, 104]


def test_rows_in_doubt_never_ride_in_a_batch():
    operation = Batch()
    bench = Bench(keys(30), operation, doubt_below=4)
    bench.run.fill(100)
    bench.driver.answer_all()
    assert [task.row for task in operation.tasks] == [100, 101, 102, 103]
    assert [len(batch) for batch in operation.batches] == [10, 10, 6]


def test_outcomes_are_flushed_when_they_have_waited():
    bench = Bench(keys(10))
    bench.run.fill(3)
    bench.driver.answer()
    assert not bench.run.flush_due(1.0)
    bench.clock.time += 1.0
    assert bench.run.flush_due(1.0)
    bench.run.flush()
    assert not bench.run.flush_due(0.0)


@settings(max_examples=200)
@given(
    st.lists(st.sampled_from([b"a", b"b", b"c", b"d", b"missing"]), min_size=1, max_size=40),
    st.data(),
    st.booleans(),
)
def test_whatever_the_order_of_answers_each_row_has_one_outcome(rows, data, batched):
    done = data.draw(st.sets(st.integers(0, len(rows) - 1), max_size=len(rows) - 1))
    bench = Bench(rows, Batch() if batched else One(), done=sorted(done))
    while not bench.run.finished:
        bench.run.fill(data.draw(st.integers(1, 5)))
        if bench.driver.waiting:
            bench.driver.answer(data.draw(st.integers(0, len(bench.driver.waiting) - 1)))
    assert bench.rows_sealed() == [100 + row for row in range(len(rows)) if row not in done]


@pytest.mark.parametrize("stop_after", range(6))
def test_a_stop_at_any_moment_loses_no_row(stop_after):
    bench = Bench([b"a", b"b", b"a", b"c", b"b"])
    for _ in range(stop_after):
        bench.run.fill(1)
        if bench.driver.waiting:
            bench.driver.answer()
    bench.run.stop()
    bench.driver.answer_all()
    recorded = [row for _, rows, _ in bench.paper.segments for row in rows] + (bench.rows_sealed() if bench.paper.sealed else [])
    left = [row for row in range(100, 105) if row not in recorded]
    if bench.paper.returned is not None:
        assert all(row >= 100 + bench.paper.returned for row in left)
    else:
        assert not left
