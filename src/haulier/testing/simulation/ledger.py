"""What may stand in the database: looked at after every commit, by a connection of its own."""

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from haulier.core.lifecycle import TERMINAL, TRANSITIONS, JobStatus
from haulier.spool import files

_JOBS: Final = "SELECT id, status, total, succeeded, failed, document FROM job"
_CHUNKS: Final = (
    'SELECT job, "index", first_row, "rows", name, opened_ms, first_opened_ms, horizon, sealed_name, succeeded, failed FROM chunk'
)
_SEGMENTS: Final = 'SELECT job, chunk, attempt_epoch, attempt_counter, sequence, name, "rows", failed FROM segment ORDER BY id'
_STATUSES: Final[dict[str, frozenset[str]]] = {}


class Violation(AssertionError):
    """A promise was broken."""


class Outcomes(msgspec.Struct, frozen=True):
    """What stands in an outcome file."""

    rows: dict[int, tuple[str | None, bool]]
    """Row → error code (None: succeeded), and whether it was in doubt."""
    failed: int


class JobRow(msgspec.Struct, frozen=True):
    """A job as stored."""

    id: str
    status: str
    total: int | None
    succeeded: int
    failed: int
    document: str


class ChunkRow(msgspec.Struct, frozen=True):
    """A chunk as stored."""

    job: str
    index: int
    first_row: int
    rows: int
    name: str
    opened_ms: int | None
    first_opened_ms: int | None
    horizon: int
    sealed_name: str | None
    succeeded: int
    failed: int


def reading(path: Path) -> sqlite3.Connection:
    """A connection that only looks."""
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)


def _following(status: str) -> frozenset[str]:
    """Every status that can come after, by any number of moves: a commit and a user may have made several."""
    if not _STATUSES:
        moves: dict[str, set[str]] = {status: set() for status in JobStatus}
        for (before, _), after in TRANSITIONS.items():
            moves[before].add(after)
        for first in moves:
            reached, todo = {str(first)}, [str(first)]
            while todo:
                new = moves[todo.pop()] - reached
                reached |= new
                todo += sorted(new)
            _STATUSES[str(first)] = frozenset(reached)
    return _STATUSES[status]


