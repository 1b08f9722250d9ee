"""Operations on a store in memory, in virtual time; `Flaky` loses answers before or after the effect."""

from collections import deque
from typing import Any

from haulier.core.errors import BatchInDoubt, StoreError
from haulier.core.task import Outcome, Task
from haulier.objectstore.memory import MemoryObjectStore
from haulier.testing.effects import EffectRunner, VirtualClock


class Flaky(MemoryObjectStore):
    """`lose` plans the fate of the next changes: the answer is lost `before` or `after` the effect; `unreadable` breaks reads."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock, ["src", "dst", "kept"], versioned=["kept"])
        self.clock = clock
        self.fates: deque[str | None] = deque()
        self.unreadable = False

    def lose(self, *fates: str | None) -> None:
        self.fates.extend(fates)

    async def _lossy(self, call: Any) -> Any:
        fate = self.fates.popleft() if self.fates else None
        since_ms = self.clock.now_ms()
        if fate == "before":
            call.close()
        else:
            result = await call
        if fate is not None:
            raise StoreError(0, "NoAnswer", "connection reset", unknown=True, since_ms=since_ms)
        return result

    async def copy_object(self, *args: Any, **options: Any) -> Any:
        return await self._lossy(super().copy_object(*args, **options))

    async def delete_object(self, *args: Any, **options: Any) -> Any:
        return await self._lossy(super().delete_object(*args, **options))

    async def delete_objects(self, bucket: str, tasks: Any, **options: Any) -> Any:
        fate = self.fates.popleft() if self.fates else None
        since_ms = self.clock.now_ms()
        if fate in ("half", "last"):
            half = len(tasks) // 2
            done = await super().delete_objects(bucket, tasks[:half], **options)
            lost = StoreError(0, "NoAnswer", "connection reset", unknown=True, since_ms=since_ms)
            raise lost if fate == "half" else BatchInDoubt(lost, [*done, *[None] * (len(tasks) - half)])
        return await super().delete_objects(bucket, tasks, **options)

    async def put_tags(self, *args: Any, **options: Any) -> Any:
        return await self._lossy(super().put_tags(*args, **options))

    async def put_acl(self, *args: Any, **options: Any) -> Any:
        return await self._lossy(super().put_acl(*args, **options))

    async def head_object(self, *args: Any, **options: Any) -> Any:
        if self.unreadable:
            raise StoreError(0, "StoreUnreachable", "connection refused")
        return await super().head_object(*args, **options)

    async def get_tags(self, *args: Any, **options: Any) -> Any:
        if self.unreadable:
            raise StoreError(0, "StoreUnreachable", "connection refused")
        return await super().get_tags(*args, **options)


class Bench:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.store = Flaky(self.clock)
        self.runner = EffectRunner(clock=self.clock)
        self.put("src", b"a/key", b"content")
        self.clock.advance(60)
        self.store.log.clear()

    def put(self, bucket: str, key: bytes, body: bytes) -> None:
        self.runner.run(self.store.put_object(bucket, key, body, content_type="text/plain"))

    def body(self, bucket: str, key: bytes) -> bytes:
        return bytes(self.runner.run(self.store.get_object(bucket, key)).data)

    def apply(self, operation: Any, key: bytes = b"a/key", bucket: str = "src", **task: Any) -> Outcome:
        outcome: Outcome = self.runner.run(operation.apply(Task(0, bucket, key, **task), self.store))
        return outcome

    def doubt(self) -> int:
        """A first attempt now; time goes on."""
        now_ms = self.clock.now_ms()
        self.clock.advance(60)
        return now_ms
