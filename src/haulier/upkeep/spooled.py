"""The files of a job, held against what the database says of them. Reads only."""

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from haulier.core.chunk import Chunk, Segment
from haulier.core.errors import SpoolError
from haulier.core.ports import Spool
from haulier.jobstore.snapshot import JobSnapshot
from haulier.spool import files, names
from haulier.upkeep.findings import Finding, Findings


def named(found: JobSnapshot) -> Iterator[str]:
    """The files that the database names."""
    for chunk in found.chunks:
        yield chunk.name
        if chunk.sealed_name is not None:
            yield chunk.sealed_name
    for segment in found.segments:
        yield segment.name


def left_over(name: str, epoch: int) -> bool:
    """Whether a file that the database does not name may be what an attempt wrote and did not live to tell."""
    return 1 <= (names.epoch_of(name) or 0) <= epoch


class JobFiles:
    """Reads the files of one job, chunk by chunk."""

    def __init__(self, found: JobSnapshot, spool: Spool) -> None:
        self._found = found
        self._spool = spool
        self._segments: dict[int, list[Segment]] = {}
        for segment in found.segments:
            self._segments.setdefault(segment.chunk, []).append(segment)

    def check(self) -> Findings:
        """Every file is whole, and holds what the ledger says."""
        for chunk in self._found.chunks:
            yield from self._check_rows(chunk)
            yield from self._check_outcomes(chunk)

    def by_chunk(self) -> Iterator[tuple[pa.Table, pa.Table]]:
        """The rows and outcomes of each chunk that has some. Raises SpoolError."""
        for chunk in self._found.chunks:
            outcomes = files.merge_outcomes([files.decode_outcomes(self._spool.read(name)) for name in self._outcomes(chunk)])
            if outcomes.num_rows:
                yield files.decode_chunk(self._spool.read(chunk.name)), outcomes

    def _outcomes(self, chunk: Chunk) -> Mapping[str, tuple[int, int]]:
        """The chunk's files of outcomes, each with the succeeded and failed ones that it is said to hold."""
        if chunk.sealed_name is not None:
            return {chunk.sealed_name: (chunk.succeeded, chunk.failed)}
        return {segment.name: (segment.rows - segment.failed, segment.failed) for segment in self._segments.get(chunk.index, ())}

    def _check_rows(self, chunk: Chunk) -> Findings:
        try:
            rows = files.decode_chunk(self._spool.read(chunk.name)).column("row").to_pylist()
        except SpoolError as error:
            yield _of(chunk, "files", error.problem, chunk.name)
            return
        if rows != list(range(chunk.first_row, chunk.first_row + chunk.rows)):
            said = f"rows {chunk.first_row} to {chunk.first_row + chunk.rows - 1}"
            yield _of(chunk, "files", f"it does not hold {said}, each once and in order", chunk.name)

    def _check_outcomes(self, chunk: Chunk) -> Findings:
        seen = bytearray(chunk.rows)
        whole = True
        for name, (succeeded, failed) in self._outcomes(chunk).items():
            try:
                table = files.decode_outcomes(self._spool.read(name))
            except SpoolError as error:
                yield _of(chunk, "files", error.problem, name)
                whole = False
                continue
            held = table.num_rows - (fails := pc.sum(pc.is_valid(table.column("code"))).as_py() or 0), fails
            if held != (succeeded, failed):
                told = f"{succeeded} succeeded and {failed} failed are counted for it"
                yield _of(chunk, "counters", f"it holds {held[0]} succeeded and {held[1]} failed, {told}", name)
            yield from _mark(chunk, name, table.column("row").to_pylist(), seen)
        if chunk.sealed and whole and (missing := seen.count(0)):
            row = chunk.first_row + seen.index(0)
            yield Finding(check="outcomes", chunk=chunk.index, row=row, problem=f"rows without an outcome: {missing}")


def _mark(chunk: Chunk, name: str, rows: Sequence[int], seen: bytearray) -> Findings:
    """Mark the rows as seen; those that are no rows of the chunk, or were seen before, are told with the first of them."""
    foreign: list[int] = []
    double: list[int] = []
    for row in rows:
        position = row - chunk.first_row
        if not 0 <= position < chunk.rows:
            foreign.append(row)
        elif seen[position]:
            double.append(row)
        else:
            seen[position] = 1
    for wrong, what in ((foreign, "rows of no task of the chunk"), (double, "rows that have an outcome already")):
        if wrong:
            yield Finding(check="outcomes", chunk=chunk.index, row=min(wrong), file=name, problem=f"{what}: {len(wrong)}")


def _of(chunk: Chunk, check: str, problem: str, file: str) -> Finding:
    return Finding(check=check, chunk=chunk.index, row=chunk.first_row, file=file, problem=problem)