class StoredLedger:
    """The database as it was after the last commit, and the invariants between it, what it was before, and the files."""

    def __init__(self, durable: Mapping[str, bytes]) -> None:
        """`durable` are the files that no crash takes away, by name."""
        self._durable = durable
        self._read: dict[str, Outcomes] = {}
        self.jobs: dict[str, JobRow] = {}
        self.chunks: dict[tuple[str, int], ChunkRow] = {}
        self.outcomes: dict[tuple[str, int], dict[int, tuple[str | None, bool]]] = {}
        """Committed outcomes by chunk."""
        self._made_of: dict[tuple[str, int], tuple[str, ...]] = {}
        """The files that a chunk's outcomes are from."""
        self._first_rows: dict[str, list[ChunkRow]] = {}

    def look(self, connection: sqlite3.Connection) -> None:
        """Read it anew. Raises Violation."""
        execute = connection.execute
        execute("BEGIN")
        jobs = {row[0]: JobRow(*row) for row in execute(_JOBS)}
        chunks = {(row[0], row[1]): ChunkRow(*row) for row in execute(_CHUNKS)}
        segments = list(execute(_SEGMENTS))
        execute("COMMIT")
        made_of = dict(self._made_of)
        outcomes = self._gathered(chunks, segments, made_of)
        for job in jobs.values():
            self._check_job(job)
        for job_id in self.jobs:
            if job_id not in jobs:
                raise Violation(f"job {job_id}, which was there, is gone")
        self._check_sums(jobs, outcomes)
        self.jobs, self.chunks, self.outcomes, self._made_of = jobs, chunks, outcomes, made_of
        self._first_rows = {}
        for chunk in sorted(chunks.values(), key=lambda chunk: chunk.index):
            self._first_rows.setdefault(chunk.job, []).append(chunk)

    def chunk_at(self, job_id: str, row: int) -> ChunkRow:
        """The chunk that the row is in. Raises Violation if there is none."""
        for chunk in self._first_rows.get(job_id, ()):
            if chunk.first_row <= row < chunk.first_row + chunk.rows:
                return chunk
        raise Violation(f"row {row} of job {job_id} is in no chunk of the ledger")

    def outcomes_of(self, job_id: str) -> dict[int, tuple[str | None, bool]]:
        """All committed outcomes of the job, by row."""
        found: dict[int, tuple[str | None, bool]] = {}
        for (job, _), rows in self.outcomes.items():
            if job == job_id:
                found |= rows
        return found

    def _gathered(
        self,
        chunks: dict[tuple[str, int], ChunkRow],
        segments: list[Any],
        made_of: dict[tuple[str, int], tuple[str, ...]],
    ) -> dict[tuple[str, int], dict[int, tuple[str | None, bool]]]:
        of_chunk: dict[tuple[str, int], list[Any]] = {}
        for segment in segments:
            of_chunk.setdefault((segment[0], segment[1]), []).append(segment)
        found: dict[tuple[str, int], dict[int, tuple[str | None, bool]]] = {}
        for key, chunk in chunks.items():
            mine = of_chunk.get(key, [])
            names = (chunk.sealed_name,) if chunk.sealed_name is not None else tuple(segment[5] for segment in mine)
            before = self.outcomes.get(key, {})
            if names == made_of.get(key, ()):
                found[key] = before
                continue
            found[key] = self._sealed(chunk) if chunk.sealed_name is not None else self._together(key, mine)
            made_of[key] = names
            lost = [row for row, outcome in before.items() if found[key].get(row) != outcome]
            if lost:
                raise Violation(f"outcomes of rows {lost} of chunk {key} were recorded and have changed or gone")
        gone = [key for key, before in self.outcomes.items() if before and key not in chunks]
        if gone:
            raise Violation(f"chunks {gone} had outcomes and are gone")
        return found

    def _sealed(self, chunk: ChunkRow) -> dict[int, tuple[str | None, bool]]:
        sealed = self._file(chunk.sealed_name or "")
        if (len(sealed.rows), sealed.failed) != (chunk.rows, chunk.failed):
            raise Violation(f"{chunk.sealed_name} has {len(sealed.rows)} rows, {sealed.failed} failed; the ledger: {chunk}")
        return sealed.rows

    def _together(self, key: tuple[str, int], segments: list[Any]) -> dict[int, tuple[str | None, bool]]:
        found: dict[int, tuple[str | None, bool]] = {}
        for _job, _chunk, _epoch, _counter, _sequence, name, rows, failed in segments:
            segment = self._file(name)
            if (len(segment.rows), segment.failed) != (rows, failed):
                raise Violation(f"{name} has {len(segment.rows)} rows, {segment.failed} failed; the ledger says {rows}, {failed}")
            if found.keys() & segment.rows.keys():
                raise Violation(f"rows {sorted(found.keys() & segment.rows.keys())} of chunk {key} have two outcomes")
            found |= segment.rows
        return found

    def _file(self, name: str) -> Outcomes:
        known = self._read.get(name)
        if known is None:
            if name not in self._durable:
                raise Violation(f"the ledger names {name}, which a loss of power would take away")
            columns = files.decode_outcomes(self._durable[name]).to_pydict()
            rows = dict(zip(columns["row"], zip(columns["code"], columns["in_doubt"], strict=True), strict=True))
            if len(rows) != len(columns["row"]):
                raise Violation(f"{name} has a row twice")
            known = Outcomes(rows, sum(code is not None for code, _ in rows.values()))
            self._read[name] = known
        return known

    def _check_job(self, job: JobRow) -> None:
        before = self.jobs.get(job.id)
        if before is None or before == job:
            return
        if before.status in TERMINAL and job.status != before.status:
            raise Violation(f"job {job.id} was {before.status} for good and is {job.status}")
        if job.status not in _following(before.status):
            raise Violation(f"job {job.id} went from {before.status} to {job.status}")
        if before.total is not None and job.total != before.total:
            raise Violation(f"job {job.id} had {before.total} tasks and has {job.total}")
        if job.succeeded < before.succeeded or job.failed < before.failed:
            raise Violation(f"counters of job {job.id} have fallen: {before} → {job}")

    def _check_sums(
        self,
        jobs: dict[str, JobRow],
        outcomes: dict[tuple[str, int], dict[int, tuple[str | None, bool]]],
    ) -> None:
        counted: dict[str, list[int]] = {job_id: [0, 0] for job_id in jobs}
        by_code: dict[str, dict[str, int]] = {job_id: {} for job_id in jobs}
        for (job_id, _), rows in outcomes.items():
            for code, _ in rows.values():
                counted[job_id][code is not None] += 1
                if code is not None:
                    by_code[job_id][code] = by_code[job_id].get(code, 0) + 1
        for job_id, job in jobs.items():
            if [job.succeeded, job.failed] != counted[job_id]:
                raise Violation(f"job {job_id} counts {job.succeeded} and {job.failed}; its outcomes are {counted[job_id]}")
            failures = msgspec.json.decode(job.document).get("failures", {})
            if failures != by_code[job_id]:
                raise Violation(f"job {job_id} counts failures {failures}; its outcomes have {by_code[job_id]}")
