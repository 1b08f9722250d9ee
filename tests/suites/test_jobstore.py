import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import Connection, event

from haulier.core.errors import SettingsError, Unavailable
from haulier.core.lifecycle import JobEvent
from haulier.core.ports import ChunksOpened, ChunksStaged, JobStore, ListQuery
from haulier.jobstore import SqlJobStore
from haulier.testing.suites.jobstore import PLENTY, JobStoreSuite, a_chunk, a_job, ended, flushed, moved
from haulier.testing.suites.jobstore_model import JobStoreMachine


class Ticks:
    """A clock that goes one millisecond further each time it is asked."""

    def __init__(self) -> None:
        self._now_ms = 1_700_000_000_000

    def now_ms(self) -> int:
        self._now_ms += 1
        return self._now_ms

    def monotonic(self) -> float:
        return self._now_ms / 1000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "haulier.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqlJobStore]:
    store = SqlJobStore.open(path, Ticks())
    yield store
    store.close()


def integrity(path: Path) -> str:
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    finally:
        connection.close()


class TestSqlJobStoreOnSqlite(JobStoreSuite):
    @pytest.fixture
    def jobstore(self, store: SqlJobStore) -> JobStore:
        return store


def test_random_commits_leave_what_a_plain_model_says(store: SqlJobStore) -> None:
    machine = type("Machine", (JobStoreMachine,), {"jobstore": store, "epoch": store.begin_epoch()})
    few = settings(max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(machine, settings=few)


def test_what_was_stored_is_there_after_reopening(path: Path) -> None:
    first = SqlJobStore.open(path, Ticks())
    assert first.unfinished() == []
    first.create(a_job(), unfinished_max=PLENTY)
    epoch = first.begin_epoch()
    first.commit(epoch, [*moved(JobEvent.PICKED_UP), ChunksStaged("job-1", (a_chunk(0),), first=True)])
    before = first.get("acme", "job-1")
    first.close()
    second = SqlJobStore.open(path, Ticks())
    assert second.get("acme", "job-1") == before
    assert second.chunks("job-1") == [a_chunk(0)]
    assert second.begin_epoch() == epoch + 1
    second.close()
    assert [file.name for file in path.parent.iterdir()] == ["haulier.db"]


def test_only_the_owner_can_read_the_files(store: SqlJobStore, path: Path) -> None:
    store.create(a_job(), unfinished_max=PLENTY)
    assert store.get("acme", "job-1")
    assert {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {
        "haulier.db": 0o600,
        "haulier.db-wal": 0o600,
        "haulier.db-shm": 0o600,
    }


def test_a_database_of_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    SqlJobStore.open(path, Ticks()).close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(SettingsError, match=r"newer version of Haulier \(schema 9999"):
        SqlJobStore.open(path, Ticks())
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(SettingsError, match=r"haulier\.db cannot be used as database"):
        SqlJobStore.open(path, Ticks())


def test_a_folder_that_does_not_exist_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent/haulier\.db"):
        SqlJobStore.open(tmp_path / "absent" / "haulier.db", Ticks())


# -- one connection writes and checkpoints


def pragma(connection: Connection, name: str) -> object:
    return connection.exec_driver_sql(f"PRAGMA {name}").scalar()


def test_the_writer_syncs_every_commit_and_does_the_checkpoints(store: SqlJobStore) -> None:
    wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "wal_autocheckpoint": 1000, "query_only": 0}
    assert store._database.writer.run(lambda connection: {name: pragma(connection, name) for name in wanted}) == wanted
    assert store._database.writer.run(lambda connection: pragma(connection, "busy_timeout")) == 5000


def test_a_reader_can_neither_write_nor_checkpoint(store: SqlJobStore, path: Path) -> None:
    """The known fault of WAL mode before SQLite 3.51.3 needs two connections of which one checkpoints."""
    store.create(a_job(), unfinished_max=PLENTY)
    with store._database.readers.connect() as reader:
        assert (pragma(reader, "query_only"), pragma(reader, "wal_autocheckpoint")) == (1, 0)
        reader.exec_driver_sql("PRAGMA query_only = OFF")  # the file itself is open for reading only
        driver = reader.connection.dbapi_connection
        assert driver is not None
        wal = path.with_name("haulier.db-wal")
        before = path.read_bytes(), wal.read_bytes()
        for statement in ("DELETE FROM job", "PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA wal_checkpoint(PASSIVE)"):
            with pytest.raises(sqlite3.OperationalError):
                driver.cursor().execute(statement).fetchall()
        reader.invalidate()
        assert (path.read_bytes(), wal.read_bytes()) == before
    assert store.get("acme", "job-1") == a_job()


def test_the_write_ahead_log_stays_small_under_many_commits_with_readers_about(store: SqlJobStore, path: Path) -> None:
    store.create(a_job(as_sent={"text": "x" * 50_000}), unfinished_max=PLENTY)
    for priority in range(400):
        store.change("acme", "job-1", lambda job, priority=priority: a_job(as_sent=job.as_sent, priority=priority))
        assert store.get("acme", "job-1").priority == priority
    assert path.with_name("haulier.db-wal").stat().st_size < 8_000_000


# -- trouble


def limit_pages(store: SqlJobStore, pages: Callable[[], int]) -> None:
    """As on a disk with room for so many pages (0: no limit), now and for later connections."""
    most = 2**31
    event.listen(
        store._database.writer._engine, "connect", lambda driver, _: driver.execute(f"PRAGMA max_page_count = {pages() or most}")
    )
    store._database.writer.run(lambda connection: pragma(connection, f"max_page_count = {pages() or most}"))


def test_a_full_disk_refuses_writes_keeps_reads_and_passes(store: SqlJobStore, path: Path) -> None:
    room = [200]
    store.create(a_job("first"), unfinished_max=PLENTY)
    limit_pages(store, lambda: room[0])
    stored: list[str] = []

    def fill() -> None:
        for number in range(1_000):
            store.create(a_job(f"job-{number}", as_sent={"text": "x" * 20_000}), unfinished_max=PLENTY)
            stored.append(f"job-{number}")

    with pytest.raises(Unavailable, match="full"):
        fill()
    for _ in range(3):
        with pytest.raises(Unavailable):
            store.create(a_job("too-many", as_sent={"text": "x" * 60_000}), unfinished_max=PLENTY)
    assert stored
    assert store.get("acme", "first") == a_job("first")
    room[0] = 0
    store.create(a_job("after", as_sent={"text": "x" * 60_000}), unfinished_max=PLENTY)
    assert sorted(job.id for job in store.unfinished()) == sorted(["first", *stored, "after"])
    store.close()
    assert integrity(path) == "ok"


def test_a_database_that_another_program_holds_is_unavailable_and_then_free_again(store: SqlJobStore, path: Path) -> None:
    store._database.writer.run(lambda connection: pragma(connection, "busy_timeout = 1"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked"):
        store.create(a_job(), unfinished_max=PLENTY)
    other.execute("ROLLBACK")
    other.close()
    store.create(a_job(), unfinished_max=PLENTY)
    assert store.get("acme", "job-1") == a_job()


CHILD = """
import itertools, os, sys, threading
from pathlib import Path
from haulier.core.chunk import Attempt
from haulier.jobstore import SqlJobStore
from haulier.testing.suites.jobstore import PLENTY, a_job, flushed
from test_jobstore import Ticks

round_number = sys.argv[2]
store = SqlJobStore.open(Path(sys.argv[1]), Ticks())
epoch = store.begin_epoch()

def create():
    for number in itertools.count():
        store.create(a_job(f"{round_number}-{number}"), unfinished_max=PLENTY)
        os.write(1, f"created {round_number}-{number}\\n".encode())

threading.Thread(target=create, daemon=True).start()
for number in itertools.count():
    store.commit(epoch, [flushed(0, sequence, rows=1, attempt=Attempt(epoch, number)) for sequence in range(5)])
    os.write(1, f"flushed {epoch} {number}\\n".encode())
"""


@pytest.mark.kill
def test_what_was_answered_survives_kill_9_in_the_middle_of_commits(path: Path) -> None:
    store = SqlJobStore.open(path, Ticks())
    store.create(a_job(), unfinished_max=PLENTY)
    chunk = a_chunk(0, rows=10_000_000)
    entries = [*moved(JobEvent.PICKED_UP), ChunksStaged("job-1", (chunk,), first=True), ChunksOpened("job-1", (0,), 1)]
    store.commit(store.begin_epoch(), [*entries, *moved(JobEvent.PREPARED, JobEvent.STARTED, total=10_000_000)])
    store.close()
    answered: list[str] = []
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    for number in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(path), f"r{number}"], stdout=subprocess.PIPE, text=True, env=environment
        )
        assert child.stdout is not None
        with child.stdout:
            answered += [child.stdout.readline().strip() for _ in range(30 + 17 * number)]
            child.send_signal(signal.SIGKILL)
            answered += [line.strip() for line in child.stdout if line.endswith("\n")]
        assert child.wait() == -signal.SIGKILL
    store = SqlJobStore.open(path, Ticks())
    created = {line.split()[1] for line in answered if line.startswith("created")}
    assert created
    assert set(store.find(created)) == created
    there = {(segment.attempt.epoch, segment.attempt.counter) for segment in store.segments("job-1")}
    promised = {(int(line.split()[1]), int(line.split()[2])) for line in answered if line.startswith("flushed")}
    assert promised
    assert promised <= there
    # A commit is there as a whole or not at all, and the counter with it.
    assert store.get("acme", "job-1").succeeded == len(store.segments("job-1")) == 5 * len(there)
    store.close()
    assert integrity(path) == "ok"


# -- size


def steps_of(store: SqlJobStore, action: Callable[[], object]) -> int:
    """How many hundred instructions of SQLite's machine the action took: the same on every machine, and at any load."""
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1

    def watch(connection: sqlite3.Connection, *_rest: object) -> None:
        connection.set_progress_handler(step, 100)

    def leave(connection: sqlite3.Connection, *_rest: object) -> None:
        connection.set_progress_handler(None, 0)

    engine = store._database.readers
    event.listen(engine, "checkout", watch)
    event.listen(engine, "checkin", leave)
    try:
        action()
    finally:
        event.remove(engine, "checkout", watch)
        event.remove(engine, "checkin", leave)
    return steps


def test_a_hundred_thousand_finished_jobs_slow_nothing_down(store: SqlJobStore) -> None:
    store.create(ended(a_job("job-0")), unfinished_max=PLENTY)
    multiply = """
        INSERT INTO job SELECT printf('%08x-job', n), account, 'token ' || n, status, priority, created_ms + n / 3, ended_ms,
            deleted_ms, total, succeeded, failed, document, operation, description, delivery_ms
        FROM job, (WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 100000) SELECT n FROM c)
    """
    store._database.writer.run(lambda connection: connection.exec_driver_sql(multiply).rowcount)
    store.create(a_job("job-1", created_ms=20_000), unfinished_max=1)

    newest = ListQuery(account="acme", newest_first=True)
    middle = ListQuery(account="acme", newest_first=False, after=(20_000, "middle"))
    assert len(store.list(newest)) == len(store.list(middle)) == 1000
    assert steps_of(store, lambda: store.list(newest)) < 1_000
    assert steps_of(store, lambda: store.list(middle)) < 1_000
    active = ListQuery(account="acme", newest_first=True, statuses=frozenset({"New"}))
    assert [job.id for job in store.list(active)] == ["job-1"]
    assert steps_of(store, lambda: store.list(active)) < 10
    recent = ListQuery(account="acme", newest_first=False, created_since_ms=34_000)
    assert store.list(recent)[0].id == "job-1"
    assert steps_of(store, lambda: store.list(recent)) < 1_000
    kept = ListQuery(account="acme", newest_first=True, ended_since_ms=0)
    assert len(store.list(kept)) == 1000
    assert steps_of(store, lambda: store.list(kept)) < 1_000
    none = ListQuery(account="acme", newest_first=True, text="nowhere", operations=frozenset({"copy"}))
    assert store.list(none) == []
    assert steps_of(store, lambda: store.list(none)) < 20_000
    untagged = ListQuery(account="acme", newest_first=True, tags=("team=other",))
    assert store.list(untagged) == []
    assert steps_of(store, lambda: store.list(untagged)) < 20_000
    assert steps_of(store, lambda: store.get("acme", "0000c350-job")) < 10
    assert steps_of(store, store.unfinished) < 10


def test_a_commit_of_a_hundred_flushes_takes_a_few_statements(store: SqlJobStore) -> None:
    store.create(a_job(), unfinished_max=PLENTY)
    epoch = store.begin_epoch()
    chunks = tuple(a_chunk(index) for index in range(100))
    store.commit(epoch, [*moved(JobEvent.PICKED_UP), ChunksStaged("job-1", chunks, first=True)])
    store.commit(epoch, moved(JobEvent.PREPARED, JobEvent.STARTED, total=2_000_000))
    statements: list[str] = []
    engine = store._database.writer._engine
    event.listen(engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    for sequence in range(20):
        store.commit(epoch, [flushed(index, sequence) for index in range(100)])
    assert store.get("acme", "job-1").succeeded == 20 * 100 * 100
    assert len(statements) <= 20 * 12, statements[:12]
