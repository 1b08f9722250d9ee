"""Replace the tag set of each object, or add tags to it."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import msgspec

from haulier.core.errors import StoreError
from haulier.core.ports import ObjectStore
from haulier.core.task import Disproof, Outcome, Task
from haulier.operations.replay import TRIES_MAX, changed_since, look, pause, unknown_outcome

TAGS_MAX = 10
"""Of S3 and COS alike."""
DOCUMENT_BYTES = 512
"""By so much of its beginning the document of a PutObjectTagging is known."""
TAGGED = Outcome(200, None, "Successful")


def too_many(tags: Mapping[str, str]) -> Outcome | None:
    """The failure of a task whose object would have more tags than one can have; None when it can."""
    if len(tags) <= TAGS_MAX:
        return None
    return Outcome(400, "InvalidTag", f"the object would have {len(tags)} tags; {TAGS_MAX} are allowed")


class PutTagging(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Set exactly these tags (`replace`), or merge them over the present ones (`add`), on each object or version
    (S3PutObjectTagging, COSPutObjectTagging).

    `add` reads, merges and writes; a change made by others in between is lost. In doubt: `replace` is repeated, `add` reads
    and merges anew (reliability §3).
    """

    name: ClassVar[str] = "put_tagging"
    batch_rows: ClassVar[int] = 1

    tags: dict[str, str]
    mode: Literal["replace", "add"] = "replace"

    async def apply(self, task: Task, store: ObjectStore) -> Outcome:
        """Tag one object. More than 10 tags → 400 InvalidTag, untouched."""
        unknown: StoreError | None = None
        for number in range(TRIES_MAX):
            tags = self.tags
            if self.mode == "add":
                present = await store.get_tags(task.bucket, task.key, task.version)
                tags = {**present, **tags}
                if tags == present:
                    return TAGGED
            refusal = too_many(tags)
            if refusal is not None:
                return refusal
            try:
                await store.put_tags(task.bucket, task.key, task.version, tags)
            except StoreError as error:
                if not error.unknown:
                    raise
                unknown = error
            else:
                return TAGGED
            found = await self._read_back(task, store, tags)
            if found is not None:
                return found
            await pause(task, number)
        assert unknown is not None
        return unknown.outcome()

    async def _read_back(self, task: Task, store: ObjectStore, tags: dict[str, str]) -> Outcome | None:
        """How a try of unknown fate ended; None = the object has other tags still."""
        try:
            present = await store.get_tags(task.bucket, task.key, task.version)
        except StoreError as unread:
            return unread.outcome() if unread.status == 404 else unknown_outcome(unread)
        return TAGGED if present == tags else None

    async def apply_batch(self, tasks: Sequence[Task], store: ObjectStore) -> Sequence[Outcome]:
        """Not used: `batch_rows` is 1."""
        return [await self.apply(task, store) for task in tasks]

    async def disproof(self, task: Task, store: ObjectStore, begun_ms: int) -> Disproof | None:
        """The object is gone, or has become the request's own document, or has other tags though nobody has written it anew."""
        head = await look(store, task.bucket, task.key, task.version)
        if head is None:
            return Disproof("PutObjectTagging answered success and the object was gone")
        # What is empty now may be what the store made of the request, so only content speaks for another writer.
        rewritten = head.size > 0 and changed_since(head, begun_ms, store)
        if rewritten:
            part = await store.get_object(task.bucket, task.key, task.version, length=DOCUMENT_BYTES)
            if b"<Tagging" in part.data:
                seen = "PutObjectTagging answered success and the object's content was the list of tags"
                return Disproof(seen, certain=True)
        present = await store.get_tags(task.bucket, task.key, task.version)
        kept = dict(present) == self.tags if self.mode == "replace" else self.tags.items() <= present.items()
        return None if kept or rewritten else Disproof("PutObjectTagging answered success and the tags were not there")

    def target(self, bucket: str, key: bytes) -> tuple[str, bytes] | None:  # noqa: ARG002 - the port's signature
        """The row's own object."""
        return None

    def buckets(self) -> Sequence[str]:
        """None but the rows'."""
        return ()
