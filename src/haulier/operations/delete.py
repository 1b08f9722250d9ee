"""Delete objects or versions: fresh rows in batches of DeleteObjects, rows in doubt one by one."""

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from haulier.core.effects import Gather
from haulier.core.errors import StoreError
from haulier.core.ports import ObjectStore
from haulier.core.task import Outcome, Task
from haulier.operations.replay import TRIES_MAX, changed_outcome, changed_since, look, unknown_outcome

SINGLE_WIDTH = 16
"""Deletes at a time when a batch has to be done one by one."""
DELETED = Outcome(204)


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
        `ChangedSinceAttempt`, untouched; else delete. A version is deleted again at once: it cannot have been written anew."""
        first_attempt_ms = task.first_attempt_ms
        unknown: StoreError | None = None
        for _ in range(TRIES_MAX):
            if first_attempt_ms is not None and task.version is None:
                try:
                    head = await look(store, task.bucket, task.key)
                except StoreError as error:
                    if unknown is None:
                        raise
                    return unknown_outcome(error)
                if head is None:
                    return DELETED
                if changed_since(head, first_attempt_ms, store):
                    return changed_outcome("the object")
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
        return unknown_outcome(unknown)

    async def apply_batch(self, tasks: Sequence[Task], store: ObjectStore) -> Sequence[Outcome]:
        """DeleteObjects for fresh tasks of one bucket, each key with its own outcome. If it may have been carried out without an
        answer, every task is in doubt and goes on alone."""
        try:
            return await store.delete_objects(tasks[0].bucket, tasks, bypass_governance=self.bypass_governance)
        except StoreError as error:
            if not error.unknown:
                raise
            since_ms = error.since_ms or 0
        return await Gather(
            [
                self._alone(msgspec.structs.replace(task, first_attempt_ms=task.first_attempt_ms or since_ms), store)
                for task in tasks
            ],
            SINGLE_WIDTH,
        )

    async def _alone(self, task: Task, store: ObjectStore) -> Outcome:
        try:
            return await self.apply(task, store)
        except StoreError as error:
            return Outcome(error.status, error.code, error.message)

    def target(self, bucket: str, key: bytes) -> tuple[str, bytes] | None:  # noqa: ARG002 - the port's signature
        """The row's own object."""
        return None

    def buckets(self) -> Sequence[str]:
        """None but the rows'."""
        return ()
