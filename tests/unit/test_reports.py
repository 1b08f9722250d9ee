import csv
import hashlib
import io
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from haulier.core.errors import NotImplementedHere
from haulier.core.job import Job, Report
from haulier.manifests import CHUNK_SCHEMA
from haulier.manifests.csv import CsvReader
from haulier.manifests.rules import COS_CSV, S3_CSV
from haulier.reports import ReportFile, ReportFiles, manifest_json, manifest_md5, report_folder, report_keys
from haulier.reports import csv as report_csv
from haulier.spool import files
from unit.values import a_job

S3, COS = "Report_CSV_20180820", "Report_CSV_V1"
BOTH = pytest.mark.parametrize("format_", [S3, COS])


class Row(NamedTuple):
    key: bytes
    status: int = 200
    code: str | None = None
    message: str | None = None
    raw: bytes | None = None
    version: bytes | None = None
    bucket: str = "bkt"


def reporting(format_: str = S3, **changes: Any) -> Job:
    values: dict[str, Any] = {"enabled": True, "bucket": "reports", "prefix": "audit", "format": format_}
    return a_job(id="job-id", reporting_ms=1_767_225_600_007, report=Report(**(values | changes)))


def tables(rows: Sequence[Row | None], first: int = 0) -> tuple[pa.Table, pa.Table]:
    """A chunk and its outcomes; None stands for a task that has no outcome."""
    tasks = [row or Row(b"never run") for row in rows]
    done = [(first + position, row) for position, row in enumerate(rows) if row is not None]
    columns = [
        pa.array(range(first, first + len(rows)), pa.int64()),
        pa.array([task.bucket for task in tasks]).dictionary_encode(),
        pa.array([task.key for task in tasks], pa.binary()),
        pa.array([task.raw for task in tasks], pa.binary()),
        pa.array([task.version for task in tasks], pa.binary()),
        pa.nulls(len(rows), pa.int64()),
        pa.nulls(len(rows), pa.binary()),
        pa.nulls(len(rows), pa.int64()),
        pa.nulls(len(rows), pa.int64()),
    ]
    outcomes = files.encode_outcomes(
        [number for number, _ in done],
        [row.status for _, row in done],
        [row.code for _, row in done],
        [row.message for _, row in done],
        [False for _ in done],
    )
    return pa.table(columns, schema=CHUNK_SCHEMA), files.decode_outcomes(outcomes)


def written(folder: Path, rows: Sequence[Row | None], job: Job | None = None, per_chunk: int = 1_000) -> list[ReportFile]:
    report = ReportFiles(job or reporting(), folder)
    for first in range(0, len(rows), per_chunk):
        report.add(*tables(rows[first : first + per_chunk], first))
    return report.finish()


def text(folder: Path, rows: Sequence[Row | None], format_: str = S3) -> dict[str, bytes]:
    return {file.status: file.path.read_bytes() for file in written(folder, rows, reporting(format_))}


MIXED = [
    Row(b"a"),
    Row(b"b c", 404, "NoSuchKey", "The key is gone", raw=b"b%20c"),
    Row(b"d", version=b"v1"),
    Row(b"e", 0, "NotAttempted"),
    Row(b"f", 200, None, "copied, then read", version=b"null"),
]


def test_s3_rows_have_the_http_status_before_the_code(tmp_path: Path) -> None:
    assert text(tmp_path, MIXED) == {
        "succeeded": b"bkt,a,,succeeded,200,,Successful\nbkt,d,v1,succeeded,200,,Successful\n"
        b'bkt,f,null,succeeded,200,,"copied, then read"\n',
        "failed": b"bkt,b%20c,,failed,404,NoSuchKey,The key is gone\nbkt,e,,failed,0,NotAttempted,\n",
    }


