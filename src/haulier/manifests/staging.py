"""Cutting rows into chunks: the sizes of `core.chunk.chunk_rows`, never between neighbours of one key (decisions §3)."""

from collections.abc import Iterator
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from haulier.core.chunk import EQUAL_KEYS_MAX, chunk_rows
from haulier.core.errors import JobFailure

CHUNK_SCHEMA: Final = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("bucket", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("key", pa.binary(), nullable=False),
        pa.field("raw_key", pa.binary()),
        pa.field("version", pa.binary()),
        pa.field("size", pa.int64()),
        pa.field("etag", pa.binary()),
        pa.field("first_attempt_ms", pa.int64()),
        pa.field("origin_row", pa.int64()),
    ]
)
"""Decisions §3. `raw_key` is the key as the manifest writes it, null where that is the key itself."""

CHUNK_BYTES_MAX: Final = 16 << 20
"""Text of the keys and versions in one chunk, more or less: with keys of 1,000 bytes 100,000 rows would be too much memory."""


class StagedChunk(msgspec.Struct, frozen=True):
    """A chunk ready for the spool."""

    table: pa.Table
    """Of CHUNK_SCHEMA, one batch."""
    first_row: int
    rows: int


class Stager:
    """Takes rows in manifest order and gives chunks."""

    def __init__(self, tasks_max: int | None) -> None:
        self._tasks_max = tasks_max
        self._waiting: list[pa.Table] = []
        self._rows_waiting = 0
        self._rows_staged = 0

    def add(self, rows: pa.Table) -> Iterator[StagedChunk]:
        """Chunks that are complete now. Raises JobFailure `TooManyObjects`.

        `rows` has columns of CHUNK_SCHEMA: bucket, key, raw_key and version, and whichever others are known.
        """
        if rows.num_rows == 0:
            return
        self._waiting.append(rows)
        self._rows_waiting += rows.num_rows
        if self._tasks_max is not None and self._rows_staged + self._rows_waiting > self._tasks_max:
            raise JobFailure("TooManyObjects", f"the manifest names more than the {self._tasks_max} objects allowed in one job")
        yield from self._cut(last=False)

    def finish(self) -> Iterator[StagedChunk]:
        """The rest. Raises JobFailure `EmptyManifest` when there was no row at all."""
        yield from self._cut(last=True)
        if self._rows_staged == 0:
            raise JobFailure("EmptyManifest", "the manifest names no object")

    def _cut(self, *, last: bool) -> Iterator[StagedChunk]:
        size = self._chunk_size()
        if not self._waiting or (self._rows_waiting <= size and not last):
            return
        waiting = pa.concat_tables(self._waiting)
        start = 0
        while start < waiting.num_rows:
            end = self._chunk_end(waiting, start, size, last=last)
            if end is None:
                break
            yield self._staged(waiting.slice(start, end - start))
            start = end
            size = self._chunk_size()
        rest = waiting.slice(start)
        self._waiting, self._rows_waiting = ([rest] if rest.num_rows else []), rest.num_rows

    def _chunk_size(self) -> int:
        rows = chunk_rows(self._rows_staged)
        bytes_waiting = sum(table.nbytes for table in self._waiting)
        if bytes_waiting > CHUNK_BYTES_MAX:
            rows = min(rows, max(1, self._rows_waiting * CHUNK_BYTES_MAX // bytes_waiting))
        return rows

    @staticmethod
    def _chunk_end(waiting: pa.Table, start: int, size: int, *, last: bool) -> int | None:
        """Where the chunk from `start` ends; None when that cannot be known before more rows are there."""
        end = min(start + size, waiting.num_rows)
        latest = min(end + EQUAL_KEYS_MAX, waiting.num_rows)
        buckets, keys = waiting.column("bucket"), waiting.column("key")
        while end < latest and keys[end].equals(keys[end - 1]) and buckets[end].as_py() == buckets[end - 1].as_py():
            end += 1
        undecided = end == waiting.num_rows and end < start + size + EQUAL_KEYS_MAX
        return None if undecided and not last else end

    def _staged(self, rows: pa.Table) -> StagedChunk:
        first, count = self._rows_staged, rows.num_rows
        self._rows_staged += count
        numbers = pc.cumulative_sum(pa.repeat(pa.scalar(1, pa.int64()), count), start=first - 1)
        columns = {
            **{field.name: pa.nulls(count, field.type) for field in CHUNK_SCHEMA if field.nullable},
            **dict(zip(rows.column_names, rows.unify_dictionaries().combine_chunks().columns, strict=True)),
            "row": numbers,
        }
        table = pa.table([columns[field.name] for field in CHUNK_SCHEMA], schema=CHUNK_SCHEMA)
        return StagedChunk(table, first, count)
