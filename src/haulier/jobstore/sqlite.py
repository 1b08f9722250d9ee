"""How SQLite is opened: one connection that writes and checkpoints, others that can do neither.

SQLite 3.7.0 to 3.51.2 can corrupt a database in WAL mode when one connection checkpoints while another one writes or
checkpoints (Debian 12 ships 3.40.1). Here that cannot happen: all writes and all checkpoints go through the writer's one
connection, and the readers' connections are opened read-only, so that SQLite itself refuses them both.
"""

import os
import sqlite3
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import Connection, Engine, NullPool, QueuePool, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted

BUSY_SECONDS: Final = 5.0
"""How long to wait for another program that holds the database (a backup, the sqlite3 shell)."""
READERS_KEPT: Final = 8
READERS_MAX: Final = 64

_CANNOT_NOW: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOTADB,
    }
)


def cannot_now(error: BaseException) -> bool:
    """Whether the error says that the database cannot do anything now, as opposed to refusing one statement."""
    if isinstance(error, PoolExhausted):
        return True
    cause = error.orig if isinstance(error, DBAPIError) else error
    # An extended code such as SQLITE_IOERR_FSYNC has the primary one in its low byte.
    return isinstance(cause, sqlite3.Error) and getattr(cause, "sqlite_errorcode", 0) & 0xFF in _CANNOT_NOW


def in_short(error: BaseException) -> str:
    """SQLite's own words, without what SQLAlchemy says around them."""
    return str(error.orig if isinstance(error, DBAPIError) else error)


def writing_engine(path: Path) -> Engine:
    """For the writer alone, which keeps one connection of it. The file is made with mode 0600 where it does not exist; SQLite
    gives its companions (`-wal`, `-shm`) the same mode."""

    def connect() -> sqlite3.Connection:
        if not path.exists():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        path.chmod(0o600)
        connection = _connect(path, "rw")
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            connection.close()
            raise sqlite3.OperationalError(f"{path}: the file system does not allow SQLite's WAL mode")
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    engine = create_engine("sqlite+pysqlite://", creator=connect, poolclass=NullPool)
    event.listen(engine, "begin", _begin_immediate)
    return engine


def reading_engine(path: Path) -> Engine:
    """Connections that are lent to one thread at a time and never write or checkpoint."""
    return create_engine(
        "sqlite+pysqlite://",
        creator=lambda: reading_connection(path),
        poolclass=QueuePool,
        pool_size=READERS_KEPT,
        max_overflow=READERS_MAX - READERS_KEPT,
        pool_timeout=BUSY_SECONDS,
    )


def reading_connection(path: Path) -> sqlite3.Connection:
    """A connection that never writes or checkpoints. Raises sqlite3.Error."""
    connection = _connect(path, "ro")
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    return connection


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode={mode}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,  # BEGIN is ours to say
        check_same_thread=False,  # the pool sees to it that one thread uses it at a time
    )
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA mmap_size = 0")
    return connection


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def checkpoint(connection: Connection) -> None:
    """Move the whole WAL into the database and empty it; outside a transaction, on the writer's connection."""
    driver: Any = connection.connection.dbapi_connection
    driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
