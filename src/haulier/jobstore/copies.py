"""A consistent copy of a database that a server is writing to, and what must be done to one before another server may go on."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy import Connection, bindparam, select, update
from sqlalchemy.exc import SQLAlchemyError

from haulier.core.chunk import Chunk
from haulier.core.clock import timestamp
from haulier.core.errors import SettingsError
from haulier.core.history import EventKind, changes, happening
from haulier.core.job import Job
from haulier.core.restoring import brought_back, in_doubt, may_have_run
from haulier.jobstore import migrations, record, rows, sqlite
from haulier.jobstore.tables import chunk, epoch, job, master_key

EPOCHS_BEYOND: Final = 1 << 20
"""So far a restored database is ahead of its backup: no coordinator of the old life, however often it started again, had an epoch
that one of the new life will have."""

_FILES: Final = """
    SELECT job.id, job.ended_ms IS NOT NULL, named.name FROM job JOIN (
        SELECT job, name FROM chunk
        UNION ALL SELECT job, sealed_name FROM chunk WHERE sealed_name IS NOT NULL
        UNION ALL SELECT job, name FROM segment
    ) AS named ON named.job = job.id ORDER BY job.id
"""
"""All schemas have these columns."""

_put_in_doubt: Final = (
    update(chunk)
    .where(chunk.c.job == bindparam("of_job"), chunk.c.index == bindparam("of_index"))
    .values({name: bindparam(name) for name in ("opened_ms", "first_opened_ms", "horizon")})
)


class NamedFile(msgspec.Struct, frozen=True):
    """A file of the spool that a database names."""

    name: str
    job: str
    ended: bool
    """Whether the job has ended: its files may be gone then, by retention."""


class BroughtBack(msgspec.Struct, frozen=True, kw_only=True):
    """What was done to a copy."""

    epoch: int
    jobs: int
    """Unfinished ones."""
    sealed_secrets: bool
    """Whether it holds secrets that a master key has sealed."""


def copy(database: Path, target: Path) -> None:
    """Copy what is committed now to a new file, durably, whoever writes meanwhile. Raises SettingsError, OSError."""
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        with (
            contextlib.closing(sqlite.reading_connection(database)) as source,
            contextlib.closing(sqlite3.connect(target)) as copied,
        ):
            source.backup(copied)
            copied.execute("PRAGMA journal_mode = DELETE").fetchall()  # so the one file is the whole copy
    except sqlite3.Error as error:
        raise SettingsError("server.data_dir", f"{database} cannot be copied: {error}") from error
    with target.open("rb") as file:
        os.fsync(file.fileno())


def named_files(copied: Path) -> Iterator[NamedFile]:
    """The spool's files that a copy names. Raises SettingsError."""
    try:
        with contextlib.closing(sqlite3.connect(copied)) as database:
            for job_id, ended, name in database.execute(_FILES):
                yield NamedFile(name, job_id, bool(ended))
    except sqlite3.Error as error:
        raise SettingsError("server.data_dir", f"{copied} cannot be read: {error}") from error


def bring_back(copied: Path, taken_ms: int, now_ms: int) -> BroughtBack:
    """Make a copy that was taken at `taken_ms` fit to go on from: the newest schema, an epoch of the future, unfinished jobs by
    `core.restoring`. Raises SettingsError where it is broken, or of a newer version."""
    engine = sqlite.writing_engine(copied)
    try:
        with engine.begin() as connection:
            damage = connection.exec_driver_sql("PRAGMA integrity_check").scalar()
            if damage != "ok":
                raise SettingsError("server.data_dir", f"{copied} is damaged: {damage}")
            migrations.migrate(connection, str(copied))
            connection.execute(update(epoch).values(epoch=epoch.c.epoch + EPOCHS_BEYOND))
            unfinished = select(*rows.job_columns).where(job.c.ended_ms.is_(None))
            jobs = [rows.job_of(row) for row in connection.execute(unfinished)]
            for each in jobs:
                _bring_back(connection, each, taken_ms, now_ms)
            number = int(connection.execute(select(epoch.c.epoch)).scalar_one())
            sealed = connection.execute(select(master_key.c.version).limit(1)).first() is not None
        with engine.connect() as connection:
            sqlite.checkpoint(connection)
    except SQLAlchemyError as error:
        raise SettingsError("server.data_dir", f"{copied} cannot be used: {sqlite.in_short(error)}") from error
    finally:
        engine.dispose()
    return BroughtBack(epoch=number, jobs=len(jobs), sealed_secrets=sealed)


def _bring_back(connection: Connection, before: Job, taken_ms: int, now_ms: int) -> None:
    steps = [before, *brought_back(before, taken_ms, now_ms)]
    connection.execute(update(job).where(job.c.id == before.id).values(rows.job_row(steps[-1])))
    happened = [happening(before.id, now_ms, EventKind.RESTORED, taken=timestamp(taken_ms))]
    for was, became in pairwise(steps):
        happened += changes(was, became, at_ms=now_ms, reason=became.status_reason)
    record.write(connection, happened)
    found = select(*rows.chunk_columns).where(chunk.c.job == before.id, chunk.c.sealed_name.is_(None))
    chunks = [rows.counted_chunk_of(row) for row in connection.execute(found)]
    doubtful = [in_doubt(each, taken_ms) for each in chunks if may_have_run(before, each)]
    if doubtful:
        connection.execute(_put_in_doubt, [_doubt(each) for each in doubtful])


def _doubt(doubtful: Chunk) -> dict[str, object]:
    changed = {name: getattr(doubtful, name) for name in ("opened_ms", "first_opened_ms", "horizon")}
    return {"of_job": doubtful.job, "of_index": doubtful.index, **changed}
