"""Buckets, manifests, jobs and reports of one test, and the few lines that every job needs."""

import csv
import hashlib
import io
import json
import uuid
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote, quote_plus

from haulier.core.lifecycle import TERMINAL
from haulier.testing.server import COS_APPID, COS_ROLE, S3_ROLE, HaulierServer
from haulier.testing.stores import SeaweedFS


class Workbench:
    """Three empty buckets: where the objects are, where copies go, and where manifests and reports lie."""

    def __init__(self, store: SeaweedFS, server: HaulierServer) -> None:
        self.server = server
        self.s3 = store.client(connections=32)
        tag = uuid.uuid4().hex[:10]
        self.source, self.target, self.lists = (f"{name}-{tag}-{COS_APPID}" for name in ("src", "dst", "lists"))
        for bucket in (self.source, self.target, self.lists):
            self.s3.create_bucket(Bucket=bucket)

    # -- objects

    def put(self, keys: Iterable[str], bucket: str | None = None) -> None:
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda key: self.s3.put_object(Bucket=bucket or self.source, Key=key, Body=f"<{key}>".encode()), keys))

    def keys(self, bucket: str) -> set[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return {item["Key"] for page in pages for item in page.get("Contents", ())}

    def body(self, bucket: str, key: str) -> bytes:
        return self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()

    def tags(self, key: str, bucket: str | None = None) -> dict[str, str]:
        answer = self.s3.get_object_tagging(Bucket=bucket or self.source, Key=key)
        return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}

    # -- manifests

    def manifest(self, rows: Iterable[Sequence[str]] | bytes, name: str = "manifest.csv") -> str:
        """Store a manifest; its ETag. Rows are (bucket, encoded key, …)."""
        if isinstance(rows, bytes):
            body = rows
        else:
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows(rows)
            body = text.getvalue().encode()
        self.s3.put_object(Bucket=self.lists, Key=name, Body=body)
        return hashlib.md5(body).hexdigest()

    # -- jobs

    def s3_job(self, operation: dict[str, Any], etag: str, **changes: Any) -> str:
        request = {
            "Operation": operation,
            "Manifest": {
                "Spec": {"Format": "S3BatchOperations_CSV_20180820", "Fields": ["Bucket", "Key"]},
                "Location": {"ObjectArn": f"arn:aws:s3:::{self.lists}/manifest.csv", "ETag": etag},
            },
            "Report": {
                "Enabled": True,
                "Bucket": f"arn:aws:s3:::{self.lists}",
                "Prefix": "reports",
                "Format": "Report_CSV_20180820",
                "ReportScope": "AllTasks",
            },
            "Priority": 10,
            "RoleArn": S3_ROLE,
            "ConfirmationRequired": False,
            "ClientRequestToken": uuid.uuid4().hex,
        }
        return self.server.s3control().create_job(**(request | changes))["JobId"]

    def cos_job(
        self,
        operation: str,
        etag: str,
        *,
        fields: Sequence[str] = ("Bucket", "Key"),
        scope: str = "AllTasks",
        confirm: bool = False,
    ) -> str:
        members = "".join(f"<member>{field}</member>" for field in fields)
        return self.server.cos_client.create_job(
            f"""<CreateJobRequest><ClientRequestToken>{uuid.uuid4()}</ClientRequestToken>
            <ConfirmationRequired>{str(confirm).lower()}</ConfirmationRequired>
            <Manifest><Location><ETag>"{etag}"</ETag>
            <ObjectArn>qcs::cos:ap-chengdu:uid/{COS_APPID}:{self.lists}/manifest.csv</ObjectArn></Location>
            <Spec><Fields>{members}</Fields><Format>COSBatchOperations_CSV_V1</Format></Spec></Manifest>
            <Operation>{operation}</Operation><Priority>10</Priority>
            <Report><Bucket>qcs::cos:ap-chengdu:uid/{COS_APPID}:{self.lists}</Bucket><Enabled>true</Enabled>
            <Format>Report_CSV_V1</Format><Prefix>reports</Prefix><ReportScope>{scope}</ReportScope></Report>
            <RoleArn>{COS_ROLE}</RoleArn></CreateJobRequest>"""
        )

    def wait(self, job_id: str, statuses: Iterable[str] = TERMINAL, seconds: float = 60) -> dict[str, Any]:
        """DescribeJob by the S3 wire, once the job is in one of the states."""
        self.server.wait_for(job_id, tuple(statuses), seconds=seconds)
        return self.server.s3control().describe_job(JobId=job_id)["Job"]

    def counts(self, job: dict[str, Any]) -> tuple[int, int, int]:
        """Total, succeeded, failed."""
        summary = job["ProgressSummary"]
        return summary["TotalNumberOfTasks"], summary["NumberOfTasksSucceeded"], summary["NumberOfTasksFailed"]

    def report(self, job_id: str) -> "Report":
        return Report(self.s3, self.lists, f"reports/job-{job_id}/")


class Report:
    """A delivered report, checked against its own manifest.json."""

    def __init__(self, s3: Any, bucket: str, folder: str) -> None:
        raw = s3.get_object(Bucket=bucket, Key=f"{folder}manifest.json")["Body"].read()
        self.md5_file = s3.get_object(Bucket=bucket, Key=f"{folder}manifest.json.md5")["Body"].read()
        assert self.md5_file.strip().decode() == hashlib.md5(raw).hexdigest()
        self.manifest = json.loads(raw)
        self.rows: list[list[str]] = []
        listed = set()
        for result in self.manifest["Results"]:
            body = s3.get_object(Bucket=result["Bucket"], Key=result["Key"])["Body"].read()
            assert hashlib.md5(body).hexdigest() == result["MD5Checksum"]
            rows = list(csv.reader(io.StringIO(body.decode(), newline="")))
            assert {row[3] for row in rows} == {result["TaskExecutionStatus"]}
            self.rows += rows
            listed.add(result["Key"])
        found = {item["Key"] for item in s3.list_objects_v2(Bucket=bucket, Prefix=folder)["Contents"]}
        assert found == listed | {f"{folder}manifest.json", f"{folder}manifest.json.md5"}

    def by_key(self) -> dict[str, list[str]]:
        found = {row[1]: row for row in self.rows}
        assert len(found) == len(self.rows), "a key stands twice in the report"
        return found


def cos_key(key: str) -> str:
    return quote(key, safe="/")


def s3_key(key: str) -> str:
    return quote_plus(key, safe="/")
