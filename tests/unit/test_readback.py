"""The first successes of a job are read back, and a store that lied is found out."""

from typing import Any

import pytest

from haulier.core.clock import SystemClock
from haulier.core.errors import StoreError
from haulier.core.ports import Copied, Operation
from haulier.core.task import Disproof, Outcome, Task
from haulier.engine.readback import FIRST_TASKS, ReadingBack
from haulier.objectstore.memory import MemoryObjectStore
from haulier.operations import Copy, Delete, PutTagging
from haulier.operations.copy import NewMetadata
from haulier.testing.effects import EffectRunner, VirtualClock
from unit.test_chunkrun import Batch, Bench, One, keys


class Overwrites(MemoryObjectStore):
    """The plain PUT for a sub-resource that it does not know: rclone serve s3."""

    async def put_tags(self, bucket: str, key: bytes, version: bytes | None, tags: Any) -> None:
        self.document = dict(tags)
        await self.put_object(bucket, key, b"<?xml version='1.0'?><Tagging>...</Tagging>")

    async def get_tags(self, bucket: str, key: bytes, version: bytes | None = None) -> Any:
        return self.document  # the object itself is such a document now


class Empties(MemoryObjectStore):
    """Answers 200 to PutObjectTagging and stores an empty body."""

    async def put_tags(self, bucket: str, key: bytes, version: bytes | None, tags: Any) -> None:
        await self.put_object(bucket, key, b"")


class Forgets(MemoryObjectStore):
    """Answers success and does nothing."""

    async def put_tags(self, bucket: str, key: bytes, version: bytes | None, tags: Any) -> None:
        pass

    async def copy_object(self, *arguments: Any) -> Any:
        return (await self.head_object(*arguments[:2])) and Copied("e")

    async def delete_object(self, *arguments: Any, **options: Any) -> Outcome:
        return Outcome(204)


class Ignores(MemoryObjectStore):
    """Copies without what the copy should set."""

    async def copy_object(self, *arguments: Any) -> Any:
        return await super().copy_object(*arguments[:5])


class Deletes(MemoryObjectStore):
    """Runs the plain DELETE for a sub-resource that it does not know."""

    async def put_tags(self, bucket: str, key: bytes, version: bytes | None, tags: Any) -> None:
        await self.delete_object(bucket, key)


class Guards(MemoryObjectStore):
    """Lets nobody read."""

    async def head_object(self, *arguments: Any) -> Any:
        raise StoreError(403, "AccessDenied", "no")


TAGS = PutTagging(tags={"a": "b"})
COPY = Copy(target_bucket="dst", dialect="s3control")
RENEWED = Copy(target_bucket="dst", dialect="s3control", metadata=NewMetadata(user={"a": "b"}))
KEPT_CHEAP = Copy(target_bucket="dst", dialect="s3control", storage_class="GLACIER_IR")
TAGGED = Copy(target_bucket="dst", dialect="s3control", tags={"a": "b"})


class Place:
    def __init__(
        self, kind: type[MemoryObjectStore], operation: Operation, left: int = FIRST_TASKS, *, versioned: bool = False
    ) -> None:
        self.clock = VirtualClock()
        self.store = kind(self.clock, ("src", "dst"), versioned=("src",) if versioned else ())
        self.effects = EffectRunner(clock=self.clock)
        self.reader = ReadingBack(operation, {"src": "main"}, {"main": left}, self.clock)
        for key in (b"j", b"k"):
            self.effects.run(self.store.put_object("src", key, b"body"))
        self.clock.advance(3600)

    def run(self, key: bytes = b"k", version: bytes | None = None) -> Outcome:
        return self.effects.run(self.reader.apply(Task(0, "src", key, version), self.store))


@pytest.mark.parametrize("operation", [TAGS, PutTagging(tags={"a": "b"}, mode="add"), COPY, RENEWED, TAGGED, Delete()])
def test_a_store_that_does_what_it_says_is_believed(operation: Operation) -> None:
    place = Place(MemoryObjectStore, operation)
    assert place.run().succeeded
    assert place.reader.lie is None
    assert place.reader.take_read() == {"main": 1}
    assert place.reader.take_read() == {}


@pytest.mark.parametrize(
    ("kind", "operation", "code", "seen"),
    [
        (Overwrites, TAGS, "StoreCannotPutTagging", "the object's content was the list of tags"),
        (Deletes, TAGS, "StoreCannotPutTagging", "the object was gone"),
        (Empties, TAGS, "StoreCannotPutTagging", "the tags were not there"),
        (Forgets, TAGS, "StoreCannotPutTagging", "the tags were not there"),
        (Forgets, PutTagging(tags={"a": "b"}, mode="add"), "StoreCannotPutTagging", "the tags were not there"),
        (Forgets, COPY, "StoreCannotCopy", "there was no copy"),
        (Ignores, RENEWED, "StoreCannotCopy", "other metadata"),
        (Ignores, TAGGED, "StoreCannotCopy", "other tags"),
        (Ignores, KEPT_CHEAP, "StoreCannotCopy", "other storage class"),
        (Forgets, Delete(), "StoreCannotDelete", "still there"),
    ],
)
def test_a_lie_is_the_tasks_failure_and_names_store_and_sight(
    kind: type[MemoryObjectStore], operation: Operation, code: str, seen: str
) -> None:
    place = Place(kind, operation)
    if kind is not Overwrites:
        first = place.run(b"j")
        assert first.code == "OutcomeUnknown"
        assert seen in (first.message or "")
        assert place.reader.lie is None, "one row alone may be another client's doing"
    outcome = place.run()
    assert outcome.code == code
    assert place.reader.lie is not None
    assert place.reader.lie[0] == "main"
    assert seen in place.reader.lie[1]
    assert "src/k" in place.reader.lie[1]
    assert place.clock.seconds > 3600.9, "it was looked at twice"


