"""A report that could not be delivered is kept, and delivered later byte for byte."""

import hashlib
import json
import time
from typing import Any

from e2e.faulty import FaultyBench
from haulier.core.errors import StoreError
from haulier.testing.faulty_s3 import Seen

TAG = {"S3PutObjectTagging": {"TagSet": [{"Key": "team", "Value": "blue"}]}}
KEYS = [f"k/{number:03}" for number in range(60)]


def no_report(seen: Seen) -> StoreError | None:
    refused = seen.method == "PUT" and "/reports/" in seen.target and not seen.target.endswith("write-test")
    return StoreError(403, "AccessDenied", "not now") if refused else None


def objects(bench: FaultyBench, bucket: str, prefix: str, job_id: str) -> dict[str, bytes]:
    """The report's objects, by their keys behind its folder; each checked against what manifest.json says of it."""
    folder = f"{prefix}/job-{job_id}/"

    def get(key: str) -> bytes:
        body: bytes = bench.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    manifest = get(f"{folder}manifest.json")
    found = {"manifest.json": manifest, "manifest.json.md5": get(f"{folder}manifest.json.md5")}
    assert found["manifest.json.md5"].strip().decode() == hashlib.md5(manifest).hexdigest()
    for result in json.loads(manifest)["Results"]:
        body = get(result["Key"])
        assert (result["Bucket"], hashlib.md5(body).hexdigest()) == (bucket, result["MD5Checksum"])
        found[result["Key"].removeprefix(folder)] = body
    return found


def delivered(bench: FaultyBench, job_id: str, to: dict[str, str] | None = None) -> Any:
    """Ask for the report, and wait for what becomes of it."""
    document = bench.native("POST", f"jobs/{job_id}/report", {} if to is None else {"to": to})
    until = time.monotonic() + 30
    while document["delivery"]["status"] == "Waiting":
        assert time.monotonic() < until
        time.sleep(0.05)
        document = bench.native("GET", f"jobs/{job_id}")
    return document


def test_a_store_that_refuses_and_then_allows_gets_the_report_of_the_same_moment() -> None:
    with FaultyBench(probe="off") as bench:
        for key in KEYS[:50]:
            bench.put("photos", key)
        bench.store.guard = no_report
        job_id = bench.job(TAG, KEYS, report=True)
        bench.wait(job_id, ("Completing",))
        bench.store.wait_for(lambda store: any("/results/" in seen.target for seen in store.requests))
        before = bench.native("GET", f"jobs/{job_id}")
        bench.server.kill()
        bench.server.restart()
        assert bench.native("GET", f"jobs/{job_id}")["status"] == "Completing"
        bench.store.guard = lambda _: None
        job = bench.wait(job_id)
        assert (job["Status"], job["ProgressSummary"]["NumberOfTasksFailed"]) == ("Complete", 10)
        report = objects(bench, "lists", "reports", job_id)
        date = json.loads(report["manifest.json"])["ReportCreationDate"]
        assert date == before["status_since"], "the report's date is that of the tasks' end, whenever it is delivered"


def test_a_report_is_repeated_byte_for_byte_and_elsewhere_with_the_same_files() -> None:
    with FaultyBench(probe="off") as bench:
        for key in KEYS[:50]:
            bench.put("photos", key)
        job_id = bench.job(TAG, KEYS, report=True)
        ended = bench.wait(job_id)
        first = objects(bench, "lists", "reports", job_id)
        folder = f"reports/job-{job_id}/"
        for name in first:
            bench.s3.delete_object(Bucket="lists", Key=folder + name)
        bench.store.guard = no_report
        refused = delivered(bench, job_id)["delivery"]
        assert (refused["status"], refused["failure"]["code"]) == ("Failed", "ReportDeliveryFailed")
        assert "403 AccessDenied" in refused["failure"]["reason"]
        bench.store.guard = lambda _: None
        document = delivered(bench, job_id)
        assert (document["status"], document["delivery"]["status"]) == ("Complete", "Delivered")
        assert objects(bench, "lists", "reports", job_id) == first
        assert delivered(bench, job_id)["delivery"]["status"] == "Delivered", "what is there already is what it should be"
        bench.put("lists", f"{folder}manifest.json", b"somebody else's")
        spared = delivered(bench, job_id)["delivery"]
        assert "exists with other content" in spared["failure"]["reason"]
        bench.server.kill()
        bench.server.restart()
        assert delivered(bench, job_id, {"bucket": "copies", "prefix": "again"})["delivery"]["status"] == "Delivered"
        again = objects(bench, "copies", "again", job_id)
        results = {name for name in first if name.startswith("results/")}
        assert {name: again[name] for name in results} == {name: first[name] for name in results}
        moved, meant = json.loads(again["manifest.json"]), json.loads(first["manifest.json"])
        assert moved["ReportCreationDate"] == meant["ReportCreationDate"]
        now: dict[str, Any] = bench.server.s3control().describe_job(JobId=job_id)["Job"]
        same = ("Status", "TerminationDate", "ProgressSummary", "Report")
        assert [now[name] for name in same] == [ended[name] for name in same]
