"""The database of a real data folder and the files it names, held to the same invariants as in the simulation; living or dead."""

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from haulier.testing.simulation.ledger import ChunkRow, StoredLedger, Violation, reading

TRIES: Final = 4
"""A file may be outdated, and removed, between our look at the database and at the file."""


class _Files(Mapping[str, bytes]):
    """The spool's files by name."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __contains__(self, name: object) -> bool:
        return (self._root / str(name)).is_file()

    def __getitem__(self, name: str) -> bytes:
        try:
            return (self._root / name).read_bytes()
        except FileNotFoundError:
            raise Violation(f"the ledger names {name}, which is not there") from None

    def __iter__(self) -> Iterator[str]:
        raise NotImplementedError("nobody asks for all names")

    def __len__(self) -> int:
        raise NotImplementedError("nobody asks for their number")


class RealLedger:
    """See above. Problems are gathered, not raised."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "haulier.db"
        self.stored = StoredLedger(_Files(data_dir / "spool"))
        self.problems: list[str] = []

    def look(self) -> None:
        """While the server lives."""
        for number in range(TRIES):
            try:
                with closing(reading(self._path)) as connection:
                    self.stored.look(connection)
            except sqlite3.OperationalError:
                return  # it is being started, or has just died
            except Violation as violation:
                if number == TRIES - 1:
                    self._note(str(violation))
                time.sleep(0.05)
            else:
                return

    def look_at_dead(self) -> None:
        """While no process lives: at a copy, so that the next server finds everything as the dead one left it."""
        with tempfile.TemporaryDirectory(prefix="haulier-dead-") as folder:
            for path in self._path.parent.glob(f"{self._path.name}*"):
                if not path.name.endswith("-shm"):
                    shutil.copy(path, folder)
            try:
                with closing(sqlite3.connect(Path(folder) / self._path.name, isolation_level=None)) as connection:
                    self.stored.look(connection)
            except sqlite3.OperationalError as error:
                if self.stored.jobs:
                    self._note(f"the database of a server that was killed cannot be read: {error}")
            except Violation as violation:
                self._note(str(violation))

    def _note(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)

    def sent_too_early(self, job_id: str, rows: Iterable[int]) -> list[int]:
        """Those of the rows, all of which have been sent, that a crash now would leave unknown: without an outcome, and not below
        the committed horizon of their chunk."""
        chunks = sorted(
            (chunk for chunk in self.stored.chunks.values() if chunk.job == job_id), key=lambda chunk: chunk.first_row
        )
        found: list[int] = []
        places = iter(chunks)
        chunk: ChunkRow | None = next(places, None)
        for row in sorted(rows):
            while chunk is not None and row >= chunk.first_row + chunk.rows:
                chunk = next(places, None)
            known = chunk is not None and (
                0 <= row - chunk.first_row < chunk.horizon or row in self.stored.outcomes.get((job_id, chunk.index), ())
            )
            if not known:
                found.append(row)
        return found

    def outcomes(self, job_id: str) -> Mapping[int, tuple[str | None, bool]]:
        """Row → error code (None: succeeded), and whether it was in doubt."""
        return self.stored.outcomes_of(job_id)
