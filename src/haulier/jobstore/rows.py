"""Values to rows and back."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from haulier.core.chunk import Attempt, Chunk, Segment
from haulier.core.failures import FailureClass, Sample
from haulier.core.job import Job
from haulier.jobstore import tables

JOB_COLUMNS: Final = (
    "id",
    "account",
    "token",
    "status",
    "priority",
    "created_ms",
    "ended_ms",
    "total",
    "succeeded",
    "failed",
    "description",
)
"""Fields of a job that have a column of their own; the others are in the document."""

_DOCUMENT_FIELDS: Final = tuple(field for field in msgspec.structs.fields(Job) if field.name not in JOB_COLUMNS)


def _document_field(field: msgspec.structs.FieldInfo) -> tuple[str, Any] | tuple[str, Any, Any]:
    if field.default is not msgspec.NODEFAULT:
        return field.name, field.type, field.default
    if field.default_factory is not msgspec.NODEFAULT:
        return field.name, field.type, msgspec.field(default_factory=field.default_factory)
    return field.name, field.type


_Document: Final = msgspec.defstruct(
    "Document", [_document_field(field) for field in _DOCUMENT_FIELDS], kw_only=True, omit_defaults=True
)
_document_decoder: Final = msgspec.json.Decoder(_Document)

job_columns: Final = (*(tables.job.c[name] for name in JOB_COLUMNS), tables.job.c.document)
"""What `job_of` wants selected."""

chunk_columns: Final = tuple(tables.chunk.c)
"""What `chunk_of` wants selected."""

_CHUNK_FIELDS: Final = tuple(column.name for column in chunk_columns)

segment_columns: Final = tuple(column for column in tables.segment.c if column.name != "id")
"""What `segment_of` wants selected."""


class_columns: Final = tuple(column for column in tables.failure_class.c if column.name != "job")
"""What `class_of` wants selected."""

_samples_decoder: Final = msgspec.json.Decoder(tuple[Sample, ...])


def job_row(job: Job) -> dict[str, Any]:
    """The job as a row of table `job`, without `deleted_ms`."""
    row: dict[str, Any] = {name: getattr(job, name) for name in JOB_COLUMNS}
    row["status"] = str(job.status)
    row["operation"] = job.operation.name
    row["delivery_ms"] = delivery_ms(job)
    row["document"] = document(job)
    return row


def delivery_ms(job: Job) -> int | None:
    """Since when it waits for a delivery of its report."""
    return job.delivery.asked_ms if job.delivery is not None and job.delivery.waits else None


def tag_rows(job: Job) -> list[dict[str, str]]:
    """The job's tags as rows of table `job_tag`."""
    return [{"job": job.id, "key": key, "value": value} for key, value in job.tags.items()]


def document(job: Job) -> str:
    """All that has no column of its own."""
    rest = _Document(**{field.name: getattr(job, field.name) for field in _DOCUMENT_FIELDS})
    return msgspec.json.encode(rest).decode()


def job_of(row: Sequence[Any]) -> Job:
    """The job in a row of `job_columns`."""
    rest = msgspec.structs.asdict(_document_decoder.decode(row[-1]))
    return Job(**dict(zip(JOB_COLUMNS, row, strict=False)), **rest)


def counted_chunk_of(row: Sequence[Any]) -> Chunk:
    """The chunk in a row of `chunk_columns`, with what it adds to its job's counters."""
    return Chunk(**dict(zip(_CHUNK_FIELDS, row, strict=True)))


def chunk_of(row: Sequence[Any]) -> Chunk:
    """The chunk in a row of `chunk_columns`; counts are told only once they are those of the sealed file."""
    chunk = counted_chunk_of(row)
    return chunk if chunk.sealed else msgspec.structs.replace(chunk, succeeded=0, failed=0)


def chunk_row(chunk: Chunk) -> dict[str, Any]:
    """The chunk as a row, its counts as they are."""
    return msgspec.structs.asdict(chunk)


def segment_row(segment: Segment) -> dict[str, Any]:
    """The segment as a row of table `segment`, without `id`."""
    return {
        "job": segment.job,
        "chunk": segment.chunk,
        "attempt_epoch": segment.attempt.epoch,
        "attempt_counter": segment.attempt.counter,
        "sequence": segment.sequence,
        "name": segment.name,
        "rows": segment.rows,
        "failed": segment.failed,
    }


def segment_of(row: Sequence[Any]) -> Segment:
    """The segment in a row of `segment_columns`."""
    job, chunk, epoch, counter, sequence, name, rows, failed = row
    return Segment(job=job, chunk=chunk, attempt=Attempt(epoch, counter), sequence=sequence, name=name, rows=rows, failed=failed)


def class_row(job_id: str, found: FailureClass) -> dict[str, Any]:
    """The class as a row of table `failure_class`."""
    row = {"job": job_id, **msgspec.structs.asdict(found)}
    row["samples"] = msgspec.json.encode(found.samples).decode()
    return row


def class_of(row: Sequence[Any]) -> FailureClass:
    """The class in a row of `class_columns`."""
    values = dict(zip((column.name for column in class_columns), row, strict=True))
    values["samples"] = _samples_decoder.decode(values["samples"])
    return FailureClass(**values)
