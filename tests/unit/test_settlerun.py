"""What a job that ends early finds out about its last requests, without doing anything."""

import pytest

from haulier.core.errors import StoreError
from haulier.core.task import Outcome, Task
from haulier.engine.settlerun import AWAY_SECONDS, SETTLE_SECONDS, SettleRun
from haulier.objectstore.memory import MemoryObjectStore
from haulier.operations import Copy, Delete, PutTagging
from haulier.operations.lookon import LookingOn, Untouched
from haulier.testing.effects import EffectRunner, VirtualClock
from unit.test_chunkrun import AnyRoom, Batch, Bench, One, keys

START_MS = 1_800_000_000_000


class Traces(One):
    """Some rows left a trace, some did not, some cannot be looked at."""

    async def apply(self, task, store):
        self.tasks.append(task)
        if task.key.startswith(b"none"):
            raise Untouched
        if task.key.startswith(b"denied"):
            raise StoreError(403, "AccessDenied", "no")
        return Outcome(200)


def settled(bench):
    while not bench.run.finished:
        bench.run.fill(100)
        bench.driver.answer_all()
    recorded = [row for _, rows, _ in bench.paper.segments for row in rows]
    assert len(set(recorded)) == len(recorded)
    return recorded


def test_only_rows_in_doubt_are_looked_at_and_those_without_a_trace_have_no_outcome():
    rows = [b"a", b"none-1", b"done", b"b", b"never started"]
    bench = Bench(rows, Traces(), kind=SettleRun, done=[2], doubt_below=4)
    assert settled(bench) == [100, 103]
    assert [task.row for task in bench.operation.tasks] == [100, 101, 103]
    assert all(task.in_doubt for task in bench.operation.tasks)
    assert bench.paper.settled


def test_a_row_that_cannot_be_looked_at_is_unknown():
    bench = Bench([b"denied", b"later"], Traces(), kind=SettleRun, doubt_below=1)
    assert settled(bench) == [100]
    assert bench.run._all.codes == ["OutcomeUnknown"]


def test_rows_of_one_key_are_all_looked_at():
    bench = Bench([b"none", b"none", b"a", b"a", b"x"], Traces(), kind=SettleRun, doubt_below=4)
    assert settled(bench) == [102, 103]


def test_a_chunk_whose_every_row_left_a_trace_is_sealed():
    bench = Bench(keys(3), Batch(), kind=SettleRun, doubt_below=3)
    settled(bench)
    assert bench.rows_sealed() == [100, 101, 102]
    assert bench.operation.batches == []


def test_with_nothing_in_doubt_it_ends_at_once():
    bench = Bench(keys(5), Traces(), kind=SettleRun, done=[0, 1], doubt_below=2)
    assert settled(bench) == []
    assert bench.paper.settled
    assert bench.operation.tasks == []


def test_a_store_that_does_not_answer_is_not_waited_for_without_end():
    bench = Bench([*keys(4), b"fresh"], kind=SettleRun, doubt_below=4, lane=AnyRoom(most=2))
    bench.run.fill(100)
    bench.driver.wind_down = lambda started: bench.driver.cut(bench.driver.waiting.index(started))
    bench.clock.time += SETTLE_SECONDS
    bench.run.tick()
    assert bench.run.finished
    assert bench.paper.segments[0][1] == [100, 101, 102, 103]
    assert set(bench.run._all.codes) == {"OutcomeUnknown"}
    assert bench.paper.settled


def test_a_store_that_is_known_to_be_away_is_waited_for_even_less():
    lane = AnyRoom(most=2)
    bench = Bench(keys(4), kind=SettleRun, doubt_below=4, lane=lane)
    bench.run.fill(100)
    bench.driver.wind_down = lambda started: bench.driver.cut(bench.driver.waiting.index(started))
    bench.clock.time += AWAY_SECONDS
    bench.run.tick()
    assert not bench.run.finished
    lane.away = "refused"
    bench.run.tick()
    assert bench.run.finished


def test_nothing_more_is_looked_at_once_it_is_given_up():
    bench = Bench(keys(40), kind=SettleRun, doubt_below=40, lane=AnyRoom(most=4))
    assert bench.run.fill(100) == 4
    bench.clock.time += SETTLE_SECONDS
    bench.run.tick()  # what the store holds ends only by its own time-out: one after the other
    while not bench.run.finished:
        bench.driver.answer()
        assert bench.run.fill(100) == 0
    assert bench.rows_sealed() == list(range(100, 140))
    assert bench.run._all.codes.count("OutcomeUnknown") == 36


def test_without_a_store_to_ask_every_row_in_doubt_is_unknown():
    bench = Bench([*keys(3), b"fresh"], Traces(), kind=SettleRun, done=[1], doubt_below=3, blind=True)
    assert settled(bench) == [100, 102]
    assert set(bench.run._all.codes) == {"OutcomeUnknown"}
    assert bench.operation.tasks == []


def test_a_shutdown_leaves_it_unsettled():
    bench = Bench(keys(4), kind=SettleRun, doubt_below=4)
    bench.run.fill(2)
    bench.run.stop()
    bench.driver.answer_all()
    assert not bench.paper.settled


# -- what the operations find out


@pytest.fixture
def store():
    return MemoryObjectStore(VirtualClock(START_MS), ("src", "dst"))


def find_out(store, operation, key, **task):
    return EffectRunner().run(LookingOn(operation).apply(Task(0, "src", key, first_attempt_ms=START_MS, **task), store))


def put(store, bucket, key, body=b"body"):
    EffectRunner().run(store.put_object(bucket, key, body))


COPY = Copy(target_bucket="dst", dialect="s3control")


@pytest.mark.parametrize("operation", [COPY, Delete(), PutTagging(tags={"a": "b"}), PutTagging(tags={"a": "b"}, mode="add")])
def test_what_left_no_trace_is_not_done(store, operation):
    put(store, "src", b"k")
    store._clock.advance(-3600)
    put(store, "src", b"k")
    store._clock.advance(3600)
    log = list(store.log)
    with pytest.raises(Untouched):
        find_out(store, operation, b"k")
    assert store.log == log


def test_what_was_done_has_its_outcome(store):
    put(store, "src", b"k")
    EffectRunner().run(store.copy_object("src", b"k", None, "dst", b"k"))
    EffectRunner().run(store.put_tags("src", b"k", None, {"a": "b"}))
    log = list(store.log)
    assert find_out(store, COPY, b"k").succeeded
    assert find_out(store, PutTagging(tags={"a": "b"}), b"k").succeeded
    assert find_out(store, Delete(), b"gone").succeeded
    assert find_out(store, Delete(), b"gone", version=b"v1").succeeded
    assert store.log == log


def test_what_others_have_written_since_is_told_as_such(store):
    put(store, "src", b"k")
    put(store, "dst", b"k", b"of somebody else")
    assert find_out(store, COPY, b"k").code == "ChangedSinceAttempt"
    assert find_out(store, Delete(), b"k").code == "ChangedSinceAttempt"
