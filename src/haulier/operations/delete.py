"""Delete objects or versions: fresh rows in batches of DeleteObjects, rows in doubt one by one."""

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from haulier.core.effects import Gather
from haulier.core.errors import BatchInDoubt, StoreError
from haulier.core.ports import ObjectStore
from haulier.core.task import Disproof, Outcome, Task
from haulier.operations.replay import TRIES_MAX, changed_outcome, changed_since, look, pause, unknown_outcome

SINGLE_WIDTH = 16
"""Deletes at a time when a batch has to be done one by one; fewer where the store allows a task fewer."""
DELETED = Outcome(204)
_REWRITABLE = (None, b"null")
"""The versions that somebody can have written since the first attempt."""


class Delete(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Delete each object, or the version its row names (COSDeleteObject, S3DeleteObject).

    Without a version a bucket with versioning gets a delete marker. What a missing key means is the store's to say: S3
    answers 204.
    """

    name: ClassVar[str] = "delete"
    batch_rows: ClassVar[int] = 1000

    bypass_governance: bool = False
    """Delete in spite of a governance-mode retention (needs the permission for it)."""

    async def apply(self, task: Task, store: ObjectStore) -> Outcome:
        """Delete one object. In doubt: HEAD first; gone (delete marker included) → success; written since the first attempt →
        `ChangedSinceAttempt`, untouched; else delete. A version is deleted again at once, for it cannot have been written anew;
        the version `null` can. A last try of unknown fate is read back."""
        first_attempt_ms = task.first_attempt_ms
        unknown: StoreError | None = None
        for number in range(TRIES_MAX):
            if unknown is not None:
                await pause(task, number - 1)
            if first_attempt_ms is not None and task.version in _REWRITABLE:
                found = await self._look_back(task, store, first_attempt_ms)
                if found is not None:
                    return found
            try:
                return await store.delete_object(
                    task.bucket, task.key, task.version, if_match=task.etag, bypass_governance=self.bypass_governance
                )
            except StoreError as error:
                if first_attempt_ms is not None and error.status == 404 and error.code != "NoSuchBucket":
                    return DELETED  # an earlier attempt did it; on a first one 404 is what the store says
                if not error.unknown:
                    raise
                unknown = error
                if first_attempt_ms is None:
                    first_attempt_ms = error.since_ms or 0
        assert unknown is not None
        await pause(task, TRIES_MAX - 1)
        found = await self._look_back(task, store, first_attempt_ms or 0)
        return found or unknown.outcome()

    async def _look_back(self, task: Task, store: ObjectStore, first_attempt_ms: int) -> Outcome | None:
        """How the task ended, by what is there now; None = the object is there as it was before the first attempt."""
        try:
            head = await look(store, task.bucket, task.key, task.version)
        except StoreError as error:
            return unknown_outcome(error)
        if head is None:
            return DELETED
        if task.version in _REWRITABLE and changed_since(head, first_attempt_ms, store):
            return changed_outcome("the object")
        return None

    async def apply_batch(self, tasks: Sequence[Task], store: ObjectStore) -> Sequence[Outcome]:
        """DeleteObjects for fresh tasks of one bucket, each key with its own outcome. Those that it may have deleted without an
        answer are in doubt and go on alone."""
        try:
            return await store.delete_objects(tasks[0].bucket, tasks, bypass_governance=self.bypass_governance)
        except StoreError as error:
            if not error.unknown:
                raise
            since_ms = error.since_ms or 0
            known = error.outcomes if isinstance(error, BatchInDoubt) else [None] * len(tasks)
        alone = [
            self._alone(msgspec.structs.replace(task, first_attempt_ms=task.first_attempt_ms or since_ms), store)
            for task, outcome in zip(tasks, known, strict=True)
            if outcome is None
        ]
        found = iter(await Gather(alone, min(SINGLE_WIDTH, store.width)))
        return [next(found) if outcome is None else outcome for outcome in known]

    async def _alone(self, task: Task, store: ObjectStore) -> Outcome:
        try:
            return await self.apply(task, store)
        except StoreError as error:
            return error.outcome()

    async def disproof(self, task: Task, store: ObjectStore, begun_ms: int) -> Disproof | None:
        """The object is still there, and was not written since. A version that is gone is gone: nobody brings it back."""
        head = await look(store, task.bucket, task.key, task.version)
        if head is None or (task.version is None and changed_since(head, begun_ms, store)):
            return None
        certain = task.version not in _REWRITABLE
        return Disproof("the delete answered success and the object was still there", certain)

    def target(self, bucket: str, key: bytes) -> tuple[str, bytes] | None:  # noqa: ARG002 - the port's signature
        """The row's own object."""
        return None

    def buckets(self) -> Sequence[str]:
        """None but the rows'."""
        return ()
