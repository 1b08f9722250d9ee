"""Copy each object to a bucket, under the same or another key, with what comes along or is set anew."""

from collections.abc import Sequence
from email.utils import formatdate
from functools import cached_property
from typing import ClassVar, Literal
from urllib.parse import quote

import msgspec

from haulier.core.errors import StoreError
from haulier.core.job import Dialect
from haulier.core.ports import Copied, ObjectHead, ObjectStore
from haulier.core.task import Outcome, Task
from haulier.operations.replay import (
    TRIES_MAX,
    changed_outcome,
    changed_since,
    incomparable_outcome,
    look,
    pause,
    unknown_outcome,
)
from haulier.operations.traces import comparable, same_content, shows, shows_all

COPIED = Outcome(200, None, "Successful")
_TOO_LARGE = "larger than the maximum"
"""How S3 words its InvalidRequest for a source above 5 GiB."""


class Refused(Exception):
    """The key has no place in the target; no request was made."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome


class NewMetadata(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Metadata that replaces the source's, all of it: what is None here the copy does not have. `expires_ms` is Unix time."""

    content_type: str | None = None
    cache_control: str | None = None
    content_disposition: str | None = None
    content_encoding: str | None = None
    content_language: str | None = None
    expires_ms: int | None = None
    user: dict[str, str] = {}

    def headers(self) -> list[tuple[str, str]]:
        """As headers of CopyObject."""
        named = (
            ("content-type", self.content_type),
            ("cache-control", self.cache_control),
            ("content-disposition", self.content_disposition),
            ("content-encoding", self.content_encoding),
            ("content-language", self.content_language),
            ("expires", None if self.expires_ms is None else http_date(self.expires_ms)),
        )
        user = [(f"x-amz-meta-{name.lower()}", value) for name, value in self.user.items()]
        return [(name, value) for name, value in named if value is not None] + user


