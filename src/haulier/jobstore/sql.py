"""The job store in SQL. Its promises stand in `core.ports.JobStore`; the suite in `haulier.testing.suites` holds it to them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Self, TypeVar

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    SQLColumnExpression,
    and_,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.exc import SQLAlchemyError

from haulier.core.chunk import Chunk, Segment
from haulier.core.errors import JobNotFound, SettingsError, Superseded, TokenReused, TooManyJobs
from haulier.core.failures import FailureClass, most_first
from haulier.core.history import EventKind, RecordedEvent, changes, created, happening, retried
from haulier.core.job import RETRIES_KEPT, Job
from haulier.core.lifecycle import TERMINAL, JobStatus
from haulier.core.ports import Clock, Entry, ListQuery, Written
from haulier.jobstore import books, record, rows, sqlite
from haulier.jobstore.accounts import SqlAccountStore
from haulier.jobstore.changes import Changes
from haulier.jobstore.database import Database
from haulier.jobstore.ledger import Ledger
from haulier.jobstore.migrations import migrate
from haulier.jobstore.tables import chunk, epoch, job, job_tag, segment
from haulier.jobstore.writer import Writer

T = TypeVar("T")

_FIXED: Final = ("id", "account", "token", "created_ms", "total", "succeeded", "failed")
"""What `change` may not touch."""
CHUNKS_FORGOTTEN: Final = 500
"""Chunks, with their segments, that one transaction removes."""


class SqlJobStore:
    """Jobs and their ledger in an SQL database. Open it with `open`; safe to use from any thread."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._write, self._read = database.write, database.read
        self.accounts = SqlAccountStore(database)
        """Accounts, users, keys and roles, which lie in the same database."""
        self._clock = clock
        self._changes = Changes()

    @classmethod
    def open(cls, path: Path, clock: Clock) -> Self:
        """The job store in the SQLite file at `path`, made or brought to the newest schema where needed.

        The folder has to exist, and no other process may have the file open for writing (the caller holds a lock). Raises
        SettingsError where the file cannot be used, was written by a newer version, or is something else.
        """
        writing = sqlite.writing_engine(path)
        try:
            with writing.begin() as connection:
                migrate(connection, str(path))
        except (SQLAlchemyError, OSError) as error:
            raise SettingsError("server.data_dir", f"{path} cannot be used as database: {error}") from error
        writer = Writer(writing, is_fatal=sqlite.cannot_now, at_close=sqlite.checkpoint)
        return cls(Database(writer, sqlite.reading_engine(path)), clock)

    # -- for the API

    def create(self, job: Job, *, unfinished_max: int) -> None:
        """Store a new job, unless its token is in use or its account has `unfinished_max` jobs that are not terminal."""
        self._write(lambda connection: _create(connection, job, unfinished_max), after=self._changes.tell)

    def get(self, account: str, job_id: str) -> Job:
        """The job, if the account has it."""
        with self._read() as connection:
            return _visible(connection, account, job_id)

    def by_token(self, account: str, token: str) -> Job | None:
        """The job that was created with the token, also when it is hidden."""
        with self._read() as connection:
            found = connection.execute(_jobs().where(job.c.account == account, job.c.token == token))
            row = found.first()
        return None if row is None else rows.job_of(row)

    def list(self, query: ListQuery) -> Sequence[Job]:
        """One page."""
        with self._read() as connection:
            return [rows.job_of(row) for row in connection.execute(_page(query))]

    def change(
        self, account: str, job_id: str, change: Callable[[Job], Job], *, by: str | None = None, reason: str | None = None
    ) -> Job:
        """Read, change and write in one transaction. Raises ValueError where `change` touches what it may not."""
        now_ms = self._clock.now_ms()

        def work(connection: Connection) -> Written:
            before = _visible(connection, account, job_id)
            after = change(msgspec.structs.replace(before))
            touched = [name for name in _FIXED if getattr(after, name) != getattr(before, name)]
            if touched:
                raise ValueError(f"job {job_id}: {', '.join(touched)} cannot be changed")
            connection.execute(update(job).where(job.c.id == job_id).values(rows.job_row(after)))
            if after.tags != before.tags:
                connection.execute(delete(job_tag).where(job_tag.c.job == job_id))
                _insert_tags(connection, after)
            happened = changes(before, after, at_ms=now_ms, by=by, reason=reason)
            record.write(connection, happened)
            return Written(after, bool(happened), ended=after.ended_ms is not None and before.ended_ms is None)

        return self._write(work, after=lambda written: self._changes.tell([written])).job

    def delete(self, account: str, job_id: str, *, by: str | None = None) -> Job:
        """Hide the job; its token stays in use until it is forgotten."""
        now_ms = self._clock.now_ms()

        def work(connection: Connection) -> Job:
            hidden = _visible(connection, account, job_id)
            connection.execute(update(job).where(job.c.id == job_id).values(deleted_ms=now_ms))
            record.write(connection, [happening(job_id, now_ms, EventKind.DELETED, by=by)])
            return hidden

        return self._write(work, after=lambda hidden: self._changes.tell([Written(hidden, recorded=True, hidden=True)]))

    def events(self, job_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[RecordedEvent]:
        """The job's record behind a number."""
        with self._read() as connection:
            return record.read(connection, job_id, after, limit)

    def failures(self, job_id: str) -> Sequence[FailureClass]:
        """Why the job's tasks failed, the most frequent class first."""
        with self._read() as connection:
            return most_first(books.find_classes(connection, job_id))

    def changed(self) -> Callable[[float], bool]:
        """Waits for `create`, `change` or `delete` in this process."""
        return self._changes.listener()

    def watch(self, told: Callable[[Sequence[Written]], None]) -> Callable[[], None]:
        """Have every write of this process told, on the writer's thread."""
        return self._changes.watch(told)

    # -- for the coordinator

    def begin_epoch(self) -> int:
        """Take over."""
        return self._write(_begin_epoch)

    def unfinished(self) -> Sequence[Job]:
        """All jobs that are not terminal, oldest first."""
        with self._read() as connection:
            found = connection.execute(_jobs().where(job.c.ended_ms.is_(None)).order_by(job.c.created_ms, job.c.id))
            return [rows.job_of(row) for row in found]

    def awaiting_delivery(self) -> Sequence[Job]:
        """Jobs that have ended whose report is to be delivered, the one first that has waited longest."""
        with self._read() as connection:
            found = connection.execute(_jobs().where(job.c.delivery_ms.is_not(None)).order_by(job.c.delivery_ms, job.c.id))
            return [rows.job_of(row) for row in found]

    def find(self, job_ids: Iterable[str]) -> Mapping[str, Job]:
        """Jobs by id; unknown ids are left out."""
        with self._read() as connection:
            return books.find_jobs(connection, job_ids)

    def chunks(self, job_id: str) -> Sequence[Chunk]:
        """The job's ledger, by index."""
        with self._read() as connection:
            found = connection.execute(select(*rows.chunk_columns).where(chunk.c.job == job_id).order_by(chunk.c.index))
            return [rows.chunk_of(row) for row in found]

    def segments(self, job_id: str) -> Sequence[Segment]:
        """Committed segments of the job's open chunks, in order of commit."""
        with self._read() as connection:
            found = connection.execute(select(*rows.segment_columns).where(segment.c.job == job_id).order_by(segment.c.id))
            return [rows.segment_of(row) for row in found]

    def ended(self, since_ms: int, before_ms: int, limit: int) -> Sequence[Job]:
        """Terminal jobs, the longest ended first."""
        found = (
            _jobs().where(job.c.ended_ms >= since_ms, job.c.ended_ms < before_ms).order_by(job.c.ended_ms, job.c.id).limit(limit)
        )
        with self._read() as connection:
            return [rows.job_of(row) for row in connection.execute(found)]

    def forget(self, job_ids: Iterable[str]) -> None:
        """Remove terminal jobs with their ledger, a slice of it at a time: other writes need not wait for the whole."""
        for job_id in job_ids:
            while self._write(partial(_forget_slice, job_id=job_id)):
                pass

    def commit(self, epoch: int, entries: Sequence[Entry]) -> Mapping[str, Job]:
        """Apply the entries in one durable transaction; jobs that do not exist are left out of the answer.

        Raises Superseded, or ValueError where an entry contradicts the ledger (more outcomes than rows, say): a defect of the
        caller, of which nothing is kept.
        """
        now_ms = self._clock.now_ms()

        def work(connection: Connection) -> Ledger:
            _check_epoch(connection, epoch)
            ledger = books.load(connection, entries, now_ms=now_ms)
            ledger.apply(entries)
            books.save(connection, ledger)
            return ledger

        return self._write(work, after=self._tell_of).jobs

    def _tell_of(self, ledger: Ledger) -> None:
        recorded = {happened.job for happened in ledger.happened}
        changed = recorded | ledger.moved | ledger.recounted
        told = (Written(ledger.jobs[job_id], job_id in recorded, ended=job_id in ledger.ended) for job_id in changed)
        self._changes.tell_watchers(list(told))

    def close(self) -> None:
        """Finish what is queued, then close."""
        self._database.close()


def _jobs() -> Select[tuple[object, ...]]:
    return select(*rows.job_columns)


def _visible(connection: Connection, account: str, job_id: str) -> Job:
    found = _jobs().where(job.c.id == job_id, job.c.account == account, job.c.deleted_ms.is_(None))
    row = connection.execute(found).first()
    if row is None:
        raise JobNotFound(job_id)
    return rows.job_of(row)


def _create(connection: Connection, new: Job, unfinished_max: int) -> list[Written]:
    same_token = (job.c.account == new.account, job.c.token == new.token)
    earlier = connection.execute(select(job.c.id).where(*same_token)).scalar()
    if earlier is not None:
        raise TokenReused(new.token, earlier)
    unfinished = select(func.count()).select_from(job).where(job.c.account == new.account, job.c.ended_ms.is_(None))
    if connection.execute(unfinished).scalar_one() >= unfinished_max:
        raise TooManyJobs(f"Account {new.account!r} has {unfinished_max} unfinished jobs, the most it may have.")
    connection.execute(insert(job), rows.job_row(new))
    _insert_tags(connection, new)
    record.write(connection, [created(new)])
    written = [Written(new, recorded=True)]
    return written if new.retry is None else [*written, _link(connection, new, new.retry.of)]


def _link(connection: Connection, retry: Job, of: str) -> Written:
    """Tell the job whose tasks are run again by which one."""
    before = _visible(connection, retry.account, of)
    after = msgspec.structs.replace(before, retried_by=(*before.retried_by, retry.id)[-RETRIES_KEPT:])
    connection.execute(update(job).where(job.c.id == of).values(rows.job_row(after)))
    record.write(connection, [retried(retry)])
    return Written(after, recorded=True)


def _insert_tags(connection: Connection, tagged: Job) -> None:
    if tagged.tags:
        connection.execute(insert(job_tag), rows.tag_rows(tagged))


def _page(query: ListQuery) -> Select[tuple[object, ...]]:
    """One statement, so that a job which moves meanwhile is neither missed nor seen twice. Each status is walked along the index
    in the order asked for and stops after `limit` jobs, so that a page costs the same however many jobs there are."""
    direction = "desc" if query.newest_first else "asc"
    sought = list(_sought(query))

    def order(*columns: SQLColumnExpression[object]) -> Iterator[SQLColumnExpression[object]]:
        return (getattr(column, direction)() for column in columns)

    def walk(status: str) -> Select[tuple[str]]:
        wanted = [job.c.account == query.account, job.c.status == status, job.c.deleted_ms.is_(None)]
        if query.after is not None:
            place, after = tuple_(job.c.created_ms, job.c.id), tuple_(*query.after)
            wanted.append(place < after if query.newest_first else place > after)
        if query.created_since_ms is not None and status in TERMINAL:
            wanted.append(job.c.created_ms >= query.created_since_ms)
        if query.ended_since_ms is not None and status in TERMINAL:
            wanted.append(job.c.ended_ms >= query.ended_since_ms)
        wanted += sought
        walked = select(job.c.id).where(and_(*wanted)).order_by(*order(job.c.created_ms, job.c.id)).limit(query.limit)
        return select(walked.subquery().c.id)

    ids = union_all(*(walk(status) for status in sorted(query.statuses or JobStatus)))
    return _jobs().where(job.c.id.in_(ids)).order_by(*order(job.c.created_ms, job.c.id)).limit(query.limit)


def _sought(query: ListQuery) -> Iterator[ColumnElement[bool]]:
    """What beside the status a listed job must be."""
    if query.operations:
        yield job.c.operation.in_(sorted(query.operations))
    for tag in query.tags:
        yield exists().where(job_tag.c.job == job.c.id, or_(job_tag.c.key == tag, job_tag.c.key + "=" + job_tag.c.value == tag))
    if query.text is not None:
        yield or_(*(column.icontains(query.text, autoescape=True) for column in (job.c.id, job.c.description)))


def _forget_slice(connection: Connection, job_id: str) -> bool:
    """Forget some of a terminal job, and the job itself once its ledger is gone; whether there is more of it."""
    ended = select(job.c.id).where(job.c.id == job_id, job.c.ended_ms.is_not(None))
    some = select(chunk.c.index).where(chunk.c.job.in_(ended)).order_by(chunk.c.index.desc()).limit(CHUNKS_FORGOTTEN)
    gone = connection.execute(delete(chunk).where(chunk.c.job == job_id, chunk.c.index.in_(some))).rowcount
    if gone == CHUNKS_FORGOTTEN:
        return True
    connection.execute(delete(job).where(job.c.id == job_id, job.c.ended_ms.is_not(None)))
    return False


def _begin_epoch(connection: Connection) -> int:
    connection.execute(update(epoch).values(epoch=epoch.c.epoch + 1))
    return int(connection.execute(select(epoch.c.epoch)).scalar_one())


def _check_epoch(connection: Connection, mine: int) -> None:
    current = connection.execute(select(epoch.c.epoch)).scalar_one()
    if mine != current:
        raise Superseded(f"Epoch {mine} has ended: the current one is {current}.")
