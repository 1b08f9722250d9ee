"""What stands in the spool's files: chunks and outcomes as Arrow IPC files, compressed with lz4.

Tables hold columns rather than rows throughout: 100,000 rows are written or read in a few milliseconds.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from haulier.core.errors import SpoolError

Table: TypeAlias = pa.Table
"""What the functions here take and give."""

_TEXTS: Final = pa.dictionary(pa.int32(), pa.string())

CHUNK_SCHEMA: Final = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("bucket", _TEXTS, nullable=False),
        pa.field("key", pa.binary(), nullable=False),
        pa.field("raw_key", pa.binary()),
        pa.field("version", pa.binary()),
        pa.field("size", pa.int64()),
        pa.field("etag", pa.binary()),
        pa.field("first_attempt_ms", pa.int64()),
        pa.field("origin_row", pa.int64()),
    ]
)
"""Decisions §3, "Chunk schema". `raw_key` is null where the manifest's text is the key itself; `version` is null for the current
version, and empty where the manifest should have named one and did not (the task fails). In the chunks of a retry alone
`first_attempt_ms` is set for rows that the job before may have carried out, and `origin_row` is the row in the manifest that the
first job of the chain read."""

OUTCOME_SCHEMA: Final = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("status", pa.int16(), nullable=False),
        pa.field("code", _TEXTS),
        pa.field("message", _TEXTS),
        pa.field("in_doubt", pa.bool_(), nullable=False),
        pa.field("request_id", pa.string()),
    ]
)
"""`row` is the manifest's row, `code` is null exactly for successes, as in `core.task.Outcome`."""

_OPTIONS: Final = pa.ipc.IpcWriteOptions(compression="lz4")


def encode_chunk(table: pa.Table) -> memoryview:
    """The bytes of a chunk file. `table` has CHUNK_SCHEMA."""
    return _encoded(table, CHUNK_SCHEMA)


def decode_chunk(data: bytes | memoryview) -> pa.Table:
    """The table of a chunk file. Raises SpoolError when it is none."""
    return _decoded(data, CHUNK_SCHEMA, "chunk file")


def encode_outcomes(
    rows: Sequence[int],
    statuses: Sequence[int],
    codes: Sequence[str | None],
    messages: Sequence[str | None],
    in_doubt: Sequence[bool],
    request_ids: Mapping[int, str] = MappingProxyType({}),
) -> memoryview:
    """The bytes of an outcome file (a segment or a sealed file): columns of one length, rows in any order; `request_ids` of some
    rows."""
    named = pa.array([request_ids.get(row) for row in rows], pa.string()) if request_ids else pa.nulls(len(rows), pa.string())
    columns = [
        pa.array(rows, pa.int64()),
        pa.array(statuses, pa.int16()),
        pa.array(codes, pa.string()).dictionary_encode(),
        pa.array(messages, pa.string()).dictionary_encode(),
        pa.array(in_doubt, pa.bool_()),
        named,
    ]
    return encode_outcome_table(pa.table(columns, schema=OUTCOME_SCHEMA))


def encode_outcome_table(table: pa.Table) -> memoryview:
    """The bytes of an outcome file. `table` has OUTCOME_SCHEMA, as `decode_outcomes` and `merge_outcomes` give it."""
    return _encoded(table, OUTCOME_SCHEMA)


def decode_outcomes(data: bytes | memoryview) -> pa.Table:
    """The table of an outcome file. Raises SpoolError when it is none."""
    return _decoded(data, OUTCOME_SCHEMA, "outcome file")


def merge_outcomes(tables: Sequence[pa.Table]) -> pa.Table:
    """All outcomes in order of rows. Raises SpoolError when a row has two: committed segments never overlap (decisions §3)."""
    if not tables:
        return OUTCOME_SCHEMA.empty_table()
    merged = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    if not _ascending(merged.column("row")):
        merged = merged.take(pc.sort_indices(merged.column("row"))).combine_chunks()
        if not _ascending(merged.column("row")):
            rows = merged.column("row")
            double = rows.slice(1).filter(pc.equal(rows.slice(1), rows.slice(0, len(rows) - 1)))
            raise SpoolError("outcomes", f"{len(double)} rows have two outcomes, the first is row {double[0]}")
    return merged


def _ascending(rows: pa.ChunkedArray) -> bool:
    """Strictly: also without doubles."""
    return len(rows) < 2 or bool(pc.all(pc.greater(rows.slice(1), rows.slice(0, len(rows) - 1))).as_py())


def _encoded(table: pa.Table, schema: pa.Schema) -> memoryview:
    if not table.schema.equals(schema):
        raise ValueError(f"a table of other columns than the file's:\n{table.schema}\ninstead of\n{schema}")
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema, options=_OPTIONS) as writer:
        writer.write_table(table.unify_dictionaries().combine_chunks())
    return memoryview(sink.getvalue()).cast("B")


def _decoded(data: bytes | memoryview, schema: pa.Schema, what: str) -> pa.Table:
    try:
        with pa.ipc.open_file(pa.py_buffer(data)) as file:
            table = file.read_all()
        table.validate()
    except (pa.ArrowException, OSError) as error:
        raise SpoolError(what, f"cannot be read: {error}") from error
    for field in schema:
        if field.nullable and field.name not in table.column_names:  # written by a version that did not know it yet
            table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    if not table.schema.equals(schema):
        raise SpoolError(what, f"holds other columns: {', '.join(table.column_names)}")
    return table
