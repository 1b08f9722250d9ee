"""The trial that proves what a store can do (decisions §4): do the operation to a scratch object, read back what became of it.

Some stores answer 200 to a sub-resource they do not know, and overwrite or delete the object. A job whose operation a store
only pretends to do must be refused before its first task, and a 200 proves nothing.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal

import msgspec

from haulier.core.errors import StoreError
from haulier.core.ports import ObjectStore
from haulier.core.task import Outcome, Task
from haulier.operations.access import ACL_LOST
from haulier.operations.copy import Copy
from haulier.operations.delete import Delete
from haulier.operations.put_tagging import PutTagging
from haulier.operations.replay import look
from haulier.operations.source import metadata_headers
from haulier.operations.traces import lacks

HOUR_MS: Final = 3_600_000
BODY: Final = b"an object by which haulier finds out what this store can do\n"


class Finding(msgspec.Struct, frozen=True):
    """What a probe found: *proven* (done, and read back), *lying* (it said so and did something else), or *inconclusive*."""

    verdict: Literal["proven", "lying", "inconclusive"]
    detail: str = ""
    server: str = ""
    """The Server header that the store answered with."""
    passing: bool = False
    """The store was in trouble, and the next trial may find out more."""


class _Lie(Exception):
    """What was read back is not what was answered."""


AnyOperation = Copy | Delete | PutTagging


def often_faked(operation: AnyOperation) -> bool:
    """Whether stores are known that answer 200 and destroy the object: PUT and DELETE of sub-resources, as for the tags of an
    object and the access control list of a copy. Such operations are refused where nothing proves them; other copies and deletes
    are not."""
    return isinstance(operation, PutTagging) or (isinstance(operation, Copy) and operation.sets_acl)


async def probe(operation: AnyOperation, store: ObjectStore, bucket: str, prefix: bytes) -> Finding:
    """Try the operation below `prefix` of the scratch bucket, and remove what was made. AccessDenied and the like are
    inconclusive, never lying."""
    made: list[bytes] = []
    finding = await _tried(operation, store, bucket, prefix, made)
    for key in made:
        await _remove(store, bucket, key)
    return finding


async def _tried(operation: AnyOperation, store: ObjectStore, bucket: str, prefix: bytes, made: list[bytes]) -> Finding:
    server = ""
    try:
        server = await _server(store, await _put(store, bucket, prefix + b"server", made))
        await _TRIALS[type(operation)](operation, store, bucket, prefix, made)
    except _Lie as lie:
        return Finding("lying", str(lie), server)
    except StoreError as error:
        return Finding("inconclusive", f"the trial on bucket {bucket!r} was refused: {error}", server, passing=error.passing)
    return Finding("proven", server=server)


async def _server(store: ObjectStore, task: Task) -> str:
    return (await store.head_object(task.bucket, task.key)).headers.get("server", "")


async def _put(store: ObjectStore, bucket: str, key: bytes, made: list[bytes]) -> Task:
    made.append(key)
    await store.put_object(bucket, key, BODY)
    return Task(0, bucket, key)


async def _remove(store: ObjectStore, bucket: str, key: bytes) -> None:
    try:
        await store.delete_object(bucket, key)
    except StoreError:
        return  # a scratch object that stays does no harm


def _accepted(outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        if not outcome.succeeded:
            raise StoreError(outcome.status, outcome.code or "", outcome.message or "")


async def _unharmed(store: ObjectStore, task: Task, what: str) -> None:
    if await look(store, task.bucket, task.key) is None:
        raise _Lie(f"{what} answered success and the object was gone")
    if (await store.get_object(task.bucket, task.key)).data != BODY:
        raise _Lie(f"{what} answered success and the object's content was changed")


async def _put_tagging(operation: AnyOperation, store: ObjectStore, bucket: str, prefix: bytes, made: list[bytes]) -> None:
    assert isinstance(operation, PutTagging)
    task = await _put(store, bucket, prefix + b"tagged", made)
    _accepted([await operation.apply(task, store)])
    await _unharmed(store, task, "PutObjectTagging")
    if dict(await store.get_tags(bucket, task.key)) != operation.tags:
        raise _Lie("PutObjectTagging answered success and the tags were not there")


async def _private(store: ObjectStore, task: Task) -> None:
    """Try PutObjectAcl with what changes nothing. A store that refuses it does no harm: the copy tells whether it is needed."""
    try:
        await store.put_acl(task.bucket, task.key, None, "private")
    except StoreError as error:
        if error.unknown:
            raise
    await _unharmed(store, task, "PutObjectAcl")


async def _copy(operation: AnyOperation, store: ObjectStore, bucket: str, prefix: bytes, made: list[bytes]) -> None:
    assert isinstance(operation, Copy)
    source = await _put(store, bucket, prefix + b"source", made)
    trial = msgspec.structs.replace(
        operation,
        target_bucket=bucket,
        replace_prefix=None,
        folder=(prefix + b"copy").decode(),
        modified_since_ms=None,
        unmodified_since_ms=None,
    )
    key = trial.target_key(source.key)
    made.append(key)
    await _constrained(operation, trial, source, store, prefix, made)
    if operation.sets_acl:
        await _private(store, source)
    outcome = await trial.apply(source, store)
    if outcome.code == ACL_LOST:
        raise _Lie(outcome.message or "")
    _accepted([outcome])
    copy = Task(0, bucket, key)
    await _unharmed(store, copy, "CopyObject")
    await _unharmed(store, source, "CopyObject")
    wanted = trial.headers
    if not isinstance(operation.metadata, str) and operation.metadata_mode == "add":
        wanted = (*wanted, *metadata_headers(operation.metadata.headers()))
    lost = lacks(await store.head_object(bucket, key), wanted)
    if lost is not None:
        raise _Lie(f"CopyObject answered success and the copy has other {lost}")
    if not isinstance(operation.tags, str) and dict(await store.get_tags(bucket, key)) != operation.tags:
        raise _Lie("CopyObject answered success and the copy has other tags")


async def _constrained(operation: Copy, trial: Copy, source: Task, store: ObjectStore, prefix: bytes, made: list[bytes]) -> None:
    """Try each since-constraint of the job with a moment by which the source must not be copied."""
    written_ms = (await store.head_object(source.bucket, source.key)).modified_ms
    barred = msgspec.structs.replace(
        trial, folder=(prefix + b"constrained").decode(), modified_since_ms=None, unmodified_since_ms=None
    )
    made.append(barred.target_key(source.key))
    if operation.modified_since_ms is not None:
        await _barred(
            msgspec.structs.replace(barred, modified_since_ms=written_ms), source, store, "x-amz-copy-source-if-modified-since"
        )
    if operation.unmodified_since_ms is not None:
        before_ms = written_ms - HOUR_MS
        await _barred(
            msgspec.structs.replace(barred, unmodified_since_ms=before_ms), source, store, "x-amz-copy-source-if-unmodified-since"
        )


async def _barred(trial: Copy, source: Task, store: ObjectStore, header: str) -> None:
    try:
        outcome = await trial.apply(source, store)
    except StoreError as error:
        if error.status not in (304, 412):
            raise
        return
    if outcome.succeeded:
        raise _Lie(f"CopyObject answered success against the condition of {header}")


async def _delete(operation: AnyOperation, store: ObjectStore, bucket: str, prefix: bytes, made: list[bytes]) -> None:
    assert isinstance(operation, Delete)
    doomed = await _put(store, bucket, prefix + b"doomed", made)
    kept = await _put(store, bucket, prefix + b"kept", made)
    _accepted(await operation.apply_batch([doomed], store))
    if await look(store, bucket, doomed.key) is not None:
        raise _Lie("DeleteObjects answered success and the object was still there")
    await _unharmed(store, kept, "DeleteObjects of another key")


Trial = Callable[[AnyOperation, ObjectStore, str, bytes, list[bytes]], Awaitable[None]]
_TRIALS: Final[dict[type[AnyOperation], Trial]] = {Copy: _copy, Delete: _delete, PutTagging: _put_tagging}
