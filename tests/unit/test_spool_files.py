import time

import pyarrow as pa
import pytest

from haulier.core.errors import SpoolError
from haulier.manifests import CHUNK_SCHEMA
from haulier.spool import files


def a_chunk(rows: int = 3) -> pa.Table:
    keys = [b"key-%d" % row for row in range(rows)]
    columns = {
        "row": pa.array(range(rows), pa.int64()),
        "bucket": pa.array(["b"] * rows).dictionary_encode(),
        "key": pa.array(keys, pa.binary()),
        "raw_key": pa.array([None] * rows, pa.binary()),
        "version": pa.array([b""] * rows, pa.binary()),
        "size": pa.nulls(rows, pa.int64()),
        "etag": pa.nulls(rows, pa.binary()),
        "first_attempt_ms": pa.nulls(rows, pa.int64()),
        "origin_row": pa.nulls(rows, pa.int64()),
    }
    return pa.table(list(columns.values()), schema=files.CHUNK_SCHEMA)


def outcomes(*rows: int, code: str | None = None) -> pa.Table:
    count = len(rows)
    return files.decode_outcomes(files.encode_outcomes(rows, [200] * count, [code] * count, [None] * count, [False] * count))


def test_manifests_stage_what_chunk_files_hold() -> None:
    assert CHUNK_SCHEMA.equals(files.CHUNK_SCHEMA)


def test_a_chunk_file_gives_back_its_table() -> None:
    chunk = a_chunk()
    assert files.decode_chunk(files.encode_chunk(chunk)).equals(chunk)


def test_a_table_of_several_batches_with_several_dictionaries_is_one_chunk_file() -> None:
    both = pa.concat_tables(
        [a_chunk(), a_chunk().set_column(1, files.CHUNK_SCHEMA.field("bucket"), pa.array(["c"] * 3).dictionary_encode())]
    )
    assert files.decode_chunk(files.encode_chunk(both)).column("bucket").to_pylist() == ["b"] * 3 + ["c"] * 3


def test_a_table_of_other_columns_is_refused_before_it_is_written() -> None:
    with pytest.raises(ValueError, match="other columns"):
        files.encode_chunk(a_chunk().drop_columns(["etag"]))


@pytest.mark.parametrize("data", [b"", b"not arrow", bytes(200)])
def test_bytes_that_are_no_file_of_ours_are_a_spool_error(data: bytes) -> None:
    with pytest.raises(SpoolError):
        files.decode_chunk(data)


def test_a_cut_file_is_a_spool_error() -> None:
    data = files.encode_chunk(a_chunk())
    for size in range(0, len(data), 50):
        with pytest.raises(SpoolError):
            files.decode_chunk(data[:size])


def test_an_outcome_file_is_no_chunk_file() -> None:
    with pytest.raises(SpoolError, match="other columns"):
        files.decode_chunk(files.encode_outcomes([1], [200], [None], [None], [False]))


def test_an_outcome_file_gives_back_every_value() -> None:
    data = files.encode_outcomes([7, 3], [404, 200], ["NoSuchKey", None], ["it is gone", None], [True, False], {7: "7F3A"})
    assert files.decode_outcomes(data).to_pylist() == [
        {"row": 7, "status": 404, "code": "NoSuchKey", "message": "it is gone", "in_doubt": True, "request_id": "7F3A"},
        {"row": 3, "status": 200, "code": None, "message": None, "in_doubt": False, "request_id": None},
    ]


def test_an_outcome_file_of_an_earlier_version_can_be_read_and_merged_with_newer_ones() -> None:
    sink = pa.BufferOutputStream()
    table = files.decode_outcomes(files.encode_outcomes([3], [200], [None], [None], [False])).drop_columns(["request_id"])
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    old = files.decode_outcomes(memoryview(sink.getvalue()))
    new = files.decode_outcomes(files.encode_outcomes([7], [404], ["NoSuchKey"], [None], [False], {7: "7F3A"}))
    assert files.merge_outcomes([new, old]).column("request_id").to_pylist() == [None, "7F3A"]


def test_merged_outcomes_are_in_order_of_rows() -> None:
    merged = files.merge_outcomes([outcomes(5, 1, code="A"), outcomes(0, 4), outcomes(2, code="B")])
    assert merged.column("row").to_pylist() == [0, 1, 2, 4, 5]
    assert merged.column("code").to_pylist() == [None, "A", "B", None, "A"]
    assert merged.schema.equals(files.OUTCOME_SCHEMA)
    files.encode_outcome_table(merged)


def test_merging_nothing_gives_no_rows() -> None:
    assert files.merge_outcomes([]).num_rows == 0
    assert files.merge_outcomes([files.OUTCOME_SCHEMA.empty_table()]).num_rows == 0


@pytest.mark.parametrize("rows", [((1, 2), (2, 3)), ((3, 1), (0, 3)), ((1, 1),)])
def test_two_outcomes_of_one_row_are_refused(rows: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(SpoolError, match="two outcomes"):
        files.merge_outcomes([outcomes(*segment) for segment in rows])


def test_100_000_rows_take_less_than_100_ms_each_way() -> None:
    rows = [row ^ 1 for row in range(100_000)]
    codes = [None if row % 10 else "NoSuchKey" for row in rows]
    columns = (rows, [200] * len(rows), codes, codes, [False] * len(rows))
    spent = []
    for _ in range(3):
        started = time.process_time()
        data = files.encode_outcomes(*columns)
        encoded = time.process_time()
        files.merge_outcomes([files.decode_outcomes(data)])
        spent.append((encoded - started, time.process_time() - encoded))
    assert min(one for one, _ in spent) < 0.1
    assert min(other for _, other in spent) < 0.1
