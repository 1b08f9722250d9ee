"""What a retry runs again: rows of another job, taken from its staged chunks by what its outcomes say. No manifest is read.

Versions and ETags go along as they were frozen. So does the doubt: a row that an earlier attempt may have carried out keeps the
moment of that attempt, or a delete that is repeated days later could meet an object that somebody has written since.
"""

from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from haulier.core.chunk import Chunk
from haulier.core.errors import JobFailure, SpoolError, SpoolUnavailable
from haulier.core.failures import CHANGED, NOT_ATTEMPTED, UNKNOWN, chooses
from haulier.core.job import Retry
from haulier.core.ports import Spool
from haulier.engine.frames import Source
from haulier.engine.outcomes import by_chunk
from haulier.manifests import StagedChunk, Stager
from haulier.spool import files

DOUBTFUL: Final = frozenset({UNKNOWN, CHANGED})
"""Codes of tasks that an earlier attempt may have carried out."""
_KEPT: Final = ("bucket", "key", "raw_key", "version", "size", "etag")


def staged(source: Source, retry: Retry, spool: Spool, *, tasks_max: int | None) -> Iterator[StagedChunk]:
    """The rows that the retry runs, in the order of the manifest. Raises JobFailure `OutcomesGone`, `NothingToRetry` or
    `TooManyObjects`, and SpoolUnavailable."""
    stager = Stager(tasks_max)
    found = 0
    try:
        for chunk, outcomes in by_chunk(source.chunks, source.segments, spool):
            chosen = rows_of(chunk, files.decode_chunk(spool.read(chunk.name)), outcomes, retry)
            found += chosen.num_rows
            yield from stager.add(chosen)
    except SpoolUnavailable:
        raise
    except SpoolError as error:
        raise JobFailure("OutcomesGone", f"what job {retry.of} left is no longer kept in full: {error}") from error
    if not found:
        raise JobFailure("NothingToRetry", f"no task of job {retry.of} failed, or was left undone, in the way that was chosen")
    yield from stager.finish()


def rows_of(chunk: Chunk, rows: pa.Table, outcomes: pa.Table, retry: Retry) -> pa.Table:
    """The rows of the chunk that the retry runs, with the moment of the first attempt where they are in doubt."""
    doubtful = _failed(chunk, outcomes, retry)
    if outcomes.num_rows < chunk.rows and chooses(retry, NOT_ATTEMPTED, 0):
        doubtful |= _left(chunk, outcomes)
    positions = sorted(doubtful)
    chosen = rows.take(pa.array(positions, pa.int64()))
    opened = chunk.first_opened_ms
    before = chosen.column("first_attempt_ms").to_pylist()
    marks = [mark if mark is not None else opened if doubtful[at] else None for at, mark in zip(positions, before, strict=True)]
    columns: dict[str, Any] = {name: chosen.column(name) for name in _KEPT}
    columns["first_attempt_ms"] = pa.array(marks, pa.int64())
    columns["origin_row"] = pc.coalesce(chosen.column("origin_row"), chosen.column("row"))
    return pa.table(columns)


def _failed(chunk: Chunk, outcomes: pa.Table, retry: Retry) -> dict[int, bool]:
    """Positions of chosen failures, and whether an earlier attempt may have carried them out."""
    failures = outcomes.filter(pc.is_valid(outcomes.column("code")))
    columns = [failures.column(name).to_pylist() for name in ("row", "code", "status", "in_doubt")]
    return {
        row - chunk.first_row: in_doubt or code in DOUBTFUL
        for row, code, status, in_doubt in zip(*columns, strict=True)
        if chooses(retry, code, status)
    }


def _left(chunk: Chunk, outcomes: pa.Table) -> dict[int, bool]:
    """Positions without an outcome; those below the horizon may have been sent."""
    done = bytearray(chunk.rows)
    for row in outcomes.column("row").to_pylist():
        done[row - chunk.first_row] = 1
    return {position: position < chunk.horizon for position, is_done in enumerate(done) if not is_done}