class Copy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """CopyObject for each row (S3PutObjectCopy, COSPutObjectCopy): one request per object, done by the store.

    In doubt: HEAD the target; the source's ETag and size, written since the first attempt → success; another object written
    since → `ChangedSinceAttempt`, untouched (`OutcomeUnknown` where ETags cannot be compared); else copy again. In place: what
    the copy sets is on the object → success; else as above. Objects above 5 GiB fail with the store's own refusal.
    """

    name: ClassVar[str] = "copy"
    batch_rows: ClassVar[int] = 1

    target_bucket: str
    dialect: Dialect
    replace_prefix: tuple[str, str] | None = None
    """COS PrefixReplace: the key must begin with the first (maybe empty), which gives way to the second."""
    folder: str | None = None
    """S3 TargetKeyPrefix: the folder the objects are copied into; exactly one slash stands between it and the key."""
    metadata: Literal["copy"] | NewMetadata = "copy"
    tags: Literal["copy"] | dict[str, str] = "copy"
    canned_acl: str | None = None
    storage_class: str | None = None
    sse: str | None = None
    """As in the header: `AES256`, `aws:kms`."""
    sse_kms_key: str | None = None
    bucket_key: bool | None = None
    checksum: str | None = None
    redirect: str | None = None
    modified_since_ms: int | None = None
    unmodified_since_ms: int | None = None
    key_bytes_max: int = 1024
    """Longer target keys fail with KeyTooLong (S3 1,024, COS 850)."""

    def __post_init__(self) -> None:
        """Raises ValueError for parameters that contradict each other or that no header can carry."""
        if self.replace_prefix is not None and self.folder is not None:
            raise ValueError("folder: cannot stand beside replace_prefix")
        for name, value in self.headers:
            if not value.isprintable():
                raise ValueError(f"the value of {name} holds a control character")

    @cached_property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """What each CopyObject carries besides its source: made once per job."""
        found: list[tuple[str, str]] = []
        if not isinstance(self.metadata, str):
            found.append(("x-amz-metadata-directive", "REPLACE"))
            found += self.metadata.headers()
        if not isinstance(self.tags, str):
            pairs = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in self.tags.items())
            found += [("x-amz-tagging-directive", "REPLACE"), ("x-amz-tagging", pairs)]
        optional = (
            ("x-amz-acl", self.canned_acl),
            ("x-amz-storage-class", self.storage_class),
            ("x-amz-server-side-encryption", self.sse),
            ("x-amz-server-side-encryption-aws-kms-key-id", self.sse_kms_key),
            (
                "x-amz-server-side-encryption-bucket-key-enabled",
                None if self.bucket_key is None else str(self.bucket_key).lower(),
            ),
            ("x-amz-checksum-algorithm", self.checksum),
            ("x-amz-website-redirect-location", self.redirect),
            ("x-amz-copy-source-if-modified-since", self._date(self.modified_since_ms)),
            ("x-amz-copy-source-if-unmodified-since", self._date(self.unmodified_since_ms)),
        )
        found += [(name, value) for name, value in optional if value is not None]
        return tuple(found)

    @staticmethod
    def _date(time_ms: int | None) -> str | None:
        return None if time_ms is None else http_date(time_ms)

    @cached_property
    def _prefixes(self) -> tuple[bytes, bytes]:
        """What is taken off the key, and what is put before the rest."""
        if self.replace_prefix is not None:
            old, new = self.replace_prefix
            return old.encode(), new.encode()
        if self.folder is not None:
            return b"", self.folder.rstrip("/").encode() + b"/"
        return b"", b""

    @property
    def _changes_nothing(self) -> bool:
        """Whether a copy onto itself would be refused by S3 and COS."""
        return isinstance(self.metadata, str) and not (self.storage_class or self.sse or self.redirect or self.sse_kms_key)

    # -- keys -----------------------------------------------------------------------------------------------------------------

    def target(self, bucket: str, key: bytes) -> tuple[str, bytes] | None:  # noqa: ARG002 - the port's signature
        """Bucket and key of the copy; None where the key has no place there (the task will fail by itself)."""
        try:
            return self.target_bucket, self.target_key(key)
        except Refused:
            return None

    def target_key(self, key: bytes) -> bytes:
        """The key of the copy. Raises Refused."""
        old, new = self._prefixes
        if old and not key.startswith(old):
            raise Refused(Outcome(400, "InvalidArgument", f"the key does not begin with {old.decode()!r}"))
        made = new + key[len(old) :]
        if not made:
            raise Refused(Outcome(400, "InvalidArgument", "nothing of the key is left once its prefix is taken off"))
        if len(made) > self.key_bytes_max:
            text = f"the target key has {len(made)} bytes; {self.key_bytes_max} are allowed"
            raise Refused(Outcome(400, "KeyTooLong", text))
        return made

    def buckets(self) -> Sequence[str]:
        """The target bucket."""
        return (self.target_bucket,)

    # -- doing it ---------------------------------------------------------------------------------------------------------------

    async def apply(self, task: Task, store: ObjectStore) -> Outcome:
        """Copy one object."""
        try:
            key = self.target_key(task.key)
        except Refused as refused:
            return refused.outcome
        if key == task.key and task.bucket == self.target_bucket and task.version is None and self._changes_nothing:
            return Outcome(400, "InvalidRequest", "a copy of an object onto itself must change its metadata, class or encryption")
        headers = self.headers
        if task.etag is not None:
            headers = (*headers, ("x-amz-copy-source-if-match", f'"{task.etag}"'))
        first_attempt_ms = task.first_attempt_ms
        unknown: StoreError | None = None
        for number in range(TRIES_MAX):
            if first_attempt_ms is not None:
                outcome = await self._look_back(task, key, store, first_attempt_ms, unknown, number)
                if outcome is not None:
                    return outcome
            try:
                copied = await store.copy_object(task.bucket, task.key, task.version, self.target_bucket, key, headers)
            except StoreError as error:
                if not error.unknown:
                    return _refusal(error)
                unknown = error
                if first_attempt_ms is None:
                    first_attempt_ms = error.since_ms or 0
            else:
                return self._succeeded(copied)
        assert unknown is not None
        outcome = await self._look_back(task, key, store, first_attempt_ms or 0, unknown, TRIES_MAX)
        return outcome or Outcome(unknown.status, unknown.code, unknown.message)

    def _succeeded(self, copied: Copied) -> Outcome:
        if copied.version is None or self.dialect != "cos":
            return COPIED
        return Outcome(200, None, f"Successful; new version {copied.version}")

    async def _look_back(
        self, task: Task, key: bytes, store: ObjectStore, first_attempt_ms: int, unknown: StoreError | None, number: int
    ) -> Outcome | None:
        """What became of the tries so far; None = they have left no trace. `unknown` is how the last one ended, None if it was
        an earlier attempt's."""
        if unknown is not None:
            await pause(task, number - 1)
        try:
            return await self._settle(task, key, store, first_attempt_ms)
        except StoreError as unread:
            if unknown is None:
                raise
            return unknown_outcome(unread)

    async def _settle(self, task: Task, key: bytes, store: ObjectStore, first_attempt_ms: int) -> Outcome | None:
        """What the target says about a try of unknown fate; None = it has left no trace."""
        target = await look(store, self.target_bucket, key)
        if target is None:
            return None
        changed = changed_since(target, first_attempt_ms, store)
        if self._is_source(task, key, target):
            return await self._settle_in_place(task, target, store, changed=changed)
        if not changed:
            return None
        if target.etag == task.etag and target.size == task.size:
            return self._succeeded(Copied(target.etag, target.version))
        if task.size is not None and target.size != task.size:
            return changed_outcome("the target")
        source = await look(store, task.bucket, task.key, task.version)
        if source is None or (task.etag is not None and source.etag != task.etag):
            # Nothing is left to compare with but the manifest's ETag, if it has one.
            known = task.etag is None or comparable(task.etag)
            return changed_outcome("the target") if known else incomparable_outcome()
        same = same_content(target, source)
        if same is None:
            return incomparable_outcome()
        return self._succeeded(Copied(target.etag, target.version)) if same else changed_outcome("the target")

    def _is_source(self, task: Task, key: bytes, target: ObjectHead) -> bool:
        """Whether the target is the very object that the row names, so that its content tells nothing of a copy."""
        if key != task.key or self.target_bucket != task.bucket:
            return False
        return task.version is None or task.version == (target.version or "null").encode()

    async def _settle_in_place(self, task: Task, target: ObjectHead, store: ObjectStore, *, changed: bool) -> Outcome | None:
        """What an object says about a copy onto itself: content and time are anyone's, only what the copy sets is its own."""
        present = not self._changes_nothing and shows(target, self.headers) and task.size in (None, target.size)
        if present and not isinstance(self.tags, str):
            present = dict(await store.get_tags(self.target_bucket, task.key)) == self.tags
        if present and (changed or shows_all(self.headers)):
            return self._succeeded(Copied(target.etag, target.version))
        return changed_outcome("the object") if changed else None

    async def apply_batch(self, tasks: Sequence[Task], store: ObjectStore) -> Sequence[Outcome]:
        """Not used: `batch_rows` is 1."""
        return [await self.apply(task, store) for task in tasks]


def _refusal(error: StoreError) -> Outcome:
    """A final refusal as the task's outcome."""
    if error.code == "EntityTooLarge" or (error.code == "InvalidRequest" and _TOO_LARGE in error.message):
        text = f"the object is too large for one CopyObject (5 GiB); copies in parts are not implemented yet: {error.message}"
        return Outcome(error.status, "EntityTooLarge", text)
    raise error


def http_date(time_ms: int) -> str:
    """Unix milliseconds as a date in a header, to the second."""
    return formatdate(time_ms / 1000, usegmt=True)
