"""CSV reports: tables of tasks and outcomes → result files on the local disk, succeeded and failed apart.

No header row, LF, UTF-8, fields quoted by RFC 4180 only where they must be. Rows are built by the column; memory stays at about
one chunk. The same tables in the same order give the same bytes.
"""

import hashlib
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from haulier.reports.layout import Layout, ReportedJob, TaskStatus, layout, result_key

FILE_ROWS_MAX: Final = 1_000_000
SUCCESS_MESSAGE: Final = b"Successful"
_NEEDS_QUOTES: Final = '[",\r\n]|^[ \t]|[ \t]$'
"""Blanks at an end are quoted too: read again as a COS manifest, they would be stripped otherwise."""
_SUSPICIOUS: Final = (b'"', b",", b"\r", b"\n", b" ", b"\t")


class ReportFile(msgspec.Struct, frozen=True):
    """A finished result file."""

    key: str
    """Where it belongs in the report's bucket."""
    path: Path
    size: int
    md5: str
    """Hexadecimal."""
    status: TaskStatus
    rows: int


class ReportFiles:
    """Collects a job's outcomes, chunk by chunk in order of rows, into result files in `folder`.

    Raises NotImplementedHere for a report format that no code writes.
    """

    def __init__(self, job: ReportedJob, folder: Path) -> None:
        self._layout = layout(job.report)
        self._files: dict[TaskStatus, _Parts] = {"failed": _Parts(job, "failed", folder)}
        if job.report.scope == "AllTasks":
            self._files = {"succeeded": _Parts(job, "succeeded", folder), **self._files}
        self._next_row = 0

    def add(self, chunk: pa.Table, outcomes: pa.Table) -> None:
        """The tasks of a chunk and their outcomes, both in order of rows; tasks without an outcome get no row.

        The tables have the columns of the spool's chunk and outcome files. Raises ValueError when they do not belong together.
        """
        if outcomes.num_rows == 0:
            return
        tasks = self._matched(chunk, outcomes)
        succeeded = pc.is_null(outcomes.column("code"))
        for status, parts in self._files.items():
            chosen = succeeded if status == "succeeded" else pc.invert(succeeded)
            if pc.all(chosen).as_py():
                parts.write(_lines(tasks, outcomes, status, self._layout))
            elif pc.any(chosen).as_py():
                parts.write(_lines(tasks.filter(chosen), outcomes.filter(chosen), status, self._layout))

    def finish(self) -> list[ReportFile]:
        """What was written: succeeded before failed, by part."""
        return [file for parts in self._files.values() for file in parts.finish()]

    def _matched(self, chunk: pa.Table, outcomes: pa.Table) -> pa.Table:
        """The tasks of the outcomes, row by row."""
        rows, first = outcomes.column("row"), chunk.column("row")[0].as_py()
        lowest, highest = rows[0].as_py(), rows[-1].as_py()
        if lowest < max(first, self._next_row) or highest >= first + chunk.num_rows:
            raise ValueError(
                f"outcomes of rows {lowest} to {highest} do not belong to the chunk of row {first}, or come out of order"
            )
        self._next_row = highest + 1
        # Rows ascend without doubles, so as many outcomes as tasks are the outcomes of all tasks.
        return chunk if outcomes.num_rows == chunk.num_rows else chunk.take(pc.subtract(rows, first))


class _Parts:
    """The result files of one status, each of at most FILE_ROWS_MAX rows."""

    def __init__(self, job: ReportedJob, status: TaskStatus, folder: Path) -> None:
        self._job = job
        self._status = status
        self._folder = folder
        self._finished: list[ReportFile] = []
        self._start_part()

    def _start_part(self) -> None:
        self._path = self._folder / f"{self._status}-{len(self._finished)}.csv"
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._rows = self._size = 0

    def write(self, lines: pa.Array) -> None:
        """`lines` are rows with their line ends, as binary."""
        while len(lines):
            now = lines.slice(0, FILE_ROWS_MAX - self._rows)
            text = _text(now)
            with self._path.open("ab" if self._rows else "wb") as file:
                file.write(text)
            self._md5.update(text)
            self._rows += len(now)
            self._size += len(text)
            lines = lines.slice(len(now))
            if self._rows == FILE_ROWS_MAX:
                self._end_part()

    def finish(self) -> list[ReportFile]:
        if self._rows:
            self._end_part()
        return self._finished

    def _end_part(self) -> None:
        key = result_key(self._job, self._status, len(self._finished))
        self._finished.append(ReportFile(key, self._path, self._size, self._md5.hexdigest(), self._status, self._rows))
        self._start_part()


def _lines(tasks: pa.Table, outcomes: pa.Table, status: TaskStatus, columns: Layout) -> pa.Array:
    """One binary value per row, line end included."""
    key, raw_key = _column(tasks, "key"), _column(tasks, "raw_key")
    written_key = key if raw_key.null_count == len(raw_key) else pc.coalesce(raw_key, key)
    http_status = _one_or_many(_column(outcomes, "status").cast(pa.string()).dictionary_encode())
    code = _one_or_many(_column(outcomes, "code"))
    default = SUCCESS_MESSAGE if status == "succeeded" else b""
    message = _one_or_many(_column(outcomes, "message"), instead_of_null=default, ending=b"\n")
    return pc.binary_join_element_wise(
        _one_or_many(_column(tasks, "bucket")),
        _quoted(written_key),
        _quoted(_column(tasks, "version")),
        pa.scalar(status.encode()),
        *((http_status, code) if columns.http_status_first else (code, http_status)),
        message,
        pa.scalar(b","),
        null_handling="replace",
        null_replacement=b"",
    )


def _column(table: pa.Table, name: str) -> Any:
    return table.column(name).unify_dictionaries().combine_chunks()


def _one_or_many(texts: pa.DictionaryArray, *, instead_of_null: bytes = b"", ending: bytes = b"") -> Any:
    """Quoted texts as binary, with `ending`: a single scalar where all rows have one value, else a column."""
    null = instead_of_null + ending
    if texts.null_count == len(texts):
        return pa.scalar(null)
    values = _quoted(texts.dictionary.cast(pa.binary()))
    if ending:
        values = pc.binary_join_element_wise(values, pa.scalar(ending), pa.scalar(b""))
    if len(values) == 1 and texts.null_count == 0:
        return values[0]
    return values.take(texts.indices).fill_null(null)


def _quoted(values: pa.Array) -> pa.Array:
    """Binary values, those quoted that must be; nulls stay null."""
    text = _text(values)
    if not any(mark in text for mark in _SUSPICIOUS):
        return values
    chosen = pc.fill_null(pc.match_substring_regex(values, _NEEDS_QUOTES), fill_value=False)
    if not pc.any(chosen).as_py():
        return values
    doubled = pc.replace_substring(values.filter(chosen), b'"', b'""')
    mark = pa.scalar(b'"')
    return pc.replace_with_mask(values, chosen, pc.binary_join_element_wise(mark, doubled, mark, pa.scalar(b"")))


def _text(values: pa.Array) -> bytes:
    """All values, one behind the other."""
    _, offsets, data = values.buffers()
    if data is None or not len(values):
        return b""
    ends = memoryview(offsets).cast("i")
    return bytes(memoryview(data)[ends[values.offset] : ends[values.offset + len(values)]])
