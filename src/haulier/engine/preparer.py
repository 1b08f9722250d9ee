"""Preparing: the manifest object → staged chunks in the spool.

The manifest is read once, in ranges of one fixed version of the object (every range is asked for, and checked, with the
ETag), so memory stays flat, a broken connection costs one range, and a manifest that changes meanwhile is noticed. Every
row's bucket is placed and checked against the role before any task runs.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import pyarrow as pa
import pyarrow.compute as pc

from haulier import manifests, operations
from haulier.core.chunk import Chunk
from haulier.core.effects import Effect
from haulier.core.errors import JobFailure, StoreError
from haulier.core.job import Placement
from haulier.core.ports import ObjectPart, ObjectStore, Operation, Spool
from haulier.engine import rerun
from haulier.engine.conflicts import TargetCheck
from haulier.engine.connections import Connections
from haulier.engine.frames import ChunkWritten, Event, JobBrief, Prepared, PrepareJob
from haulier.engine.prober import SCRATCH_PREFIX
from haulier.reports import report_folder
from haulier.spool import files

RANGE_BYTES: Final = 8 << 20
TIDY_TRIES: Final = 3
Await = Callable[[Effect[Any]], Any]


def prepare(
    unit: PrepareJob,
    brief: JobBrief,
    connections: Connections,
    spool: Spool,
    scratch: Path,
    wait: Await,
    put: Callable[[Event], None],
) -> None:
    """Stage the job's manifest, or what a retry runs again; puts ChunkWritten events and at last Prepared. Raises JobFailure."""
    operation = operations.load(brief.operation)
    guard = _RowGuard(brief, operation, connections)
    folder = f"{brief.account}/{brief.id}"
    total = staged = 0
    with TargetCheck(operation, spool, scratch) as check:
        for index, piece in enumerate(_pieces(unit, brief, connections, spool, wait)):
            guard.check(piece.table, piece.first_row)
            name = f"{folder}/chunks/{index:08d}-{unit.attempt}.arrow"
            data = files.encode_chunk(piece.table)
            staged += len(data)
            if brief.spool_bytes_max is not None and staged > brief.spool_bytes_max:
                raise JobFailure("SpoolQuotaExceeded", _over_quota(brief.account, brief.spool_bytes_max))
            spool.write(name, data)
            check.add(piece.table, name, piece.first_row)
            chunk = Chunk(job=brief.id, index=index, first_row=piece.first_row, rows=piece.rows, name=name)
            put(ChunkWritten(attempt=unit.attempt, chunk=chunk))
            total += piece.rows
        check.finish()
    _try_report_place(brief, connections, wait)
    put(Prepared(attempt=unit.attempt, job=brief.id, total=total, row_stores=guard.row_stores, placements=guard.placements))


def _pieces(
    unit: PrepareJob, brief: JobBrief, connections: Connections, spool: Spool, wait: Await
) -> Iterator[manifests.StagedChunk]:
    """The job's rows, cut into chunks."""
    tasks_max = brief.tasks_max or None
    if brief.retry is not None and unit.source is not None:
        return rerun.staged(unit.source, brief.retry, spool, tasks_max=tasks_max)
    reader = manifests.reader(brief.manifest, brief.dialect)
    return iter(reader.stage(_blocks(brief, connections, wait), tasks_max=tasks_max))


def _over_quota(account: str, left: int) -> str:
    return f"the staged manifest is larger than the {left} bytes that account {account!r} may still put into the spool"


def _blocks(brief: JobBrief, connections: Connections, wait: Await) -> Iterator[bytes]:
    """The manifest's bytes, range by range; raises JobFailure with the codes of cos-batch.md §4.5."""
    location = brief.manifest.location
    try:
        store = connections.store(brief, location.bucket, writes=False)
        version = location.version.encode() if location.version else None
        yield from _ranges(store, location.bucket, _existing_key(brief, store, wait), version, brief.manifest.etag, wait)
    except StoreError as error:
        raise _manifest_failure(error, brief) from error


def _existing_key(brief: JobBrief, store: ObjectStore, wait: Await) -> bytes:
    """COS does not say whether the key in an ARN is URL-encoded: taken literally, and decoded if no such object exists."""
    literal, *decoded = _possible_keys(brief)
    if decoded:
        try:
            wait(store.head_object(brief.manifest.location.bucket, literal))
        except StoreError as error:
            if error.status == 404:
                return decoded[0]
    return literal


def _possible_keys(brief: JobBrief) -> tuple[bytes, ...]:
    """The keys that the manifest may lie under, the likeliest first."""
    key = brief.manifest.location.key.encode()
    return (key, unquote_to_bytes(key)) if brief.dialect == "cos" and b"%" in key else (key,)


def _ranges(store: ObjectStore, bucket: str, key: bytes, version: bytes | None, etag: str, wait: Await) -> Iterator[bytes]:
    position = 0
    while True:
        part: ObjectPart = wait(store.get_object(bucket, key, version, first=position, length=RANGE_BYTES, if_match=etag))
        if part.data:
            yield part.data
        position += len(part.data)
        if position >= part.size:
            return
        if not part.data:
            raise JobFailure("InvalidManifest", f"the store sent no bytes at offset {position} of {part.size}")


