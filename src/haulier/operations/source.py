"""What a copy that adds to its source takes from it: metadata, tags and ACL, read from the very version that is copied then."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

import msgspec

from haulier.core.acl import Acl
from haulier.core.ports import ObjectStore
from haulier.core.task import Outcome, Task
from haulier.operations.metadata import NewMetadata, Unmergeable
from haulier.operations.put_tagging import too_many

Headers = tuple[tuple[str, str], ...]


class Refused(Exception):
    """The task fails before anything is changed."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a copy needs to know of its source. None = nothing of this kind."""

    metadata: NewMetadata | None = None
    """To be laid over the source's."""
    tags: Mapping[str, str] | None = None
    """To be merged with the source's."""
    acl: bool = False
    modified_since_ms: int | None = None
    unmodified_since_ms: int | None = None


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What was read. The headers hold the copy to the same version and content."""

    headers: Headers = ()
    version: bytes | None = None
    acl: Acl | None = None


NOTHING: Final = Taken()


def metadata_headers(metadata: list[tuple[str, str]]) -> Headers:
    """Headers of CopyObject for exactly this metadata."""
    return ("x-amz-metadata-directive", "REPLACE"), *metadata


def tag_headers(tags: Mapping[str, str]) -> Headers:
    """Headers of CopyObject for exactly these tags."""
    pairs = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in tags.items())
    return ("x-amz-tagging-directive", "REPLACE"), ("x-amz-tagging", pairs)


def if_match(etag: str) -> tuple[str, str]:
    """The header of CopyObject that holds it to a source with this ETag."""
    return "x-amz-copy-source-if-match", f'"{etag}"'


async def take(task: Task, store: ObjectStore, wanted: Wanted) -> Taken:
    """Read the source. Raises Refused, and StoreError for what the store refuses."""
    head = await store.head_object(task.bucket, task.key, task.version)
    seconds = head.modified_ms // 1000
    if (
        (task.etag is not None and head.etag != task.etag)
        or (wanted.modified_since_ms is not None and seconds <= wanted.modified_since_ms // 1000)
        or (wanted.unmodified_since_ms is not None and seconds > wanted.unmodified_since_ms // 1000)
    ):
        # Looked at here, because beside an If-Match that holds S3 passes over If-Unmodified-Since.
        raise Refused(Outcome(412, "PreconditionFailed", "the source does not meet a condition"))
    version = task.version
    if version is None and head.version not in (None, "null"):
        version = str(head.version).encode()
    headers: Headers = (if_match(head.etag),)
    if wanted.metadata is not None:
        try:
            headers += metadata_headers(wanted.metadata.over(head))
        except Unmergeable as problem:
            raise Refused(Outcome(400, "InvalidRequest", f"metadata cannot be added: {problem}")) from None
    if wanted.tags is not None:
        tags = {**await store.get_tags(task.bucket, task.key, version), **wanted.tags}
        refusal = too_many(tags)
        if refusal is not None:
            raise Refused(refusal)
        headers += tag_headers(tags)
    acl = await store.get_acl(task.bucket, task.key, version) if wanted.acl else None
    return Taken(headers=headers, version=version, acl=acl)
