"""What a client of the batch APIs has to write: manifests, CreateJob requests of both wires; and to read: reports."""

import csv
import io
import json
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote
from xml.sax.saxutils import escape

from haulier.testing.server import COS_APPID, COS_ROLE, S3_ROLE

COS_REGION: Final = "ap-chengdu"


class PutManifest(NamedTuple):
    """A CSV manifest of bucket and key that lies in a store."""

    bucket: str
    key: str
    etag: str


def csv_manifest(bucket: str, keys: Iterable[str]) -> bytes:
    """Rows of bucket and percent-encoded key."""
    return "".join(f"{bucket},{quote(key)}\n" for key in keys).encode()


def put_manifest(s3: Any, place: str, name: str, bucket: str, keys: Iterable[str]) -> PutManifest:
    """Put a manifest of keys of `bucket` at `place/name`. `s3` is a boto3 client of the store."""
    etag = s3.put_object(Bucket=place, Key=name, Body=csv_manifest(bucket, keys))["ETag"]
    return PutManifest(place, name, etag.strip('"'))


def s3_job(operation: dict[str, Any], manifest: PutManifest, report_prefix: str, **other: Any) -> dict[str, Any]:
    """Arguments of boto3's `create_job`, but for AccountId. The report, of all tasks, goes to the manifest's bucket."""
    return {
        "ConfirmationRequired": False,
        "Operation": operation,
        "Manifest": {
            "Spec": {"Format": "S3BatchOperations_CSV_20180820", "Fields": ["Bucket", "Key"]},
            "Location": {"ObjectArn": f"arn:aws:s3:::{manifest.bucket}/{manifest.key}", "ETag": manifest.etag},
        },
        "Report": {
            "Bucket": f"arn:aws:s3:::{manifest.bucket}",
            "Format": "Report_CSV_20180820",
            "Enabled": True,
            "Prefix": report_prefix,
            "ReportScope": "AllTasks",
        },
        "Priority": 10,
        "RoleArn": S3_ROLE,
        "ClientRequestToken": str(uuid.uuid4()),
        **other,
    }


def cos_bucket(bucket: str) -> str:
    """The bucket's resource name on the COS wire. A name without the APPID at its end gets the form without an owner."""
    owner = f"uid/{COS_APPID}" if bucket.endswith(f"-{COS_APPID}") else ""
    return f"qcs::cos:{COS_REGION}:{owner}:{bucket}"


def cos_job(
    operation: str,
    manifest: PutManifest,
    report_prefix: str,
    *,
    description: str = "",
    priority: int = 10,
    confirmation: bool = False,
) -> str:
    """A CreateJobRequest; `operation` is its XML element. The report, of all tasks, goes to the manifest's bucket."""
    place = cos_bucket(manifest.bucket)
    return f"""<CreateJobRequest>
  <ClientRequestToken>{uuid.uuid4()}</ClientRequestToken>
  <ConfirmationRequired>{str(confirmation).lower()}</ConfirmationRequired>
  <Description>{escape(description)}</Description>
  <Manifest>
    <Location><ETag>{manifest.etag}</ETag><ObjectArn>{place}/{escape(manifest.key)}</ObjectArn></Location>
    <Spec><Fields><member>Bucket</member><member>Key</member></Fields><Format>COSBatchOperations_CSV_V1</Format></Spec>
  </Manifest>
  <Operation>{operation}</Operation>
  <Priority>{priority}</Priority>
  <Report>
    <Bucket>{place}</Bucket><Enabled>true</Enabled><Format>Report_CSV_V1</Format>
    <Prefix>{escape(report_prefix)}</Prefix><ReportScope>AllTasks</ReportScope>
  </Report>
  <RoleArn>{COS_ROLE}</RoleArn>
</CreateJobRequest>"""


class ReportRow(NamedTuple):
    """One task of a report, whichever wire's order of columns it was written in."""

    bucket: str
    key: str
    """Decoded."""
    version: str
    succeeded: bool
    code: str
    status: str
    message: str


class JobReport(NamedTuple):
    """A whole completion report."""

    manifest_key: str
    manifest: dict[str, Any]
    rows: Sequence[ReportRow]
    first_lines: Sequence[str]
    """The first lines of its files, as they stand there."""

    def failures(self) -> Counter[str]:
        """Failed tasks by code."""
        return Counter(row.code for row in self.rows if not row.succeeded)


def read_report(s3: Any, bucket: str, prefix: str, job_id: str) -> JobReport:
    """Read the report that a job left under `prefix`. Raises botocore's ClientError where a part of it is missing."""
    key = f"{prefix}/job-{job_id}/manifest.json"
    manifest = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    code_first = manifest["Format"] == "Report_CSV_V1"  # the S3 wire's rows have the HTTP status first, against their schema
    rows: list[ReportRow] = []
    lines: list[str] = []
    for result in manifest["Results"]:
        text = s3.get_object(Bucket=bucket, Key=result["Key"])["Body"].read().decode()
        lines += text.split("\n", 2)[:2]
        rows += [_row(fields, code_first=code_first) for fields in csv.reader(io.StringIO(text))]
    return JobReport(key, manifest, rows, lines)


def save_report(s3: Any, bucket: str, prefix: str, job_id: str, folder: Path) -> None:
    """Copy the report's files into a folder, as `haulier doctor --report` wants them. Raises botocore's ClientError."""
    place = f"{prefix}/job-{job_id}/"
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=place)
    for key in [item["Key"] for page in pages for item in page.get("Contents", ())]:
        file = folder / key.removeprefix(place)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())


def _row(fields: list[str], *, code_first: bool) -> ReportRow:
    bucket, key, version, task_status, first, second, message = fields
    code, status = (first, second) if code_first else (second, first)
    return ReportRow(bucket, unquote(key), version, task_status == "succeeded", code, status, message)


def wait_s3(client: Any, job_id: str, *, seconds: float = 60.0) -> dict[str, Any]:
    """boto3's description of the job once it ended. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while True:
        job: dict[str, Any] = client.describe_job(JobId=job_id)["Job"]
        if job["Status"] in ("Complete", "Failed", "Cancelled"):
            return job
        if time.monotonic() > end:
            raise TimeoutError(f"job {job_id} is still {job['Status']} after {seconds:.0f} s: {job.get('ProgressSummary')}")
        time.sleep(0.05)