def _manifest_failure(error: StoreError, brief: JobBrief) -> JobFailure:
    location = brief.manifest.location
    where = f"s3://{location.bucket}/{location.key}" + (f" version {location.version}" if location.version else "")
    if error.status == 404:
        return JobFailure("ManifestNotFound", f"the manifest {where} does not exist ({error.code})")
    if error.status == 403:
        return JobFailure(
            "ManifestAccessDenied", f"reading the manifest {where} is forbidden for role {brief.role.name!r}: {error.code}"
        )
    if error.status == 412:
        return JobFailure(
            "ManifestETagMismatch", f"the manifest {where} no longer has the ETag {brief.manifest.etag!r} of the request"
        )
    return JobFailure("InvalidManifest", f"the manifest {where} could not be read: {error}")


class _RowGuard:
    """Checks every staged piece: buckets placed and allowed, nothing that the job itself lives on is touched (decisions §1)."""

    def __init__(self, brief: JobBrief, operation: Operation, connections: Connections) -> None:
        self._brief = brief
        self._operation = operation
        self._connections = connections
        self._placed: dict[str, str] = {}
        location, report = brief.manifest.location, brief.report
        self._protected: list[_Protected] = [(location.bucket, key, False) for key in _possible_keys(brief)]
        self._protected += [(bucket, SCRATCH_PREFIX, True) for bucket in connections.scratch_buckets]
        if report.enabled:
            self._protected.append((report.bucket, report_folder(report.prefix, brief.id).encode(), True))
        self._row_stores: set[str] = set()
        self._targets = list(operation.buckets())
        for bucket in self._targets:
            self._place(bucket)

    def _place(self, bucket: str) -> str:
        store = self._placed.get(bucket)
        if store is None:
            store = self._placed[bucket] = self._connections.place(self._brief, bucket, writes=True).name
        return store

    @property
    def placements(self) -> tuple[Placement, ...]:
        """Where the buckets lie of the rows and the operation."""
        return tuple(Placement(bucket, store) for bucket, store in self._placed.items())

    @property
    def row_stores(self) -> tuple[str, ...]:
        """Names of the stores that the rows checked so far are on."""
        return tuple(sorted(self._row_stores))

    def check(self, table: pa.Table, first_row: int) -> None:
        """Raises JobFailure `UnknownBucket`, `RoleNotAllowed` or `ProtectedObject`."""
        buckets = table.column("bucket").unify_dictionaries().combine_chunks()
        for bucket in buckets.dictionary.to_pylist():
            store = self._place(bucket)
            self._row_stores.add(store)
            for target in self._targets:
                if self._place(target) != store:
                    raise JobFailure(
                        "StoreCannotCopy",
                        f"bucket {bucket!r} is on store {store!r}, the target {target!r} on {self._place(target)!r}:"
                        " copies between two stores are not implemented in this version",
                    )
        if not self._targets:
            self._refuse_protected(table, buckets, first_row)
        elif any(bucket in self._targets for bucket, _, _ in self._protected):
            self._refuse_protected_targets(table, first_row)

    def _refuse_protected_targets(self, table: pa.Table, first_row: int) -> None:
        rows = zip(table.column("bucket").to_pylist(), table.column("key").to_pylist(), strict=True)
        for row, (bucket, key) in enumerate(rows, first_row):
            target = self._operation.target(bucket, key)
            if target is not None and any(_within(target, protected) for protected in self._protected):
                raise _protected(row, target[1])

    def _refuse_protected(self, table: pa.Table, buckets: Any, first_row: int) -> None:
        keys = table.column("key")
        for bucket, key, whole_folder in self._protected:
            hit = pc.starts_with(keys, key) if whole_folder else pc.equal(keys, pa.scalar(key, keys.type))
            hit = pc.and_(hit, pc.equal(pc.cast(buckets, pa.string()), bucket))
            if pc.any(hit).as_py():
                position = pc.index(hit, value=True).as_py()
                raise _protected(first_row + position, keys[position].as_py())


_Protected = tuple[str, bytes, bool]
"""Bucket, key, and whether the key stands for all keys that begin with it."""


def _within(target: tuple[str, bytes], protected: _Protected) -> bool:
    bucket, key, whole_folder = protected
    return target[0] == bucket and (target[1].startswith(key) if whole_folder else target[1] == key)


def _protected(row: int, key: bytes) -> JobFailure:
    name = key.decode(errors="replace")
    return JobFailure(
        "ProtectedObject",
        f"row {row + 1} of the manifest would change {name!r}, which haulier itself needs (manifest, report, scratch)",
    )


def _try_report_place(brief: JobBrief, connections: Connections, wait: Await) -> None:
    """Write and remove a small object where the report will go: better now than after 50 million deletes (decisions §5)."""
    report = brief.report
    if not report.enabled:
        return
    key = (report_folder(report.prefix, brief.id) + "write-test").encode()
    store = connections.store(brief, report.bucket, writes=True)
    try:
        wait(store.put_object(report.bucket, key, b"haulier tests that it may write the report here\n"))
    except StoreError as error:
        raise JobFailure("ReportDeliveryFailed", f"the report cannot be written to bucket {report.bucket!r}: {error}") from error
    for _ in range(TIDY_TRIES):
        try:
            wait(store.delete_object(report.bucket, key))
        except StoreError as error:
            if error.unknown:
                continue  # nobody else has an object of this name: it is safe to delete it again
        # A role needs no right to delete for its reports: where it has none the small object stays beside the report.
        return
