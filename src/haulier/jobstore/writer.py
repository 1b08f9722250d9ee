"""The one thread that writes: it owns the only connection that can, and commits what waits in its queue together.

Each piece of work runs in a savepoint of its own, so one that fails undoes only itself; a future is answered after the
commit that holds its work is durable.
"""

import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, Generic, TypeVar

import structlog
from sqlalchemy import Connection, Engine

from haulier.core.errors import Unavailable

T = TypeVar("T")

TOGETHER_MAX: Final = 256
"""Pieces of work in one transaction."""

_log = structlog.get_logger(__name__)


class _Piece(Generic[T]):
    """Work, its future, and how it ended before the commit."""

    def __init__(self, work: Callable[[Connection], T], after: Callable[[T], None] | None) -> None:
        self.future: Future[T] = Future()
        self.result: T
        self.error: Exception | None = None
        self._work = work
        self._after = after

    def run(self, connection: Connection, is_fatal: Callable[[BaseException], bool]) -> None:
        """Run the work in a savepoint. Raises what the whole transaction has to die of."""
        savepoint = connection.begin_nested()
        try:
            self.result = self._work(connection)
        except Exception as error:
            if is_fatal(error):
                raise
            savepoint.rollback()
            self.error = error
        else:
            savepoint.commit()

    def answer(self) -> None:
        """Tell the one who waits, after the commit."""
        if self.error is not None:
            self.future.set_exception(self.error)
            return
        if self._after is not None:
            try:
                self._after(self.result)
            except Exception as error:  # noqa: BLE001 - the work is durable, whatever becomes of the news of it
                _log.error("news of a write were lost", error=repr(error))
        self.future.set_result(self.result)


class Writer:
    """Runs work on the writing connection, from any thread.

    `is_fatal` tells errors after which the database cannot go on (full, I/O) from a statement's own: work that was to be
    committed with such an error raises Unavailable, nothing of it is kept, and the next work tries afresh on a new connection.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        is_fatal: Callable[[BaseException], bool],
        at_close: Callable[[Connection], None],
        threaded: bool = True,
    ) -> None:
        """`threaded=False`: there is no thread, each piece of work is a transaction of its own on the thread that brings it, and
        only one thread may (the simulation has no other)."""
        self._engine = engine
        self._is_fatal = is_fatal
        self._at_close = at_close
        self._connection: Connection | None = None
        self._queue: queue.SimpleQueue[_Piece[Any] | None] = queue.SimpleQueue()
        self._closing = False
        self._gate = threading.Lock()
        self._thread: threading.Thread | None = None
        if threaded:
            self._thread = threading.Thread(target=self._run, name="haulier-writer", daemon=True)
            self._thread.start()

    def submit(self, work: Callable[[Connection], T], *, after: Callable[[T], None] | None = None) -> Future[T]:
        """Queue the work. Raises Unavailable after `close`. `after` is called with its result on the writer's thread once it is
        durable, in the order of commits; it must return at once."""
        piece = _Piece(work, after)
        with self._gate:
            if self._closing:
                raise Unavailable("The job store is closed.")
            self._queue.put(piece)
        if self._thread is None:
            self._write_waiting()
        return piece.future

    def run(self, work: Callable[[Connection], T], *, after: Callable[[T], None] | None = None) -> T:
        """Queue the work and wait until it is durable. Raises what it raises, or Unavailable."""
        assert threading.current_thread() is not self._thread, "work on the writer's thread must not wait for the writer"
        return self.submit(work, after=after).result()

    def close(self) -> None:
        """Finish what is queued, then close the connection. A second call does nothing."""
        with self._gate:
            if not self._closing:
                self._closing = True
                self._queue.put(None)
                if self._thread is None:
                    self._run()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._write_waiting():
            pass
        if self._connection is not None:
            try:
                self._at_close(self._connection)
            except Exception as error:  # noqa: BLE001 - everything is durable already; the next start does what was left
                _log.warning("job store closed without its last checkpoint", error=str(error))
            self._drop_connection()

    def _write_waiting(self) -> bool:
        """Wait for work and do it; whether it was the last."""
        pieces, last = self._waiting()
        pieces = [piece for piece in pieces if piece.future.set_running_or_notify_cancel()]
        if pieces:
            self._write(pieces)
        return last

    def _waiting(self) -> tuple[list[_Piece[Any]], bool]:
        pieces: list[_Piece[Any]] = []
        piece = self._queue.get()
        while piece is not None:
            pieces.append(piece)
            if len(pieces) == TOGETHER_MAX:
                return pieces, False
            try:
                piece = self._queue.get_nowait()
            except queue.Empty:
                return pieces, False
        return pieces, True

    def _write(self, pieces: list[_Piece[Any]]) -> None:
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
            with self._connection.begin():
                for piece in pieces:
                    piece.run(self._connection, self._is_fatal)
        except Exception as error:  # noqa: BLE001 - whatever it was, somebody waits for each of the futures
            # SQLite may have rolled back by itself, so the state of the connection is not worth guessing.
            self._drop_connection()
            problem = str(getattr(error, "orig", None) or error)
            _log.error("job store cannot write", error=problem, pieces=len(pieces))
            for piece in pieces:
                unavailable = Unavailable(f"The job store cannot write now: {problem}")
                unavailable.__cause__ = error
                piece.future.set_exception(unavailable)
        else:
            for piece in pieces:
                piece.answer()

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.invalidate()
            with contextlib.suppress(Exception):
                connection.close()
