"""Preparing: the manifest object → staged chunks in the spool.

The manifest is read once, in ranges of one fixed version of the object (every range is asked for, and checked, with the
ETag), so memory stays flat, a broken connection costs one range, and a manifest that changes meanwhile is noticed. Every
row's bucket is placed and checked against the role before any task runs.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from haulier import manifests, operations
from haulier.core.chunk import Chunk
from haulier.core.effects import Effect
from haulier.core.errors import JobFailure, StoreError
from haulier.core.ports import ObjectPart, ObjectStore, Spool
from haulier.engine import rerun
from haulier.engine.conflicts import TargetCheck
from haulier.engine.connections import Connections
from haulier.engine.frames import ChunkWritten, Event, JobBrief, Prepared, PrepareJob
from haulier.engine.rowguard import RowGuard, possible_keys
from haulier.reports import report_folder
from haulier.spool import files, names

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
    guard = RowGuard(brief, operation, connections, wait)
    folder = names.job_folder(brief.account, brief.id)
    total = staged = 0
    with TargetCheck(operation, spool, scratch) as check:
        for index, piece in enumerate(_pieces(unit, brief, connections, spool, wait)):
            guard.check(piece.table, piece.first_row)
            name = names.chunk_name(folder, index, unit.attempt)
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
    literal, *decoded = possible_keys(brief)
    if decoded:
        try:
            wait(store.head_object(brief.manifest.location.bucket, literal))
        except StoreError as error:
            if error.status == 404:
                return decoded[0]
    return literal


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
    return JobFailure("InvalidManifest", f"the manifest {where} could not be read: {error}", passing=error.passing)


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
        reason = f"the report cannot be written to bucket {report.bucket!r}: {error}"
        raise JobFailure("ReportDeliveryFailed", reason, passing=error.passing) from error
    for _ in range(TIDY_TRIES):
        try:
            wait(store.delete_object(report.bucket, key))
        except StoreError as error:
            if error.unknown:
                continue  # nobody else has an object of this name: it is safe to delete it again
        # A role needs no right to delete for its reports: where it has none the small object stays beside the report.
        return
