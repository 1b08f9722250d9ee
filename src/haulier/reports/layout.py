"""Where a report lies and what its manifest says, per format. Sources: s3-batch-operations §6, cos-batch §6, decisions §2, §5."""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple, Protocol

import msgspec

from haulier.core.errors import NotImplementedHere
from haulier.core.job import Report

TaskStatus = Literal["succeeded", "failed"]

REPORT_SCHEMA: Final = "Bucket, Key, VersionId, TaskStatus, ErrorCode, HTTPStatusCode, ResultMessage"
"""Both formats announce this order; the S3 format does not keep it."""


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """How one report format differs."""

    format: str
    http_status_first: bool
    """HTTPStatusCode stands before ErrorCode in the rows."""
    md5_newline: bool
    """manifest.json.md5 ends with a line feed."""


LAYOUTS: Final = (
    Layout(format="Report_CSV_20180820", http_status_first=True, md5_newline=True),
    Layout(format="Report_CSV_V1", http_status_first=False, md5_newline=False),
)


class ReportedJob(Protocol):
    """What a report needs to know of its job; `core.job.Job` is one."""

    @property
    def id(self) -> str:
        """The job's id."""
        ...

    @property
    def report(self) -> Report:
        """Enabled."""
        ...

    @property
    def reporting_ms(self) -> int | None:
        """The report's date, fixed before it is written."""
        ...


class Result(Protocol):
    """What manifest.json says of a file."""

    @property
    def key(self) -> str:
        """Of the object."""
        ...

    @property
    def md5(self) -> str:
        """Hexadecimal."""
        ...

    @property
    def status(self) -> TaskStatus:
        """Of all its tasks."""
        ...


class ReportKeys(NamedTuple):
    """Keys of a report's objects, in the report's bucket."""

    manifest: str
    manifest_md5: str
    results: str
    """A prefix that ends with `/`."""


def layout(report: Report) -> Layout:
    """The layout of the report's format. Raises NotImplementedHere."""
    for known in LAYOUTS:
        if known.format == report.format:
            return known
    formats = ", ".join(known.format for known in LAYOUTS)
    raise NotImplementedHere("Report.Format", f"{report.format!r} cannot be written; possible are {formats}")


def report_folder(prefix: str, job_id: str) -> str:
    """`[<prefix>/]job-<id>/`: one slash is put in where the prefix does not end with one, none where it is empty."""
    return f"{prefix}{'' if not prefix or prefix.endswith('/') else '/'}job-{job_id}/"


def report_keys(job: ReportedJob) -> ReportKeys:
    """Where the report's objects belong."""
    folder = report_folder(job.report.prefix, job.id)
    return ReportKeys(f"{folder}manifest.json", f"{folder}manifest.json.md5", f"{folder}results/")


def result_key(job: ReportedJob, status: TaskStatus, part: int) -> str:
    """The key of a result file; the same for every repetition of the report."""
    name = hashlib.sha1(f"{job.id}/{status}/{part}".encode(), usedforsecurity=False).hexdigest()
    return f"{report_keys(job).results}{name}.csv"


def manifest_json(job: ReportedJob, files: Sequence[Result]) -> bytes:
    """The report's manifest. `files` may be empty: no task was run, or none failed and only failures were asked for."""
    if job.reporting_ms is None:
        raise ValueError(f"job {job.id} has no date for its report: it is fixed on entering Completing, Cancelling or Failing")
    date = datetime.fromtimestamp(job.reporting_ms / 1000, UTC)
    document = {
        "Format": layout(job.report).format,
        "ReportCreationDate": f"{date:%Y-%m-%dT%H:%M:%S}.{job.reporting_ms % 1000:03d}Z",
        "Results": [
            {"TaskExecutionStatus": file.status, "Bucket": job.report.bucket, "MD5Checksum": file.md5, "Key": file.key}
            for file in files
        ],
        "ReportSchema": REPORT_SCHEMA,
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def manifest_md5(job: ReportedJob, manifest: bytes) -> bytes:
    """The bytes of manifest.json.md5."""
    digest = hashlib.md5(manifest, usedforsecurity=False).hexdigest()
    return digest.encode() + (b"\n" if layout(job.report).md5_newline else b"")
