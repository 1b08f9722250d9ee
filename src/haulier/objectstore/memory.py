"""An object store in memory: for tests, and for the simulation. It passes the suite that `S3ObjectStore` passes.

Conditions, versions, delete markers and directives are S3's; there are no permissions and no sizes that are too large.
"""

from collections.abc import Iterable, Mapping, Sequence
from email.utils import formatdate, parsedate_to_datetime
from hashlib import md5
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from haulier.core.acl import Acl, Grant
from haulier.core.effects import HashedFile
from haulier.core.errors import StoreError
from haulier.core.ports import Clock, Copied, ObjectHead, ObjectPart
from haulier.core.task import Outcome, Task
from haulier.objectstore.keys import check_key

OWNER: Final = "owner"
"""The canonical id of the one who owns every object."""
_GROUPS: Final = "http://acs.amazonaws.com/groups/global/"
_CANNED: Final[Mapping[str, tuple[Grant, ...]]] = {
    "public-read": (Grant("uri", f"{_GROUPS}AllUsers", "READ"),),
    "public-read-write": (Grant("uri", f"{_GROUPS}AllUsers", "READ"), Grant("uri", f"{_GROUPS}AllUsers", "WRITE")),
    "authenticated-read": (Grant("uri", f"{_GROUPS}AuthenticatedUsers", "READ"),),
}
"""What canned lists grant beyond the owner's full control; the bucket's owner is the object's."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """One version of an object."""

    body: bytes
    etag: str
    modified_ms: int
    version: str
    """`null` in a bucket without versions."""
    headers: Mapping[str, str] = {}
    """Content headers, storage class, user metadata under their `x-amz-meta-` names, and the like."""
    tags: Mapping[str, str] = {}
    acl: Acl = Acl(OWNER, (Grant("id", OWNER, "FULL_CONTROL"),))
    marker: bool = False


_DESCRIBING = frozenset(
    {"cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires"}
)
_KEPT = frozenset(
    {
        "x-amz-storage-class",
        "x-amz-website-redirect-location",
        "x-amz-server-side-encryption",
        "x-amz-server-side-encryption-aws-kms-key-id",
        "x-amz-server-side-encryption-bucket-key-enabled",
    }
)


class MemoryObjectStore:
    """`core.ports.ObjectStore` over dictionaries. `versioned` names the buckets that keep versions."""

    def __init__(self, clock: Clock, buckets: Iterable[str], versioned: Iterable[str] = ()) -> None:
        self._clock = clock
        self._versioned = frozenset(versioned)
        self._count = 0
        self.ahead_ms = 0
        """See `core.ports.ObjectStore`; a test may set it."""
        self.width = 16
        self.buckets: dict[str, dict[bytes, list[Held]]] = {bucket: {} for bucket in buckets}
        """Bucket → key → versions, the current one last."""
        self.log: list[tuple[str, str, bytes]] = []
        """Every change that was made: verb, bucket, key."""

    # -- looking up -----------------------------------------------------------------------------------------------------------

    def _keys(self, bucket: str, key: bytes) -> dict[bytes, list[Held]]:
        if bucket not in self.buckets:
            raise StoreError(404, "NoSuchBucket", f"there is no bucket {bucket!r}")
        check_key(key)
        return self.buckets[bucket]

    def _find(self, bucket: str, key: bytes, version: bytes | None = None) -> Held:
        held = self._keys(bucket, key).get(key, [])
        if version is None:
            if not held:
                raise StoreError(404, "NoSuchKey", "there is no such key")
            found = held[-1]
        else:
            name = version.decode("latin-1")
            found = next((one for one in held if one.version == name), None) or _no_version()
        if found.marker:
            raise StoreError(404 if version is None else 405, "DeleteMarker", "it is a delete marker")
        return found

    def _put(self, bucket: str, key: bytes, held: Held) -> None:
        versions = self._keys(bucket, key).setdefault(key, [])
        if bucket not in self._versioned:
            versions.clear()
        versions.append(held)

    def _new_version(self, bucket: str) -> str:
        if bucket not in self._versioned:
            return "null"
        self._count += 1
        return f"v{self._count}"

    def _visible(self, bucket: str, held: Held) -> str | None:
        return held.version if bucket in self._versioned else None

    def _now_ms(self) -> int:
        return self._clock.now_ms() // 1000 * 1000

    # -- core.ports.ObjectStore -------------------------------------------------------------------------------------------------

    async def head_object(self, bucket: str, key: bytes, version: bytes | None = None) -> ObjectHead:
        """See `core.ports.ObjectStore`."""
        held = self._find(bucket, key, version)
        headers = {
            "content-length": str(len(held.body)),
            "etag": f'"{held.etag}"',
            "last-modified": formatdate(held.modified_ms / 1000, usegmt=True),
            "date": formatdate(self._clock.now_ms() / 1000, usegmt=True),
            **held.headers,
        }
        return ObjectHead(
            size=len(held.body),
            etag=held.etag,
            modified_ms=held.modified_ms,
            version=self._visible(bucket, held),
            storage_class=held.headers.get("x-amz-storage-class"),
            metadata={name[11:]: value for name, value in held.headers.items() if name.startswith("x-amz-meta-")},
            headers=headers,
        )

    async def get_object(
        self,
        bucket: str,
        key: bytes,
        version: bytes | None = None,
        *,
        first: int = 0,
        length: int | None = None,
        if_match: str | None = None,
    ) -> ObjectPart:
        """See `core.ports.ObjectStore`."""
        held = self._find(bucket, key, version)
        if if_match is not None and held.etag != if_match:
            raise StoreError(412, "PreconditionFailed", f"the object's ETag is {held.etag!r}, not {if_match!r}")
        if first and first >= len(held.body):
            raise StoreError(416, "InvalidRange", "the range begins behind the object's end")
        data = held.body[first:] if length is None else held.body[first : first + length]
        return ObjectPart(data=data, size=len(held.body), etag=held.etag, version=self._visible(bucket, held))

    async def put_object(
        self,
        bucket: str,
        key: bytes,
        body: bytes | HashedFile,
        *,
        content_type: str = "application/octet-stream",
        if_absent: bool = False,
    ) -> str:
        """See `core.ports.ObjectStore`."""
        current = self._keys(bucket, key).get(key)
        if if_absent and current and not current[-1].marker:
            raise StoreError(412, "PreconditionFailed", "the object is there already")
        data = body.path.read_bytes() if isinstance(body, HashedFile) else body
        held = Held(
            body=data,
            etag=md5(data, usedforsecurity=False).hexdigest(),
            modified_ms=self._now_ms(),
            version=self._new_version(bucket),
            headers={"content-type": content_type},
        )
        self._put(bucket, key, held)
        self.log.append(("put", bucket, key))
        return held.etag

    async def copy_object(
        self,
        source_bucket: str,
        source_key: bytes,
        source_version: bytes | None,
        target_bucket: str,
        target_key: bytes,
        headers: Sequence[tuple[str, str]] = (),
    ) -> Copied:
        """See `core.ports.ObjectStore`."""
        source = self._find(source_bucket, source_key, source_version)
        given = dict(headers)
        _check_source(source, given)
        replaced = given.get("x-amz-metadata-directive") == "REPLACE"
        kept = {} if replaced else {name: value for name, value in source.headers.items() if name not in _KEPT}
        new = {name: value for name, value in given.items() if name in _KEPT}
        if replaced:
            new |= {name: value for name, value in given.items() if name in _DESCRIBING or name.startswith("x-amz-meta-")}
        tags = source.tags
        if given.get("x-amz-tagging-directive") == "REPLACE":
            tags = dict(parse_qsl(given.get("x-amz-tagging", ""), keep_blank_values=True))
        held = Held(
            body=source.body,
            etag=source.etag,
            modified_ms=self._now_ms(),
            version=self._new_version(target_bucket),
            headers=kept | new,
            tags=tags,
            acl=_canned(given.get("x-amz-acl", "private")),
        )
        self._put(target_bucket, target_key, held)
        self.log.append(("copy", target_bucket, target_key))
        return Copied(held.etag, self._visible(target_bucket, held))

    async def put_tags(self, bucket: str, key: bytes, version: bytes | None, tags: Mapping[str, str]) -> None:
        """See `core.ports.ObjectStore`."""
        held = self._find(bucket, key, version)
        versions = self._keys(bucket, key)[key]
        versions[versions.index(held)] = msgspec.structs.replace(held, tags=dict(tags))
        self.log.append(("tag", bucket, key))

    async def get_tags(self, bucket: str, key: bytes, version: bytes | None = None) -> Mapping[str, str]:
        """See `core.ports.ObjectStore`."""
        return dict(self._find(bucket, key, version).tags)

    async def keeps_versions(self, bucket: str) -> bool:
        """See `core.ports.ObjectStore`."""
        self._keys(bucket, b"any")
        return bucket in self._versioned

    async def put_acl(self, bucket: str, key: bytes, version: bytes | None, acl: Acl | str) -> None:
        """See `core.ports.ObjectStore`."""
        held = self._find(bucket, key, version)
        versions = self._keys(bucket, key)[key]
        versions[versions.index(held)] = msgspec.structs.replace(held, acl=_canned(acl) if isinstance(acl, str) else acl)
        self.log.append(("acl", bucket, key))

    async def get_acl(self, bucket: str, key: bytes, version: bytes | None = None) -> Acl:
        """See `core.ports.ObjectStore`."""
        return self._find(bucket, key, version).acl

    async def delete_object(
        self,
        bucket: str,
        key: bytes,
        version: bytes | None = None,
        *,
        if_match: str | None = None,
        bypass_governance: bool = False,  # noqa: ARG002 - nothing is locked here
    ) -> Outcome:
        """See `core.ports.ObjectStore`."""
        keys = self._keys(bucket, key)
        if if_match is not None:
            held = self._find(bucket, key, version)
            if held.etag != if_match:
                raise StoreError(412, "PreconditionFailed", f"the object's ETag is {held.etag!r}, not {if_match!r}")
        if version is not None:
            name = version.decode("latin-1")
            keys[key] = [one for one in keys.get(key, []) if one.version != name]
            if not keys[key]:
                del keys[key]
        elif bucket in self._versioned:
            marker = Held(body=b"", etag="", modified_ms=self._now_ms(), version=self._new_version(bucket), marker=True)
            self._put(bucket, key, marker)
        else:
            keys.pop(key, None)
        self.log.append(("delete", bucket, key))
        return Outcome(204)

    async def delete_objects(self, bucket: str, tasks: Sequence[Task], *, bypass_governance: bool = False) -> Sequence[Outcome]:
        """See `core.ports.ObjectStore`."""
        outcomes = []
        for task in tasks:
            try:
                outcome = await self.delete_object(
                    bucket, task.key, task.version, if_match=task.etag, bypass_governance=bypass_governance
                )
            except StoreError as error:
                if error.code == "NoSuchBucket":
                    raise
                outcome = error.outcome()
            outcomes.append(outcome)
        return outcomes


def _canned(name: str) -> Acl:
    return Acl(OWNER, (Grant("id", OWNER, "FULL_CONTROL"), *_CANNED.get(name, ())))


def _no_version() -> Held:
    raise StoreError(404, "NoSuchVersion", "there is no such version")


def _check_source(source: Held, given: Mapping[str, str]) -> None:
    matches = given.get("x-amz-copy-source-if-match")
    since = given.get("x-amz-copy-source-if-modified-since")
    until = given.get("x-amz-copy-source-if-unmodified-since")
    if (
        (matches is not None and matches.strip('"') != source.etag)
        or (since is not None and source.modified_ms <= _date_ms(since))
        or (until is not None and source.modified_ms > _date_ms(until))
    ):
        raise StoreError(412, "PreconditionFailed", "the source does not meet a condition")


def _date_ms(text: str) -> int:
    return int(parsedate_to_datetime(text).timestamp()) * 1000