def test_cos_rows_have_the_code_before_the_http_status(tmp_path: Path) -> None:
    assert text(tmp_path, MIXED, COS) == {
        "succeeded": b"bkt,a,,succeeded,,200,Successful\nbkt,d,v1,succeeded,,200,Successful\n"
        b'bkt,f,null,succeeded,,200,"copied, then read"\n',
        "failed": b"bkt,b%20c,,failed,NoSuchKey,404,The key is gone\nbkt,e,,failed,NotAttempted,0,\n",
    }


def test_a_file_is_described_by_name_size_digest_and_rows(tmp_path: Path) -> None:
    succeeded, failed = written(tmp_path, MIXED)
    name = hashlib.sha1(b"job-id/succeeded/0").hexdigest()
    assert succeeded.key == f"audit/job-job-id/results/{name}.csv"
    data = succeeded.path.read_bytes()
    assert (succeeded.size, succeeded.md5, succeeded.rows) == (len(data), hashlib.md5(data).hexdigest(), 3)
    assert (failed.status, failed.rows) == ("failed", 2)


def test_tasks_without_an_outcome_get_no_row(tmp_path: Path) -> None:
    rows = [None, Row(b"b"), None, Row(b"d", 403, "AccessDenied", "no"), None]
    assert text(tmp_path, rows) == {
        "succeeded": b"bkt,b,,succeeded,200,,Successful\n",
        "failed": b"bkt,d,,failed,403,AccessDenied,no\n",
    }


def test_a_job_without_outcomes_has_no_files(tmp_path: Path) -> None:
    assert written(tmp_path, [None, None]) == []
    assert written(tmp_path, []) == []


def test_only_failed_tasks_are_written_where_only_they_are_asked_for(tmp_path: Path) -> None:
    job = reporting(scope="FailedTasksOnly")
    assert [file.status for file in written(tmp_path, MIXED, job)] == ["failed"]
    assert written(tmp_path, [Row(b"a")], job) == []
    assert json.loads(manifest_json(job, []))["Results"] == []


def test_files_are_split_at_their_greatest_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_csv, "FILE_ROWS_MAX", 10)
    rows = [Row(b"%d" % row) if row % 5 else Row(b"%d" % row, 500, "InternalError") for row in range(50)]
    parts = written(tmp_path, rows, per_chunk=17)
    assert [(file.status, file.rows) for file in parts] == [("succeeded", 10)] * 4 + [("failed", 10)]
    assert len({file.key for file in parts}) == 5
    joined = b"".join(file.path.read_bytes() for file in parts[:4])
    assert [row[1] for row in csv.reader(io.StringIO(joined.decode()))] == [str(row) for row in range(50) if row % 5]
    assert all(hashlib.md5(file.path.read_bytes()).hexdigest() == file.md5 for file in parts)


def test_a_repeated_report_has_the_same_bytes(tmp_path: Path) -> None:
    def once(name: str, per_chunk: int) -> list[tuple[str, bytes]]:
        (tmp_path / name).mkdir()
        return [(file.key, file.path.read_bytes()) for file in written(tmp_path / name, MIXED * 20, per_chunk=per_chunk)]

    assert once("first", 7) == once("second", 100)


def test_outcomes_of_other_rows_are_refused(tmp_path: Path) -> None:
    report = ReportFiles(reporting(), tmp_path)
    chunk, _ = tables([Row(b"a")] * 5, first=10)
    for first in (5, 12):
        with pytest.raises(ValueError, match="do not belong"):
            report.add(chunk, tables([Row(b"a")] * 5, first=first)[1])
    report.add(*tables([Row(b"a")] * 5, first=10))
    with pytest.raises(ValueError, match="out of order"):
        report.add(*tables([Row(b"a")] * 5, first=10))


@BOTH
def test_the_report_manifest_lists_every_file(format_: str, tmp_path: Path) -> None:
    job = reporting(format_)
    parts = written(tmp_path, MIXED, job)
    document = json.loads(manifest_json(job, parts))
    assert document == {
        "Format": format_,
        "ReportCreationDate": "2026-01-01T00:00:00.007Z",
        "Results": [
            {"TaskExecutionStatus": file.status, "Bucket": "reports", "MD5Checksum": file.md5, "Key": file.key} for file in parts
        ],
        "ReportSchema": "Bucket, Key, VersionId, TaskStatus, ErrorCode, HTTPStatusCode, ResultMessage",
    }


