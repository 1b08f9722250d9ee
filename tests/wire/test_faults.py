"""Operations against a store that fails all the time, through real sockets: outcomes must be true, effects few."""

import random
from collections import Counter
from collections.abc import Iterator

import msgspec
import pytest

from haulier.core.accounts import Credentials
from haulier.core.acl import Acl, Grant
from haulier.core.clock import SystemClock
from haulier.core.placement import Store
from haulier.core.task import Outcome, Task
from haulier.objectstore.memory import OWNER
from haulier.objectstore.s3 import S3ObjectStore
from haulier.objectstore.throttle import Throttle
from haulier.objectstore.transport import CurlDriver
from haulier.operations import Copy, Delete, PutTagging
from haulier.operations.copy import NewMetadata
from haulier.testing import faulty_s3
from haulier.testing.faulty_s3 import Fault, FaultyS3
from haulier.testing.suites.driver import Running

COUNT = 300
COPY = Copy(target_bucket="dst", dialect="s3control", folder="new")


@pytest.fixture
def running() -> Iterator[Running]:
    running = Running(CurlDriver(clock=SystemClock(), in_flight_max=64))
    yield running
    running.stop()


@pytest.fixture
def server() -> Iterator[FaultyS3]:
    with FaultyS3(("src", "dst", "kept"), versioned=("kept",)) as server:
        yield server


def connect(server: FaultyS3, throttle: Throttle | None = None) -> S3ObjectStore:
    clock = SystemClock()
    # The jitter is small: what is tested is what happens, not how long it waits.
    draw = random.Random(5)
    return S3ObjectStore(
        Store(name="faulty", endpoint=server.endpoint),
        Credentials("key", "secret"),
        throttle=throttle or Throttle(clock, 64),
        clock=clock,
        random=lambda: draw.random() / 50,
    )


def fill(server: FaultyS3, running: Running, bucket: str = "src", count: int = COUNT) -> list[Task]:
    store = connect(server)
    futures = [running.driver.submit(store.put_object(bucket, b"key/%d" % row, b"%d" % row)) for row in range(count)]
    for future in futures:
        future.result(30)
    for held in server.store.buckets[bucket].values():
        held[:] = [msgspec.structs.replace(one, modified_ms=1000) for one in held]  # long ago
    server.effects.clear()
    server.requests.clear()
    return [Task(row, bucket, b"key/%d" % row) for row in range(count)]


def finish(running: Running, operation: Copy | Delete | PutTagging, tasks: list[Task], store: S3ObjectStore) -> list[Outcome]:
    futures = [running.driver.submit(operation.apply(task, store)) for task in tasks]
    return [future.result(60) for future in futures]


@pytest.mark.parametrize(
    "shares",
    [
        {faulty_s3.SLOW_DOWN: 0.3},
        {faulty_s3.ERROR_IN_200: 0.05, faulty_s3.EMPTY_200: 0.05, faulty_s3.CUT_200: 0.05},
        {faulty_s3.RESET_BEFORE: 0.05, faulty_s3.RESET_AFTER: 0.05, faulty_s3.HALF_ANSWER: 0.05},
        {faulty_s3.ERROR_500: 0.2, faulty_s3.CHUNKED: 0.2, faulty_s3.CLOSE: 0.2, faulty_s3.CONTINUE_100: 0.2},
    ],
    ids=", ".join,
)
def test_every_copy_ends_well_and_is_there(server: FaultyS3, running: Running, shares: dict[str, float]) -> None:
    tasks = fill(server, running)
    server.share(11, shares)
    outcomes = finish(running, COPY, tasks, connect(server))
    assert set(outcomes) == {Outcome(200, None, "Successful")}
    assert {key: held[-1].body for key, held in server.store.buckets["dst"].items()} == {
        b"new/key/%d" % row: b"%d" % row for row in range(COUNT)
    }
    assert len(server.requests) <= 2 * COUNT


def test_a_copy_whose_answer_is_lost_leaves_one_version(server: FaultyS3, running: Running) -> None:
    tasks = fill(server, running)
    kinds = (faulty_s3.RESET_BEFORE, faulty_s3.RESET_AFTER, faulty_s3.CLOSE, faulty_s3.EMPTY_200, faulty_s3.ERROR_IN_200)
    server.share(14, dict.fromkeys(kinds, 0.05))
    outcomes = finish(running, Copy(target_bucket="kept", dialect="s3control"), tasks, connect(server))
    assert set(outcomes) == {Outcome(200, None, "Successful")}
    assert Counter(len(versions) for versions in server.store.buckets["kept"].values()) == {1: COUNT}


@pytest.mark.parametrize("fault", [faulty_s3.RESET_AFTER, faulty_s3.CUT_200, faulty_s3.ERROR_IN_200, faulty_s3.HALF_ANSWER])
def test_a_copy_in_place_whose_answer_is_lost_is_not_repeated(server: FaultyS3, running: Running, fault: str) -> None:
    (task,) = fill(server, running, "kept", count=1)
    store = connect(server)
    operation = Copy(target_bucket="kept", dialect="s3control", storage_class="GLACIER")
    server.plan(Fault(fault))
    assert finish(running, operation, [task], store) == [Outcome(200, None, "Successful")]
    assert server.effects == [("copy", "kept", task.key)]
    assert [seen.method for seen in server.requests] == ["PUT", "HEAD"]


