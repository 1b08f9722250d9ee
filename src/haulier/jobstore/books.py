"""Loads a `Ledger` from the database and writes back what a commit made of it: few statements, each for many rows."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Executable, bindparam, delete, insert, select, tuple_, update

from haulier.core.chunk import Chunk
from haulier.core.failures import FailureClass
from haulier.core.history import Happening
from haulier.core.job import Job
from haulier.core.ports import Entry, SegmentAdded
from haulier.jobstore import record, rows
from haulier.jobstore.ledger import (
    ChunkKey,
    Ledger,
    SegmentKey,
    chunks_named,
    jobs_named,
    jobs_with_failures,
    segment_key,
)
from haulier.jobstore.tables import chunk, failure_class, job, segment

T = TypeVar("T")

VALUES_IN_LIST: Final = 500
"""Parameters in one IN list: far below every database's limit."""

_SEGMENT_KEY: Final = (
    segment.c.job,
    segment.c.chunk,
    segment.c.attempt_epoch,
    segment.c.attempt_counter,
    segment.c.sequence,
)
_CHUNK_CHANGES: Final = ("opened_ms", "first_opened_ms", "horizon", "sealed_name", "succeeded", "failed")

_update_chunk: Final = (
    update(chunk)
    .where(chunk.c.job == bindparam("of_job"), chunk.c.index == bindparam("of_index"))
    .values({name: bindparam(name) for name in _CHUNK_CHANGES})
)
_update_counters: Final = (
    update(job).where(job.c.id == bindparam("of_job")).values(succeeded=bindparam("succeeded"), failed=bindparam("failed"))
)
_update_state: Final = (
    update(job)
    .where(job.c.id == bindparam("of_job"))
    .values({name: bindparam(name) for name in ("status", "ended_ms", "total", "succeeded", "failed", "delivery_ms", "document")})
)
_drop_chunks: Final = delete(chunk).where(chunk.c.job == bindparam("of_job"))
_drop_class: Final = delete(failure_class).where(
    failure_class.c.job == bindparam("of_job"),
    failure_class.c.code == bindparam("of_code"),
    failure_class.c.status == bindparam("of_status"),
)
_drop_segments: Final = delete(segment).where(segment.c.job == bindparam("of_job"), segment.c.chunk == bindparam("of_index"))


def find_jobs(connection: Connection, job_ids: Iterable[str]) -> dict[str, Job]:
    """Jobs by id, whoever's they are; unknown ids are left out."""
    found: dict[str, Job] = {}
    for some in _slices(dict.fromkeys(job_ids), VALUES_IN_LIST):
        for row in connection.execute(select(*rows.job_columns).where(job.c.id.in_(some))):
            found[row.id] = rows.job_of(row)
    return found


def find_classes(connection: Connection, job_id: str) -> list[FailureClass]:
    """Why the job's tasks failed."""
    found = connection.execute(select(*rows.class_columns).where(failure_class.c.job == job_id))
    return [rows.class_of(row) for row in found]


def load(connection: Connection, entries: Sequence[Entry], *, now_ms: int) -> Ledger:
    """The ledger of what the entries name."""
    chunks: dict[ChunkKey, Chunk] = {}
    for job_id, indexes in chunks_named(entries).items():
        for some in _slices(sorted(indexes), VALUES_IN_LIST):
            found = select(*rows.chunk_columns).where(chunk.c.job == job_id, chunk.c.index.in_(some))
            named = (rows.counted_chunk_of(row) for row in connection.execute(found))
            chunks.update(((known.job, known.index), known) for known in named)
    keys = dict.fromkeys(segment_key(entry.segment) for entry in entries if isinstance(entry, SegmentAdded))
    counted: set[SegmentKey] = set()
    for some_keys in _slices(keys, VALUES_IN_LIST // len(_SEGMENT_KEY)):
        there = connection.execute(select(*_SEGMENT_KEY).where(tuple_(*_SEGMENT_KEY).in_(some_keys)))
        counted.update((row[0], row[1], row[2], row[3], row[4]) for row in there)
    told = record.told_before(connection, [entry for entry in entries if isinstance(entry, Happening)])
    classes = {job_id: {found.key: found for found in find_classes(connection, job_id)} for job_id in jobs_with_failures(entries)}
    return Ledger(find_jobs(connection, jobs_named(entries)), chunks, counted, told, classes, now_ms=now_ms)


def save(connection: Connection, ledger: Ledger) -> None:
    """Write what the ledger says has changed."""
    _many(connection, _drop_chunks, [{"of_job": job_id} for job_id in ledger.emptied])
    _many(connection, insert(chunk), [rows.chunk_row(ledger.chunks[key]) for key in ledger.staged])
    _many(connection, _update_chunk, [_chunk_changes(ledger.chunks[key]) for key in ledger.touched])
    _many(connection, insert(segment), [rows.segment_row(added) for added in ledger.segments.values()])
    _many(connection, _drop_segments, [{"of_job": job_id, "of_index": index} for job_id, index in ledger.sealed])
    changed = [(job_id, ledger.classes[job_id][key]) for job_id, key in sorted(ledger.classified)]
    _many(connection, _drop_class, [_class_key(job_id, each) for job_id, each in changed])
    _many(connection, insert(failure_class), [rows.class_row(job_id, each) for job_id, each in changed])
    _many(connection, _update_state, [_state(ledger.jobs[key]) for key in ledger.moved])
    _many(connection, _update_counters, [_counters(ledger.jobs[key]) for key in ledger.recounted - ledger.moved])
    record.write(connection, ledger.happened)


def _state(moved: Job) -> dict[str, Any]:
    return {
        **_counters(moved),
        "status": str(moved.status),
        "ended_ms": moved.ended_ms,
        "total": moved.total,
        "delivery_ms": rows.delivery_ms(moved),
        "document": rows.document(moved),
    }


def _counters(counted: Job) -> dict[str, Any]:
    return {"of_job": counted.id, "succeeded": counted.succeeded, "failed": counted.failed}


def _class_key(job_id: str, changed: FailureClass) -> dict[str, Any]:
    return {"of_job": job_id, "of_code": changed.code, "of_status": changed.status}


def _chunk_changes(changed: Chunk) -> dict[str, Any]:
    key = {"of_job": changed.job, "of_index": changed.index}
    return key | {name: getattr(changed, name) for name in _CHUNK_CHANGES}


def _many(connection: Connection, statement: Executable, parameters: Sequence[dict[str, Any]]) -> None:
    if parameters:
        connection.execute(statement, parameters)


def _slices(values: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(values)
    while some := list(islice(rest, size)):
        yield some
