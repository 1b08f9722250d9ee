import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, NullPool, create_engine, event

from haulier.core.errors import JobNotFound, Unavailable
from haulier.jobstore.writer import Writer


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    arguments = {"isolation_level": None, "check_same_thread": False}
    engine = create_engine(f"sqlite:///{tmp_path}/words.db", poolclass=NullPool, connect_args=arguments)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE word (text TEXT NOT NULL)")
    yield engine
    engine.dispose()


@pytest.fixture
def writer(engine: Engine) -> Iterator[Writer]:
    writer = Writer(engine, is_fatal=lambda error: isinstance(error, OSError), at_close=lambda _: None)
    yield writer
    writer.close()


def put(connection: Connection, word: str) -> str:
    connection.exec_driver_sql("INSERT INTO word VALUES (?)", (word,))
    return word


def words(writer: Writer) -> list[str]:
    return writer.run(lambda connection: list(connection.exec_driver_sql("SELECT text FROM word ORDER BY rowid").scalars()))


class Held:
    """Keeps the writer busy, so that what is submitted meanwhile waits in its queue."""

    def __init__(self, writer: Writer) -> None:
        self._free, self._busy = threading.Event(), threading.Event()
        self._future = writer.submit(self._wait)
        assert self._busy.wait(30)

    def _wait(self, _: Connection) -> None:
        self._busy.set()
        assert self._free.wait(30)

    def release(self) -> None:
        self._free.set()
        self._future.result(30)


def test_what_waits_is_committed_together(engine: Engine, writer: Writer) -> None:
    commits: list[Connection] = []
    event.listen(engine, "commit", commits.append)
    held = Held(writer)
    futures = [writer.submit(lambda connection, number=number: put(connection, str(number))) for number in range(20)]
    held.release()
    assert [future.result(30) for future in futures] == [str(number) for number in range(20)]
    assert len(commits) == 2
    assert words(writer) == [str(number) for number in range(20)]


def test_work_that_fails_undoes_only_itself(writer: Writer) -> None:
    def failing(connection: Connection) -> None:
        put(connection, "undone")
        raise JobNotFound("job-1")

    held = Held(writer)
    before = writer.submit(lambda connection: put(connection, "before"))
    failed = writer.submit(failing)
    after = writer.submit(lambda connection: put(connection, "after"))
    held.release()
    assert (before.result(30), after.result(30)) == ("before", "after")
    with pytest.raises(JobNotFound):
        failed.result(30)
    assert words(writer) == ["before", "after"]


def test_a_failure_of_the_database_keeps_nothing_and_the_next_work_goes_on(writer: Writer) -> None:
    def fatal(connection: Connection) -> None:
        put(connection, "lost")
        raise OSError(5, "I/O error")

    held = Held(writer)
    futures = [writer.submit(lambda connection: put(connection, "with it")), writer.submit(fatal)]
    held.release()
    for future in futures:
        with pytest.raises(Unavailable, match="I/O error"):
            future.result(30)
    assert writer.run(lambda connection: put(connection, "next")) == "next"
    assert words(writer) == ["next"]


def test_a_commit_that_fails_is_told_to_all_whose_work_it_held(engine: Engine, writer: Writer) -> None:
    broken = [True]

    def refuse(_: Connection) -> None:
        if broken:
            broken.clear()
            raise OSError(28, "No space left on device")

    event.listen(engine, "commit", refuse)
    with pytest.raises(Unavailable, match="No space left"):
        writer.run(lambda connection: put(connection, "never durable"))
    assert writer.run(lambda connection: put(connection, "durable")) == "durable"
    assert words(writer) == ["durable"]


def test_a_cancelled_piece_is_not_run(writer: Writer) -> None:
    held = Held(writer)
    future = writer.submit(lambda connection: put(connection, "cancelled"))
    assert future.cancel()
    held.release()
    assert words(writer) == []


def test_closing_finishes_what_is_queued(engine: Engine) -> None:
    closed: list[Connection] = []
    writer = Writer(engine, is_fatal=lambda _: False, at_close=closed.append)
    held = Held(writer)
    futures = [writer.submit(lambda connection, number=number: put(connection, str(number))) for number in range(300)]
    closing = threading.Thread(target=writer.close)
    closing.start()
    held.release()
    closing.join()
    assert [future.result(0) for future in futures] == [str(number) for number in range(300)]
    assert len(closed) == 1
    with pytest.raises(Unavailable):
        writer.submit(lambda connection: put(connection, "late"))


def test_without_a_thread_work_is_done_by_the_one_who_brings_it(engine):
    closed = []
    writer = Writer(engine, is_fatal=lambda _: False, at_close=closed.append, threaded=False)
    before = threading.active_count()
    seen = []
    future = writer.submit(lambda _: threading.get_ident(), after=seen.append)
    assert future.done()
    assert seen == [future.result()] == [threading.get_ident()]
    writer.close()
    assert len(closed) == 1
    assert threading.active_count() == before
    with pytest.raises(Unavailable):
        writer.run(lambda _: None)