@pytest.mark.parametrize("target", ["dst", "src"])
def test_copies_that_add_to_their_source_end_as_one_addition_each(server: FaultyS3, running: Running, target: str) -> None:
    tasks = fill(server, running)
    shared = Acl(OWNER, (Grant("id", OWNER, "FULL_CONTROL"), Grant("id", "neighbour", "READ_ACP")))
    for held in server.store.buckets["src"].values():
        headers = {**held[-1].headers, "x-amz-meta-old": "1"}
        held[-1] = msgspec.structs.replace(held[-1], headers=headers, tags={"old": "1"}, acl=shared)
    operation = Copy(
        target_bucket=target,
        dialect="cos",
        metadata=NewMetadata(user={"new": "2"}),
        metadata_mode="add",
        tags={"new": "2"},
        tags_mode="add",
        inherit_acl=True,
        grants=(Grant("id", "stranger", "READ"),),
    )
    kinds = (faulty_s3.SLOW_DOWN, faulty_s3.RESET_BEFORE, faulty_s3.RESET_AFTER, faulty_s3.EMPTY_200, faulty_s3.ERROR_IN_200)
    server.share(17, dict.fromkeys(kinds, 0.03))
    assert set(finish(running, operation, tasks, connect(server))) == {Outcome(200, None, "Successful")}
    for task in tasks:
        held = server.store.buckets[target][task.key][-1]
        told = {name: value for name, value in held.headers.items() if name.startswith("x-amz-meta-")}
        assert (told, held.tags) == ({"x-amz-meta-old": "1", "x-amz-meta-new": "2"}, {"old": "1", "new": "2"})
        assert set(held.acl.grants) == {*shared.grants, Grant("id", "stranger", "READ")}
    assert Counter(verb for verb, _, _ in server.effects)["copy"] == COUNT


def test_a_batch_of_unknown_fate_keeps_to_the_limit_of_the_store(server: FaultyS3, running: Running) -> None:
    tasks = fill(server, running, count=12)
    throttle = Throttle(SystemClock(), 6)
    throttle.acquired(2)  # this batch, and another task
    store = connect(server, throttle)
    server.plan(Fault(faulty_s3.RESET_BEFORE), *[Fault(faulty_s3.HOLD)] * 3)
    future = running.driver.submit(Delete().apply_batch(tasks, store))
    server.wait_for(lambda s: s.held == 3)
    running.do(store.head_object("src", tasks[0].key))  # whatever else was begun has reached the server before it
    assert len(server.requests) == 1 + 3 + 1
    server.release()
    assert {outcome.status for outcome in future.result(20)} == {204}
    assert Counter(server.effects) == Counter(("delete", "src", task.key) for task in tasks)


def test_a_delete_whose_answer_is_lost_leaves_one_marker(server: FaultyS3, running: Running) -> None:
    tasks = fill(server, running, "kept")
    server.share(12, {faulty_s3.RESET_BEFORE: 0.15, faulty_s3.RESET_AFTER: 0.15, faulty_s3.ERROR_500: 0.1})
    assert {outcome.status for outcome in finish(running, Delete(), tasks, connect(server))} == {204}
    assert Counter(Counter(server.effects).values()) == {1: COUNT}


@pytest.mark.parametrize("fault", [faulty_s3.RESET_BEFORE, faulty_s3.RESET_AFTER, faulty_s3.CUT_200, faulty_s3.SLOW_DOWN])
def test_a_batch_of_deletes_whose_answer_is_lost_deletes_each_key_once(server: FaultyS3, running: Running, fault: str) -> None:
    tasks = fill(server, running, "kept")
    server.plan(Fault(fault))
    outcomes = running.do(Delete().apply_batch(tasks, connect(server)))
    assert {outcome.status for outcome in outcomes} == {204}
    assert Counter(Counter(server.effects).values()) == {1: COUNT}


def test_a_conditional_delete_whose_answer_is_lost_is_a_success(server: FaultyS3, running: Running) -> None:
    (task,) = fill(server, running, count=1)
    etag = running.do(connect(server).head_object("src", task.key)).etag
    conditional = Task(0, "src", task.key, etag=etag)
    server.plan(Fault(faulty_s3.RESET_AFTER))
    assert finish(running, Delete(), [conditional], connect(server)) == [Outcome(204)]
    assert server.effects == [("delete", "src", task.key)]


def test_tags_survive_every_kind_of_trouble(server: FaultyS3, running: Running) -> None:
    tasks = fill(server, running, count=100)
    kinds = (faulty_s3.SLOW_DOWN, faulty_s3.RESET_BEFORE, faulty_s3.RESET_AFTER, faulty_s3.HALF_ANSWER)
    server.share(13, dict.fromkeys(kinds, 0.08))
    finish(running, PutTagging(tags={"a": "1"}), tasks, connect(server))
    outcomes = finish(running, PutTagging(tags={"b": "2"}, mode="add"), tasks, connect(server))
    assert all(outcome.succeeded for outcome in outcomes)
    assert {tuple(held[-1].tags.items()) for held in server.store.buckets["src"].values()} == {(("a", "1"), ("b", "2"))}


def test_a_store_that_slows_down_is_pressed_less(server: FaultyS3, running: Running) -> None:
    tasks = fill(server, running, count=50)
    throttle = Throttle(SystemClock(), 64)
    server.plan(*[Fault(faulty_s3.SLOW_DOWN)] * 20)
    assert all(outcome.succeeded for outcome in finish(running, COPY, tasks, connect(server, throttle)))
    assert throttle.window.width < 32
