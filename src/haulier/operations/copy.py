"""Copy each object to a bucket, under the same or another key, with what comes along or is set anew."""

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from haulier.core import acl
from haulier.core.errors import StoreError
from haulier.core.headers import uncarried
from haulier.core.job import Dialect
from haulier.core.ports import Copied, ObjectHead, ObjectStore
from haulier.core.task import Disproof, Outcome, Task
from haulier.operations.access import grant
from haulier.operations.metadata import DESCRIBING, Moment, NewMetadata, Unmergeable, http_date
from haulier.operations.replay import (
    TRIES_MAX,
    changed_outcome,
    changed_since,
    incomparable_outcome,
    look,
    pause,
    unknown_outcome,
)
from haulier.operations.source import NOTHING, Headers, Refused, Taken, Wanted, if_match, metadata_headers, tag_headers, take
from haulier.operations.traces import comparable, lacks, same_content, shows, shows_all

__all__ = ["Copy", "NewMetadata"]

CannedAcl = Literal[
    "private",
    "public-read",
    "public-read-write",
    "authenticated-read",
    "aws-exec-read",
    "bucket-owner-read",
    "bucket-owner-full-control",
]
Checksum = Literal["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256", "SHA512", "MD5", "XXHASH64", "XXHASH3", "XXHASH128"]
"""What S3 knows; which of them a store knows is the store's to say."""
KeyPart = Annotated[str, Meta(max_length=1024)]
COPIED = Outcome(200, None, "Successful")
_TOO_LARGE = "larger than the maximum"
"""How S3 words its InvalidRequest for a source above 5 GiB."""


