"""Reading back: the first tasks of a job on each store are believed only when the store shows what it said (decisions §4).

A trial on a scratch object proves much, but not that every bucket of the store behaves like the scratch bucket. After its first
tasks a chunk runs the operation alone again, and nothing of this costs anything.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from haulier.core.effects import Effect, Sleep
from haulier.core.errors import StoreError
from haulier.core.ports import Clock, ObjectStore, Operation
from haulier.core.task import Disproof, Outcome, Task

FIRST_TASKS: Final = 20
"""Successes that are read back, per job and store; and how many tasks of a chunk run at a time until so many have ended."""
AGAIN_SECONDS: Final = 1.0
"""What contradicts a success is believed when it is still so after this time: some stores show a change a moment late."""
WITNESSES: Final = 2
"""So many rows must contradict their successes before the store is convicted, unless one does that nobody else can have changed:
other clients write too, and one of them may have been there between the answer and the look."""


def cannot_code(operation: str) -> str:
    """The code of a job, and of a task, that a store only pretended to do: `StoreCannotPutTagging`."""
    return "StoreCannot" + operation.title().replace("_", "")


class ReadingBack:
    """An operation whose first successes are read back (`core.ports.Operation`). One chunk's."""

    def __init__(self, operation: Operation, stores: Mapping[str, str], read_backs: Mapping[str, int], clock: Clock) -> None:
        """`stores`: bucket → store. `read_backs`: store → how many successes are still to be read back there."""
        self._operation = operation
        self._stores = stores
        self._left = dict(read_backs)
        self._clock = clock
        self._ended = 0
        self._read: dict[str, int] = {}
        self._suspect: dict[str, int] = {}
        """By store: rows that contradicted their success."""
        self.lie: tuple[str, str] | None = None
        """The store that lied, and what was seen. Not every row that contradicts its success makes it (`WITNESSES`)."""
        self.name = operation.name
        self.batch_rows = operation.batch_rows
        self.target = operation.target
        self.buckets = operation.buckets

    def rows_at_once(self, in_flight: int) -> int:
        """How many rows may start with the next request while so many run: few, until the first have ended and been read."""
        if self._ended < FIRST_TASKS:
            return max(0, min(self.batch_rows, FIRST_TASKS - in_flight))
        return self.batch_rows

    def take_read(self) -> dict[str, int]:
        """How many successes were read back since the last call, by store."""
        read, self._read = self._read, {}
        return read

    def apply(self, task: Task, store: ObjectStore) -> Effect[Outcome]:
        """As the operation; at first with a look at what became of it."""
        if not self._left.get(self._stores[task.bucket]):
            return self._operation.apply(task, store)
        return self._apply(task, store)

    def apply_batch(self, tasks: Sequence[Task], store: ObjectStore) -> Effect[Sequence[Outcome]]:
        """As the operation; at first with a look at what became of some of them."""
        if not self._left.get(self._stores[tasks[0].bucket]):
            return self._operation.apply_batch(tasks, store)
        return self._apply_batch(tasks, store)

    def disproof(self, task: Task, store: ObjectStore, begun_ms: int) -> Effect[Disproof | None]:
        """Of the operation."""
        return self._operation.disproof(task, store, begun_ms)

    async def _apply(self, task: Task, store: ObjectStore) -> Outcome:
        begun_ms = self._clock.now_ms()
        try:
            return await self._checked(task, await self._operation.apply(task, store), store, begun_ms)
        finally:
            self._ended += 1

    async def _apply_batch(self, tasks: Sequence[Task], store: ObjectStore) -> Sequence[Outcome]:
        begun_ms = self._clock.now_ms()
        try:
            outcomes = await self._operation.apply_batch(tasks, store)
            return [await self._checked(task, outcome, store, begun_ms) for task, outcome in zip(tasks, outcomes, strict=True)]
        finally:
            self._ended += len(tasks)

    async def _checked(self, task: Task, outcome: Outcome, store: ObjectStore, begun_ms: int) -> Outcome:
        """The outcome, or what speaks against it. What may not be read says nothing, and is not tried again."""
        name = self._stores[task.bucket]
        if not outcome.succeeded or not self._left.get(name):
            return outcome
        self._left[name] -= 1
        self._read[name] = self._read.get(name, 0) + 1
        try:
            found = await self._operation.disproof(task, store, begun_ms)
            if found is not None and self.lie is None:
                await Sleep(AGAIN_SECONDS)
                found = await self._operation.disproof(task, store, begun_ms)
        except StoreError:
            return outcome
        return outcome if found is None else self._contradicted(name, task, outcome, found)

    def _contradicted(self, store: str, task: Task, outcome: Outcome, found: Disproof) -> Outcome:
        """The task's failure: the store's lie, or what one row alone does not prove."""
        self._suspect[store] = self._suspect.get(store, 0) + 1
        if not found.certain and self._suspect[store] < WITNESSES:
            return Outcome(outcome.status, "OutcomeUnknown", f"{found.seen}; another client may have changed it meanwhile")
        self.lie = store, f"{found.seen} ({task.bucket}/{task.key.decode(errors='replace')})"
        return Outcome(outcome.status, cannot_code(self._operation.name), found.seen)
