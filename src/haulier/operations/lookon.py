"""Looking on: what became of an attempt of unknown fate, without doing anything.

The replay rules of each operation look before they act (decisions §3, "In doubt"). Under a store that only looks they find out
what an earlier attempt has brought about, and come no further.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, NoReturn, cast

from haulier.core.errors import StoreError
from haulier.core.ports import ObjectStore, Operation
from haulier.core.task import Disproof, Outcome, Task
from haulier.operations.replay import look, unknown_outcome

_LOOKS: Final = frozenset({"ahead_ms", "width", "head_object", "get_object", "get_tags", "get_acl", "keeps_versions"})
"""What an ObjectStore has that changes nothing. Whatever else it has, or will have, is not done."""


class Untouched(Exception):
    """No attempt has left a trace on the object: the task was not done."""


class _Onlooker:
    """An ObjectStore that only looks: a change that is there already counts as made, any other raises Untouched."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name) if name in _LOOKS else self._change

    async def _change(self, *_arguments: Any, **_options: Any) -> NoReturn:
        raise Untouched

    async def put_tags(self, bucket: str, key: bytes, version: bytes | None, tags: Mapping[str, str]) -> None:
        """They are there, or were never put."""
        if dict(await self._store.get_tags(bucket, key, version)) != dict(tags):
            raise Untouched

    async def delete_object(self, bucket: str, key: bytes, version: bytes | None = None, **_options: Any) -> Outcome:
        """It is gone, or was never deleted."""
        if await look(self._store, bucket, key, version) is not None:
            raise Untouched
        return Outcome(204)

    async def put_acl(self, *_arguments: Any) -> NoReturn:
        """Comes after the copy that it belongs to, so the task was done in part."""
        raise StoreError(409, "OutcomeUnknown", "the copy is there; its access control list was not set before the job ended")


class LookingOn:
    """An operation that only finds out what became of tasks in doubt (`core.ports.Operation`)."""

    name: ClassVar[str] = "look on"
    batch_rows: ClassVar[int] = 1

    def __init__(self, operation: Operation) -> None:
        self._operation = operation

    async def disproof(self, task: Task, store: ObjectStore, begun_ms: int) -> Disproof | None:
        """Of the operation."""
        return await self._operation.disproof(task, store, begun_ms)

    def target(self, bucket: str, key: bytes) -> tuple[str, bytes] | None:
        """Of the operation."""
        return self._operation.target(bucket, key)

    def buckets(self) -> Sequence[str]:
        """Of the operation."""
        return self._operation.buckets()

    async def apply(self, task: Task, store: ObjectStore) -> Outcome:
        """The outcome that the task has by now. Raises Untouched where it has none."""
        try:
            return await self._operation.apply(task, cast("ObjectStore", _Onlooker(store)))
        except StoreError as error:
            return unknown_outcome(error)

    async def apply_batch(self, tasks: Sequence[Task], store: ObjectStore) -> Sequence[Outcome]:
        """Not used: `batch_rows` is 1."""
        return [await self.apply(task, store) for task in tasks]
