"""One way to write and one way to read, for everything that is kept in the database."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from haulier.core.errors import Unavailable
from haulier.jobstore import sqlite
from haulier.jobstore.writer import Writer

T = TypeVar("T")


class Database:
    """The writer's thread and the readers' connections. Safe to use from any thread."""

    def __init__(self, writer: Writer, readers: Engine) -> None:
        self.writer = writer
        self.readers = readers

    def write(self, work: Callable[[Connection], T], *, after: Callable[[T], None] | None = None) -> T:
        """Run the work in a transaction, durable on return. Raises what it raises, Unavailable, and ValueError for what the
        schema refuses. For `after` see `Writer.submit`."""
        try:
            return self.writer.run(work, after=after)
        except IntegrityError as error:
            raise ValueError(f"the job store refuses what must never be true: {error.orig}") from error

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one state of the database from its first statement in a transaction on. Raises Unavailable."""
        try:
            with self.readers.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            if sqlite.cannot_now(error):
                raise Unavailable(f"The job store cannot be read now: {error}") from error
            raise

    def close(self) -> None:
        """Finish what is queued, then close. The writer's connection goes last, for the last one to close does a checkpoint."""
        self.readers.dispose()
        self.writer.close()
