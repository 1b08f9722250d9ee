"""Copy each object to a bucket, under the same or another key, with what comes along or is set anew."""

from collections.abc import Sequence
from email.utils import formatdate
from functools import cached_property
from typing import ClassVar, Literal
from urllib.parse import quote

import msgspec

from haulier.core.errors import StoreError
from haulier.core.job import Dialect
from haulier.core.ports import Copied, ObjectStore
from haulier.core.task import Outcome, Task
from haulier.operations.replay import changed_outcome, changed_since, look, unknown_outcome

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
    since → `ChangedSinceAttempt`, untouched; else copy again. Objects above 5 GiB fail with the store's own refusal.
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
        if task.first_attempt_ms is not None:
            outcome = await self._settle(task, key, store, task.first_attempt_ms)
            if outcome is not None:
                return outcome
        headers = self.headers
        if task.etag is not None:
            headers = (*headers, ("x-amz-copy-source-if-match", f'"{task.etag}"'))
        try:
            copied = await store.copy_object(task.bucket, task.key, task.version, self.target_bucket, key, headers)
        except StoreError as error:
            return await self._failed(task, key, store, error)
        return self._succeeded(copied)

    def _succeeded(self, copied: Copied) -> Outcome:
        if copied.version is None or self.dialect != "cos":
            return COPIED
        return Outcome(200, None, f"Successful; new version {copied.version}")

    async def _failed(self, task: Task, key: bytes, store: ObjectStore, error: StoreError) -> Outcome:
        if error.code == "EntityTooLarge" or (error.code == "InvalidRequest" and _TOO_LARGE in error.message):
            text = f"the object is too large for one CopyObject (5 GiB); copies in parts are not implemented yet: {error.message}"
            return Outcome(error.status, "EntityTooLarge", text)
        if not error.unknown:
            raise error
        try:
            outcome = await self._settle(task, key, store, task.first_attempt_ms or error.since_ms or 0)
        except StoreError as unread:
            return unknown_outcome(unread)
        return outcome or Outcome(error.status, error.code, error.message)

    async def _settle(self, task: Task, key: bytes, store: ObjectStore, first_attempt_ms: int) -> Outcome | None:
        """What the target says about an attempt of unknown fate; None = it has left no trace."""
        target = await look(store, self.target_bucket, key)
        if target is None or not changed_since(target, first_attempt_ms, store):
            return None
        etag, size = task.etag, task.size
        if etag is None or size is None:
            source = await look(store, task.bucket, task.key, task.version)
            if source is None:
                return changed_outcome("the target")
            etag, size = source.etag, source.size
        if target.etag == etag and target.size == size:
            return self._succeeded(Copied(target.etag, target.version))
        return changed_outcome("the target")

    async def apply_batch(self, tasks: Sequence[Task], store: ObjectStore) -> Sequence[Outcome]:
        """Not used: `batch_rows` is 1."""
        return [await self.apply(task, store) for task in tasks]


def http_date(time_ms: int) -> str:
    """Unix milliseconds as a date in a header, to the second."""
    return formatdate(time_ms / 1000, usegmt=True)
