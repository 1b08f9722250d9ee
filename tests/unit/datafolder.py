"""A data directory with one job in it, made by the real job store and spool."""

import atexit
import contextlib
import functools
import shutil
import sqlite3
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from haulier.core.chunk import Attempt, Chunk, Segment
from haulier.core.clock import SystemClock
from haulier.core.failures import FailureClass
from haulier.core.job import Job, Report
from haulier.core.lifecycle import JobEvent as E
from haulier.core.ports import ChunkSealed, ChunksOpened, ChunksStaged, JobMoved, SegmentAdded
from haulier.jobstore import SqlJobStore
from haulier.spool import FolderSpool, files
from unit.values import a_job

ROWS = 100
"""Of each of the three chunks."""
REPORT = Report(enabled=True, bucket="lists", prefix="reports", format="Report_CSV_20180820")


def chunk_file(first_row: int, rows: int = ROWS) -> memoryview:
    numbers = range(first_row, first_row + rows)
    columns: dict[str, Any] = {
        "row": pa.array(numbers, pa.int64()),
        "bucket": pa.array(["data"] * rows).dictionary_encode(),
        "key": pa.array([b"key-%d" % row for row in numbers], pa.binary()),
    }
    for field in files.CHUNK_SCHEMA:
        columns.setdefault(field.name, pa.nulls(rows, field.type))
    return files.encode_chunk(pa.table([columns[field.name] for field in files.CHUNK_SCHEMA], schema=files.CHUNK_SCHEMA))


def outcome_file(rows: Sequence[int], *, failed: int = 0) -> memoryview:
    """The first `failed` of the rows have failed."""
    codes = ["NoSuchKey"] * failed + [None] * (len(rows) - failed)
    statuses = [404 if code else 200 for code in codes]
    return files.encode_outcomes(rows, statuses, codes, [None] * len(rows), [False] * len(rows))


class DataFolder:
    """One job of three chunks. Two are sealed; of the third, which is open, 60 rows have outcomes, in two segments."""

    def __init__(self, data_dir: Path, *, status: str = "Active", made: Path | None = None) -> None:
        """`made` is where one like it is made, once; the others are copies, which is faster."""
        self.data_dir = data_dir
        self.job = a_job(report=REPORT)
        self.spool = FolderSpool(data_dir / "spool")
        self.folder = f"{self.job.account}/{self.job.id}"
        self.chunks = [
            Chunk(
                job=self.job.id,
                index=index,
                first_row=index * ROWS,
                rows=ROWS,
                name=f"{self.folder}/chunks/{index:08d}-1-1.arrow",
            )
            for index in range(3)
        ]
        if data_dir == made:
            with contextlib.closing(SqlJobStore.open(data_dir / "haulier.db", SystemClock())) as jobstore:
                self._fill(jobstore, status)
        elif not (data_dir / "haulier.db").exists():
            shutil.copytree(_made(status), data_dir, dirs_exist_ok=True)

    def _fill(self, jobstore: SqlJobStore, status: str) -> None:
        epoch = jobstore.begin_epoch()
        jobstore.create(self.job, unfinished_max=10)
        jobstore.commit(epoch, [JobMoved(self.job.id, E.PICKED_UP)])
        for chunk in self.chunks:
            self.spool.write(chunk.name, chunk_file(chunk.first_row))
        staged = ChunksStaged(self.job.id, tuple(self.chunks), first=True)
        jobstore.commit(epoch, [staged, JobMoved(self.job.id, E.PREPARED, total=3 * ROWS)])
        if status == "Ready":
            return
        jobstore.commit(epoch, [ChunksOpened(self.job.id, (0, 1, 2), at_ms=2_000), JobMoved(self.job.id, E.STARTED)])
        jobstore.commit(epoch, [self._sealed(0), self._sealed(1, failed=7)])
        jobstore.commit(epoch, [self._flushed(0, range(200, 230), failed=2), self._flushed(1, range(250, 280))])
        if status == "Complete":
            jobstore.commit(epoch, [self._sealed(2, failed=2, untold=0), JobMoved(self.job.id, E.TASKS_DONE)])
            jobstore.commit(epoch, [JobMoved(self.job.id, E.REPORTED)])
            self.spool.delete(self.spool.names(f"{self.folder}/segments/"))

    def _sealed(self, index: int, failed: int = 0, untold: int | None = None) -> ChunkSealed:
        name = f"{self.folder}/sealed/{index:08d}-1-2.arrow"
        self.spool.write(name, outcome_file(range(index * ROWS, (index + 1) * ROWS), failed=failed))
        classes = _classes(failed if untold is None else untold)
        return ChunkSealed(self.job.id, index, name, succeeded=ROWS - failed, failed=failed, failures=classes)

    def _flushed(self, sequence: int, rows: Sequence[int], *, failed: int = 0) -> SegmentAdded:
        name = f"{self.folder}/segments/00000002-1-3-{sequence}.arrow"
        self.spool.write(name, outcome_file(rows, failed=failed))
        segment = Segment(
            job=self.job.id, chunk=2, attempt=Attempt(1, 3), sequence=sequence, name=name, rows=len(rows), failed=failed
        )
        return SegmentAdded(segment, ROWS, _classes(failed))

    # -- for tests that break something

    def sql(self, *statements: str) -> None:
        """Change what lies in the database, also to what its constraints refuse."""
        with contextlib.closing(sqlite3.connect(self.data_dir / "haulier.db")) as database, database:
            database.execute("PRAGMA ignore_check_constraints = ON")
            for statement in statements:
                database.execute(statement)

    def path(self, name: str) -> Path:
        """A file of the spool, by its name below the job's folder."""
        return self.data_dir / "spool" / self.folder / name

    def stored(self) -> Job:
        with contextlib.closing(SqlJobStore.open(self.data_dir / "haulier.db", SystemClock())) as jobstore:
            return jobstore.find([self.job.id])[self.job.id]


@functools.cache
def _made(status: str) -> Path:
    data_dir = Path(tempfile.mkdtemp(prefix="haulier-data-"))
    atexit.register(shutil.rmtree, data_dir)
    DataFolder(data_dir, status=status, made=data_dir)
    return data_dir


def _classes(failed: int) -> tuple[FailureClass, ...]:
    return (FailureClass(code="NoSuchKey", status=404, count=failed, first_ms=1, last_ms=2, samples=()),) if failed else ()
