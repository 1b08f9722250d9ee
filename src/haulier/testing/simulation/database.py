"""The job store: real SQLite in files of its own, with a writer that can fail where a disk would make it fail."""

import atexit
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Engine, event

from haulier.core.clock import SystemClock
from haulier.core.errors import Unavailable
from haulier.core.job import Job
from haulier.core.ports import Clock, Entry
from haulier.jobstore import SqlJobStore, sqlite
from haulier.jobstore.database import Database
from haulier.jobstore.writer import Writer
from haulier.testing.simulation.crashpoints import CrashPoints
from haulier.testing.simulation.hub import Process

T = TypeVar("T")


@cache
def _empty() -> bytes:
    """A database of the newest schema without jobs: made once, for it takes as long as half a seed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "haulier.db"
        SqlJobStore.open(path, SystemClock()).close()
        return path.read_bytes()


@contextmanager
def memory_folder() -> Iterator[Path]:
    """A folder while it is needed; in memory, if the system has such a place, for a sync costs nothing there."""
    place = tempfile.tempdir or ("/dev/shm" if Path("/dev/shm").is_dir() else None)
    with tempfile.TemporaryDirectory(prefix="haulier-simulation-", dir=place) as folder:
        yield Path(folder)


_kept = ExitStack()
atexit.register(_kept.close)


@cache
def _folder() -> Path:
    """One for all seeds of this process."""
    return _kept.enter_context(memory_folder())


@cache
def _engines(path: Path) -> tuple[Engine, Engine]:
    """Kept, because each compiles its statements anew. Connections are not."""
    return sqlite.writing_engine(path), sqlite.reading_engine(path)


class DatabaseFiles:
    """The files of one seed."""

    def __init__(self) -> None:
        self.folder = _folder()
        self.path = self.folder / "haulier.db"
        self.remove()
        self.path.write_bytes(_empty())

    def remove(self) -> None:
        """All over."""
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


class Troubles:
    """What goes wrong with commits; `chance` gives numbers in [0, 1)."""

    def __init__(self, chance: Callable[[], float], refused: float, answer_lost: float) -> None:
        self.chance = chance
        self.refused = refused
        self.answer_lost = answer_lost
        self.full = False

    def stop(self) -> None:
        """None from now on."""
        self.refused = self.answer_lost = 0.0


class CrashingJobStore:
    """`core.ports.JobStore` of one server process. A crash leaves in the database what was committed, and nothing else."""

    def __init__(
        self,
        path: Path,
        clock: Clock,
        process: Process,
        points: CrashPoints,
        troubles: Troubles,
        committed: Callable[[], None],
    ) -> None:
        """`committed` is called after everything that was made durable."""
        self._writing, self._readers = _engines(path)
        writer = Writer(self._writing, is_fatal=sqlite.cannot_now, at_close=sqlite.checkpoint, threaded=False)
        self._inner = SqlJobStore(Database(writer, self._readers), clock)
        self._writer = writer
        self._process = process
        self._points = points
        self._troubles = troubles
        self._committed = committed
        self._of_coordinator = False
        event.listen(self._writing, "commit", self._commits)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def close(self) -> None:
        """Let go of the files, as the end of a process does."""
        event.remove(self._writing, "commit", self._commits)
        self._readers.dispose()
        self._writer.close()

    def _commits(self, _connection: object) -> None:
        self._points.reach(f"{'commit' if self._of_coordinator else 'call'}: in the transaction", self._process)
        troubles = self._troubles
        if troubles.full or troubles.chance() < troubles.refused:
            refusal = sqlite3.OperationalError("database or disk is full")
            refusal.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise refusal

    # -- the coordinator's

    def begin_epoch(self) -> int:
        """See `JobStore`."""
        epoch = self._inner.begin_epoch()
        self._points.reach("epoch: begun", self._process)
        return epoch

    def commit(self, epoch: int, entries: Sequence[Entry]) -> Mapping[str, Job]:
        """See `JobStore`."""
        self._points.reach("commit: before", self._process)
        self._of_coordinator = True
        try:
            jobs = self._inner.commit(epoch, entries)
        finally:
            self._of_coordinator = False
        self._committed()
        self._points.reach("commit: done", self._process)
        if self._troubles.chance() < self._troubles.answer_lost:
            raise Unavailable("the answer was lost")
        return jobs

    def find(self, job_ids: Iterable[str]) -> Mapping[str, Job]:
        """See `JobStore`."""
        return self._inner.find(job_ids)

    # -- the API's

    def create(self, job: Job, *, unfinished_max: int) -> None:
        """See `JobStore`."""
        self._called(lambda: self._inner.create(job, unfinished_max=unfinished_max))

    def change(self, account: str, job_id: str, change: Callable[[Job], Job], **told: Any) -> Job:
        """See `JobStore`."""
        return self._called(lambda: self._inner.change(account, job_id, change, **told))

    def _called(self, call: Callable[[], T]) -> T:
        result = call()
        self._committed()
        self._points.reach("call: done", self._process)
        return result