class Copy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """CopyObject for each row (S3PutObjectCopy, COSPutObjectCopy): one request per object, done by the store.

    What is added to the source's own (`…_mode = "add"`, `inherit_acl`) is read first, and the copy held to the version that was
    read. An access control list is set once the copy is there, and read back.

    In doubt: HEAD the target; the source's ETag and size, written since the first attempt → success; another object written
    since → `ChangedSinceAttempt`, untouched (`OutcomeUnknown` where ETags cannot be compared); else copy again. In place: what
    the copy sets is on the object → success; else as above. The list is looked at again in any case. Objects above 5 GiB fail
    with the store's own refusal.
    """

    name: ClassVar[str] = "copy"
    batch_rows: ClassVar[int] = 1

    target_bucket: str
    dialect: Dialect
    replace_prefix: tuple[KeyPart, KeyPart] | None = None
    """COS PrefixReplace: the key must begin with the first (maybe empty), which gives way to the second."""
    folder: Annotated[str, Meta(min_length=1, max_length=1024)] | None = None
    """S3 TargetKeyPrefix: the folder the objects are copied into; exactly one slash stands between it and the key."""
    metadata: Literal["copy"] | NewMetadata = "copy"
    metadata_mode: Literal["replace", "add"] = "replace"
    tags: Literal["copy"] | dict[str, str] = "copy"
    tags_mode: Literal["replace", "add"] = "replace"
    canned_acl: CannedAcl | None = None
    inherit_acl: bool = False
    """The copy gets the source's access control list; else it gets the store's usual one."""
    grants: tuple[acl.Grant, ...] = ()
    """Added to that list, or, without `inherit_acl`, set beside the owner's full control."""
    storage_class: Annotated[str, Meta(pattern="^[A-Za-z0-9_.-]{1,64}$")] | None = None
    """By the store's own name for it: on Ceph the operator makes them."""
    sse: Literal["AES256", "aws:kms"] | None = None
    """As in the header."""
    sse_kms_key: Annotated[str, Meta(min_length=1, max_length=2000)] | None = None
    bucket_key: bool | None = None
    checksum: Checksum | None = None
    redirect: Annotated[str, Meta(min_length=1, max_length=2048)] | None = None
    modified_since_ms: Moment | None = None
    unmodified_since_ms: Moment | None = None
    key_bytes_max: int = 1024
    """Longer target keys fail with KeyTooLong (S3 1,024, COS 850)."""

    def __post_init__(self) -> None:
        """Raises ValueError for parameters that contradict each other or that no header can carry."""
        if self.replace_prefix is not None and self.folder is not None:
            raise ValueError("folder: cannot stand beside replace_prefix")
        if self.canned_acl is not None and (self.inherit_acl or self.grants):
            raise ValueError("canned_acl: cannot stand beside inherit_acl or grants")
        if self.sse_kms_key is not None and self.sse == "AES256":
            raise ValueError("sse_kms_key: needs sse aws:kms; it is AES256")
        if self.bucket_key and self.sse != "aws:kms":
            raise ValueError("bucket_key: needs sse aws:kms")
        new_metadata = [] if isinstance(self.metadata, str) else self.metadata.headers()
        for name, value in (*self.headers, *new_metadata):
            if bad := uncarried(value):
                raise ValueError(f"the value of {name} holds the control character {bad}, which no header can carry")
            if name in DESCRIBING and not value.strip():
                raise ValueError(f"the value of {name} is blank, which stores take for none; leave it out")

    @cached_property
    def headers(self) -> Headers:
        """What each CopyObject carries besides its source and what is added to the source's own: made once per job."""
        found: list[tuple[str, str]] = []
        if not isinstance(self.metadata, str) and self.metadata_mode == "replace":
            found += metadata_headers(self.metadata.headers())
        if not isinstance(self.tags, str) and self.tags_mode == "replace":
            found += tag_headers(self.tags)
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
    def _wanted(self) -> Wanted:
        """What is taken from each source besides its content."""
        return Wanted(
            metadata=None if isinstance(self.metadata, str) or self.metadata_mode == "replace" else self.metadata,
            tags=None if isinstance(self.tags, str) or self.tags_mode == "replace" else self.tags,
            acl=self.inherit_acl,
            modified_since_ms=self.modified_since_ms,
            unmodified_since_ms=self.unmodified_since_ms,
        )

    @cached_property
    def _reads_source(self) -> bool:
        wanted = self._wanted
        return wanted.metadata is not None or wanted.tags is not None or wanted.acl

    @cached_property
    def sets_acl(self) -> bool:
        """Whether the copies get an access control list other than the store's usual one."""
        return self.canned_acl is not None or self.inherit_acl or bool(self.grants)

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
        first_attempt_ms = task.first_attempt_ms
        taken = NOTHING if task.etag is None and task.version is None and not self._reads_source else None
        unknown: StoreError | None = None
        for number in range(TRIES_MAX):
            if first_attempt_ms is not None:
                found = await self._look_back(task, key, store, first_attempt_ms, unknown, number)
                if found is not None:
                    return await self._ended(found, task, key, store, taken)
            try:
                taken = taken or await self._take(task, store)
            except Refused as refused:
                return refused.outcome
            headers = (*self.headers, *taken.headers) if taken.headers else self.headers
            try:
                copied = await store.copy_object(task.bucket, task.key, taken.version, self.target_bucket, key, headers)
            except StoreError as error:
                if not error.unknown:
                    return _refusal(error)
                unknown = error
                if first_attempt_ms is None:
                    first_attempt_ms = error.since_ms or 0
            else:
                return await self._ended(copied, task, key, store, taken) if self.sets_acl else self._succeeded(copied)
        assert unknown is not None
        found = await self._look_back(task, key, store, first_attempt_ms or 0, unknown, TRIES_MAX)
        return await self._ended(found or unknown.outcome(), task, key, store, taken)

    async def _take(self, task: Task, store: ObjectStore) -> Taken:
        """What must be known of the source. Raises Refused."""
        if self._reads_source or (task.etag is not None and self.unmodified_since_ms is not None):
            return await take(task, store, self._wanted)
        return Taken(headers=() if task.etag is None else (if_match(task.etag),), version=task.version)

    async def _ended(self, found: Copied | Outcome, task: Task, key: bytes, store: ObjectStore, taken: Taken | None) -> Outcome:
        """The task's outcome once the copy is there, or cannot be. Sees to the access control list."""
        if isinstance(found, Outcome):
            return found
        if self.sets_acl:
            failed = await self._set_acl(found, task, key, store, taken)
            if failed is not None:
                return failed
        return self._succeeded(found)

    def _succeeded(self, copied: Copied) -> Outcome:
        if copied.version is None or self.dialect != "cos":
            return COPIED
        return Outcome(200, None, f"Successful; new version {copied.version}")

    async def _set_acl(self, copied: Copied, task: Task, key: bytes, store: ObjectStore, taken: Taken | None) -> Outcome | None:
        """Give the copy its access control list; how the task failed, None when all is well."""
        version = None if copied.version in (None, "null") else copied.version.encode()
        canned = self.canned_acl
        if canned is not None:
            return await grant(
                store,
                self.target_bucket,
                key,
                version,
                set_to=lambda _owner: canned,
                fits=lambda present: acl.shows_canned(present, canned),
            )
        source = None if taken is None else taken.acl
        if self.inherit_acl and source is None:
            if key == task.key and task.bucket == self.target_bucket and task.version in (None, b"null"):
                # The copy has taken the place of the only object that had the list.
                text = "the object was copied onto itself by an earlier attempt; what access control list it had is not known"
                return Outcome(409, "OutcomeUnknown", text)
            try:
                source = await store.get_acl(task.bucket, task.key, task.version)
            except StoreError as error:
                return unknown_outcome(error)
        return await grant(
            store,
            self.target_bucket,
            key,
            version,
            set_to=lambda owner: acl.of_target(owner, source, self.grants),
            fits=lambda present: acl.same(present, acl.of_target(present.owner, source, self.grants)),
        )

    async def _look_back(
        self, task: Task, key: bytes, store: ObjectStore, first_attempt_ms: int, unknown: StoreError | None, number: int
    ) -> Copied | Outcome | None:
        """What became of the tries so far: the copy, or how the task failed; None = they have left no trace. `unknown` is how the
        last one ended, None if it was an earlier attempt's."""
        if unknown is not None:
            await pause(task, number - 1)
        try:
            return await self._settle(task, key, store, first_attempt_ms)
        except StoreError as unread:
            return unknown_outcome(unread)

    async def _settle(self, task: Task, key: bytes, store: ObjectStore, first_attempt_ms: int) -> Copied | Outcome | None:
        """What the target says about a try of unknown fate; None = it has left no trace."""
        target = await look(store, self.target_bucket, key)
        if target is None:
            return None
        there = Copied(target.etag, target.version)
        changed = changed_since(target, first_attempt_ms, store)
        if self._is_source(task, key, target):
            present = await self._present_in_place(task, target, store, changed=changed)
            return there if present else (changed_outcome("the object") if changed else None)
        if not changed:
            return None
        if target.etag == task.etag and target.size == task.size:
            return there
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
        return there if same else changed_outcome("the target")

    def _is_source(self, task: Task, key: bytes, target: ObjectHead) -> bool:
        """Whether the target is the very object that the row names, so that its content tells nothing of a copy."""
        if key != task.key or self.target_bucket != task.bucket:
            return False
        return task.version is None or task.version == (target.version or "null").encode()

    async def _present_in_place(self, task: Task, target: ObjectHead, store: ObjectStore, *, changed: bool) -> bool:
        """Whether an object shows that it was copied onto itself: content and time are anyone's, only what the copy sets is its
        own. What is merged a second time is the same as the first time."""
        if self._changes_nothing or task.size not in (None, target.size):
            return False
        headers = self.headers
        if not isinstance(self.metadata, str) and self.metadata_mode == "add":
            try:
                headers += metadata_headers(self.metadata.over(target))
            except Unmergeable:
                return False
        if not shows(target, headers) or not (changed or (shows_all(headers) and not self.sets_acl)):
            return False
        if isinstance(self.tags, str):
            return True
        present = await store.get_tags(self.target_bucket, task.key)
        return dict(present) == (self.tags if self.tags_mode == "replace" else {**present, **self.tags})

    async def disproof(self, task: Task, store: ObjectStore, begun_ms: int) -> Disproof | None:  # noqa: ARG002 - the port's signature
        """There is no copy, or it lacks what the request set. What has other content than the source is somebody else's."""
        key = self.target_key(task.key)
        target = await look(store, self.target_bucket, key)
        if target is None:
            return Disproof("CopyObject answered success and there was no copy")
        if task.size is not None and target.size != task.size:
            return Disproof(f"CopyObject answered success and the copy had {target.size} bytes, not {task.size}")
        lacks = await self._lacks(key, target, store)
        if lacks is not None:
            source = await look(store, task.bucket, task.key, task.version)
            if source is None or same_content(target, source) is False:
                return None
        return None if lacks is None else Disproof(lacks)

    async def _lacks(self, key: bytes, target: ObjectHead, store: ObjectStore) -> str | None:
        lost = lacks(target, self.headers)
        if lost is not None:
            return f"CopyObject answered success and the copy had other {lost}"
        if isinstance(self.tags, str) or self.tags_mode != "replace":
            return None
        tags = await store.get_tags(self.target_bucket, key)
        return None if dict(tags) == self.tags else "CopyObject answered success and the copy had other tags"

    async def apply_batch(self, tasks: Sequence[Task], store: ObjectStore) -> Sequence[Outcome]:
        """Not used: `batch_rows` is 1."""
        return [await self.apply(task, store) for task in tasks]


def _refusal(error: StoreError) -> Outcome:
    """A final refusal as the task's outcome."""
    if error.code == "EntityTooLarge" or (error.code == "InvalidRequest" and _TOO_LARGE in error.message):
        text = f"the object is too large for one CopyObject (5 GiB); copies in parts are not implemented yet: {error.message}"
        return error.outcome(code="EntityTooLarge", message=text)
    raise error
