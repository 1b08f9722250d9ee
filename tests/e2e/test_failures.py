"""Why tasks failed, seen while the job runs and after it: counts that are exact whatever is killed, and the store's own words."""

import time

from e2e.faulty import FaultyBench
from haulier.core.errors import StoreError
from haulier.testing.faulty_s3 import Seen

TAG = {"S3PutObjectTagging": {"TagSet": [{"Key": "team", "Value": "blue"}]}}


def denied(seen: Seen) -> StoreError | None:
    return StoreError(403, "AccessDenied", "not yours") if "denied" in seen.target else None


def test_a_failure_is_seen_within_two_seconds_with_the_stores_name_of_the_request() -> None:
    keys = [f"denied/{number}" for number in range(4)] + [f"k/{number:03}" for number in range(120)]
    with FaultyBench(probe="off", requests_per_second=25.0) as bench:
        for key in keys:
            bench.put("photos", key)
        bench.store.guard = denied
        job_id = bench.job(TAG, keys)
        bench.store.wait_for(lambda store: any("denied/3" in seen.target for seen in store.requests))
        refused = time.monotonic()
        while not (found := bench.native("GET", f"jobs/{job_id}/failures")["failures"]) or found[0]["count"] < 4:
            assert time.monotonic() < refused + 2
            time.sleep(0.05)
        assert bench.native("GET", f"jobs/{job_id}")["status"] == "Active"
        (denials,) = found
        assert (denials["code"], denials["kind"], denials["http_status"]) == ("AccessDenied", "denied", 403)
        assert {sample["key"] for sample in denials["samples"]} <= set(keys[:4])
        numbers = {f"R{number}" for number, seen in enumerate(bench.store.requests, 1) if "denied" in seen.target}
        assert {sample["request_id"] for sample in denials["samples"]} <= numbers
        assert len(denials["samples"]) == 3
        job = bench.wait(job_id)
        assert job["ProgressSummary"]["NumberOfTasksFailed"] == 4
        assert bench.native("GET", f"jobs/{job_id}/failures")["failures"] == found


def test_classes_are_exact_although_everything_is_killed_again_and_again() -> None:
    keys = [f"{'denied' if number % 7 == 0 else 'missing' if number % 5 == 0 else 'k'}/{number:04}" for number in range(700)]
    with FaultyBench(probe="off", requests_per_second=150.0) as bench:
        for key in keys:
            if not key.startswith("missing"):
                bench.put("photos", key)
        bench.store.guard = denied
        job_id = bench.job(TAG, keys)
        for done in (60, 200, 350, 500):
            bench.store.wait_for(lambda store, done=done: store.verbs()["PUT"] > done, 60)  # type: ignore[misc]
            bench.server.kill()
            bench.server.restart()
        job = bench.wait(job_id)
        found = {each["code"]: each["count"] for each in bench.native("GET", f"jobs/{job_id}/failures")["failures"]}
        assert job["Status"] == "Complete"
        assert found == {
            "AccessDenied": sum(key.startswith("denied") for key in keys),
            "NoSuchKey": sum(key.startswith("missing") for key in keys),
        }
        assert job["ProgressSummary"]["NumberOfTasksFailed"] == sum(found.values())


def test_what_a_cancelled_job_left_undone_is_a_class_of_its_own() -> None:
    with FaultyBench(probe="off") as bench:
        name, etag = bench.manifest(["a", "b"])
        manifest = {"bucket": "lists", "key": name, "etag": etag}
        body = {"operation": {"name": "delete"}, "manifest": manifest, "role": "batch"}
        job_id = bench.native("POST", "jobs", body)["id"]
        bench.wait(job_id, ("Suspended",))
        assert bench.native("GET", f"jobs/{job_id}/failures")["failures"] == []
        bench.native("POST", f"jobs/{job_id}/cancel")
        (left,) = bench.native("GET", f"jobs/{job_id}/failures")["failures"]
        assert (left["code"], left["kind"], left["count"]) == ("NotAttempted", "not attempted", 2)
