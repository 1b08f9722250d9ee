"""Reads a database that somebody else may be writing: one state of it as a whole, by a connection that can do nothing but read.

For looking at a data directory from outside (`haulier.upkeep`). A server reads through its `SqlJobStore`.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from sqlalchemy import Connection, select
from sqlalchemy.exc import SQLAlchemyError

from haulier.core.chunk import Chunk, Segment
from haulier.core.errors import SettingsError
from haulier.core.failures import FailureClass
from haulier.core.history import FIRST_KEPT, NEWEST_KEPT, RecordedEvent
from haulier.core.job import Job
from haulier.jobstore import books, migrations, record, rows, sqlite
from haulier.jobstore.tables import chunk, epoch, job, segment


class JobSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """All that the database holds of one job, as it was at one moment."""

    job: Job
    chunks: Sequence[Chunk]
    """By index; of one that is not sealed the counts are those of its segments."""
    segments: Sequence[Segment]
    """Of chunks that are not sealed, in order of commit."""
    failures: Sequence[FailureClass]
    events: Sequence[RecordedEvent]
    epoch: int
    """Of the coordinator that took over last."""


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Connection]:
    """A connection that sees the state of now until it is closed. Raises SettingsError where there is no database of this
    version's schema."""
    if not path.is_file():
        raise SettingsError("server.data_dir", f"there is no database {path}")
    engine = sqlite.reading_engine(path)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            migrations.check_newest(connection, str(path))
            yield connection
    except SQLAlchemyError as error:
        raise SettingsError("server.data_dir", f"{path} cannot be read: {sqlite.in_short(error)}") from error
    finally:
        engine.dispose()


def job_ids(connection: Connection) -> Sequence[str]:
    """Of all jobs, the oldest first."""
    return list(connection.execute(select(job.c.id).order_by(job.c.created_ms, job.c.id)).scalars())


def read(connection: Connection, job_id: str) -> JobSnapshot | None:
    """The job, whoever's it is, also when it was deleted; None where there is none."""
    found = books.find_jobs(connection, [job_id])
    if job_id not in found:
        return None
    chunks = select(*rows.chunk_columns).where(chunk.c.job == job_id).order_by(chunk.c.index)
    segments = select(*rows.segment_columns).where(segment.c.job == job_id).order_by(segment.c.id)
    return JobSnapshot(
        job=found[job_id],
        chunks=[rows.counted_chunk_of(row) for row in connection.execute(chunks)],
        segments=[rows.segment_of(row) for row in connection.execute(segments)],
        failures=books.find_classes(connection, job_id),
        events=record.read(connection, job_id, 0, FIRST_KEPT + NEWEST_KEPT),
        epoch=int(connection.execute(select(epoch.c.epoch)).scalar_one()),
    )