@pytest.mark.parametrize(("format_", "ending"), [(S3, b"\n"), (COS, b"")])
def test_the_digest_file_ends_as_its_dialect_wants(format_: str, ending: bytes) -> None:
    assert manifest_md5(reporting(format_), b"{}") == hashlib.md5(b"{}").hexdigest().encode() + ending


@pytest.mark.parametrize(("prefix", "folder"), [("", "job-1/"), ("a", "a/job-1/"), ("a/", "a/job-1/"), ("../x", "../x/job-1/")])
def test_the_folder_is_joined_with_one_slash(prefix: str, folder: str) -> None:
    assert report_folder(prefix, "1") == folder


def test_the_keys_of_a_report() -> None:
    assert report_keys(reporting(prefix="")) == (
        "job-job-id/manifest.json",
        "job-job-id/manifest.json.md5",
        "job-job-id/results/",
    )


def test_an_unknown_format_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(NotImplementedHere, match=r"Report\.Format: 'Report_Parquet_V1'"):
        ReportFiles(reporting("Report_Parquet_V1"), tmp_path)


def test_a_report_without_a_date_is_refused() -> None:
    with pytest.raises(ValueError, match="no date"):
        manifest_json(a_job(report=Report(enabled=True, format=S3)), [])


HARD = st.text(
    st.sampled_from('a",\r\n \t%+=é你\u202e\x01\x1b') | st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
    min_size=1,
    max_size=12,
).map(str.encode)


ROWS = st.tuples(HARD, st.none() | HARD.map(bytes.decode)).map(lambda drawn: Row(drawn[0], message=drawn[1]))


@BOTH
@given(st.lists(ROWS, min_size=1, max_size=8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_csv_parser_reads_what_was_written(format_: str, tmp_path: Path, rows: list[Row]) -> None:
    data = text(tmp_path, rows, format_)["succeeded"].decode()
    parsed = list(csv.reader(io.StringIO(data, newline=""), strict=True))
    assert [(row[1].encode(), row[6]) for row in parsed] == [
        (row.key, "Successful" if row.message is None else row.message) for row in rows
    ]
    assert all(len(row) == 7 for row in parsed)


@given(st.lists(HARD, min_size=1, max_size=8), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_report_read_as_a_manifest_names_the_same_objects(tmp_path: Path, keys: list[bytes], raw: bool) -> None:
    """Users feed the failed rows of a report to their next job."""
    for rules, format_ in ((S3_CSV, S3), (COS_CSV, COS)):
        escaped = [quote(key).encode() if raw else key.replace(b"%", b"%25").replace(b"+", b"%2B") for key in keys]
        rows = [
            Row(key, 500, "InternalError", raw=None if other == key else other) for key, other in zip(keys, escaped, strict=True)
        ]
        data = text(tmp_path, rows, format_)["failed"]
        fields = ("Bucket", "Key", "Ignore", "Ignore", "Ignore", "Ignore", "Ignore")
        chunks = list(CsvReader(fields, rules).stage([data]))
        assert [key for chunk in chunks for key in chunk.table.column("key").to_pylist()] == keys


def test_a_million_rows_take_less_than_a_second(tmp_path: Path) -> None:
    rows = 100_000
    chunk, outcomes = tables([Row(b"prefix/key-%08d.txt" % row) for row in range(rows)])
    report = ReportFiles(reporting(), tmp_path)
    started = time.process_time()
    for turn in range(5):
        first = pa.array(range(turn * rows, (turn + 1) * rows), pa.int64())
        report.add(
            chunk.set_column(0, CHUNK_SCHEMA.field(0), first), outcomes.set_column(0, files.OUTCOME_SCHEMA.field(0), first)
        )
    assert report.finish()[0].rows == 500_000
    assert time.process_time() - started < 1