def test_a_version_that_stays_convicts_alone() -> None:
    place = Place(Forgets, Delete(), versioned=True)
    version = place.effects.run(place.store.head_object("src", b"k")).version
    assert version is not None
    assert place.run(version=version.encode()).code == "StoreCannotDelete"


@pytest.mark.parametrize("undo", ["tags", "copy"])
def test_what_others_undo_now_and_then_fails_the_row_and_not_the_job(undo: str) -> None:
    place = Place(MemoryObjectStore, TAGS if undo == "tags" else COPY)
    store = place.store
    verb = "put_tags" if undo == "tags" else "copy_object"
    done = getattr(store, verb)

    async def overtaken(*arguments: Any) -> Any:
        result = await done(*arguments)
        if arguments[1] == b"j":
            await (
                MemoryObjectStore.put_tags(store, "src", b"j", None, {}) if undo == "tags" else store.delete_object("dst", b"j")
            )
        return result

    setattr(store, verb, overtaken)
    assert place.run(b"j").code == "OutcomeUnknown"
    assert all(place.run(b"k").succeeded for _ in range(FIRST_TASKS))
    assert place.reader.lie is None


def test_what_others_write_meanwhile_is_no_lie() -> None:
    place = Place(MemoryObjectStore, Delete())

    async def written_anew(*arguments: Any, **options: Any) -> Outcome:
        await MemoryObjectStore.put_object(place.store, "src", b"k", b"of somebody else")
        return Outcome(204)

    place.store.delete_object = written_anew  # type: ignore[method-assign]
    assert place.run().succeeded
    tagged = Place(MemoryObjectStore, TAGS)
    tagged.effects.run(tagged.store.put_object("src", b"k", b"just written"))
    assert tagged.run().succeeded


@pytest.mark.parametrize(
    ("operation", "verb", "bucket"),
    [(TAGS, "put_tags", "src"), (RENEWED, "copy_object", "dst"), (TAGGED, "copy_object", "dst")],
)
def test_an_object_that_somebody_writes_before_it_is_read_back_is_no_lie(operation: Operation, verb: str, bucket: str) -> None:
    place = Place(MemoryObjectStore, operation)
    done = getattr(place.store, verb)

    async def overtaken(*arguments: Any) -> Any:
        result = await done(*arguments)
        await place.store.put_object(bucket, b"k", b"of somebody else")
        return result

    setattr(place.store, verb, overtaken)
    assert place.run().succeeded
    assert place.reader.lie is None


def test_a_change_that_shows_a_moment_late_is_no_lie() -> None:
    place = Place(MemoryObjectStore, COPY)
    looked = place.store.head_object
    place.store.head_object = lambda bucket, key, version=None: (  # type: ignore[method-assign]
        looked(bucket, key if place.clock.seconds > 3600.5 else b"absent", version)
    )
    assert place.run().succeeded
    assert place.reader.lie is None


def test_what_may_not_be_read_says_nothing() -> None:
    place = Place(Guards, COPY)
    assert place.run().succeeded
    assert (place.reader.lie, place.reader.take_read()) == (None, {"main": 1})


def test_after_the_first_tasks_the_operation_runs_alone() -> None:
    place = Place(Forgets, Delete(), left=0)
    assert place.run().succeeded
    assert place.reader.lie is None


class Shown(One):
    """Successes that the store shows."""

    name = "shown"
    target = buckets = None

    async def disproof(self, task: Task, store: Any, begun_ms: int) -> Disproof | None:
        return None


class ShownBatch(Shown, Batch):
    batch_rows = 1_000


@pytest.mark.parametrize("operation", [Shown, ShownBatch])
def test_few_tasks_run_until_the_first_have_ended(operation: Any) -> None:
    bench = Bench(keys(100), ReadingBack(operation(), {"b": "main"}, {"main": FIRST_TASKS}, SystemClock()))
    bench.run.fill(1_000)
    assert bench.run._in_flight == FIRST_TASKS
    bench.driver.answer_all()
    bench.run.fill(1_000)
    assert bench.run._in_flight == 80
    bench.driver.answer_all()
    assert bench.rows_sealed() == list(range(100, 200))
    assert bench.paper.sealed.read_back == {"main": FIRST_TASKS}


class FindsOut(ReadingBack):
    """Has found a lie when a certain row ends."""

    async def _checked(self, task: Task, outcome: Outcome, store: Any, begun_ms: int) -> Outcome:
        if task.key != b"lie":
            return outcome
        self.lie = "main", "nothing was done"
        return Outcome(200, "StoreCannotShown", "nothing was done")


def test_a_chunk_stops_at_a_lie_and_tells_it_once() -> None:
    bench = Bench([b"a", b"lie", b"b", b"c"], FindsOut(Shown(), {"b": "main"}, {"main": FIRST_TASKS}, SystemClock()))
    bench.run.fill(3)
    bench.driver.answer_all()
    assert bench.paper.lies == [("main", "nothing was done")]
    assert bench.run.finished
    assert [rows for _, rows, _ in bench.paper.segments] == [[100, 101, 102]]
    assert bench.paper.returned == 3
