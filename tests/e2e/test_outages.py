"""A store that goes away in the middle of a job: its tasks wait, none fails, and the job says what it waits for."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from e2e.faulty import FaultyBench
from haulier.testing.faulty_s3 import GATEWAY_502, RESET_BEFORE, Fault

TAG = {"S3PutObjectTagging": {"TagSet": [{"Key": "team", "Value": "blue"}]}}
KEYS = [f"k/{number:04d}" for number in range(1_500)]


@pytest.fixture
def bench() -> Iterator[FaultyBench]:
    with FaultyBench(probe="off", requests_per_second=400) as bench:
        for key in KEYS:
            bench.put("photos", key)
        yield bench


def held(bench: FaultyBench, job_id: str, until: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The job as the native API shows it, once it is so."""
    job: dict[str, Any] = bench.native("GET", f"jobs/{job_id}")
    while not until(job):
        assert job["status"] in ("New", "Preparing", "Ready", "Active"), job
        job = bench.native("GET", f"jobs/{job_id}", query={"wait": 20, "version": job["version"]})
    return job


def go_away(bench: FaultyBench, how: str) -> None:
    if how == "refuses":
        bench.store.go_away()
    else:
        bench.store.choose(lambda _: Fault(how))


def come_back(bench: FaultyBench, how: str) -> None:
    if how == "refuses":
        bench.store.come_back()
    else:
        bench.store.choose(lambda _: None)


@pytest.mark.parametrize("how", ["refuses", RESET_BEFORE, GATEWAY_502])
def test_a_store_that_was_away_has_cost_no_task(bench: FaultyBench, how: str) -> None:
    job_id = bench.job(TAG, KEYS)
    bench.store.wait_for(lambda store: store.verbs()["PUT"] > 200)
    go_away(bench, how)
    waits_and_goes_on(bench, job_id, how, len(KEYS))


@pytest.mark.parametrize("how", [RESET_BEFORE, GATEWAY_502])
def test_nor_does_one_that_is_away_cost_the_few_tasks_of_a_small_job(bench: FaultyBench, how: str) -> None:
    bench.store.choose(lambda seen: Fault(how) if seen.method == "PUT" else None)
    waits_and_goes_on(bench, bench.job(TAG, KEYS[:5]), how, 5)


def waits_and_goes_on(bench: FaultyBench, job_id: str, how: str, tasks: int) -> None:
    job = held(bench, job_id, lambda job: job["waits"] is not None)
    assert job["waits"]["code"] == "StoreUnreachable"
    assert f"store 'main' at {bench.store.endpoint} does not answer" in job["waits"]["reason"]
    shown = bench.server.s3control().describe_job(JobId=job_id)["Job"]
    assert shown["StatusUpdateReason"].startswith("StoreUnreachable: store 'main'")
    come_back(bench, how)
    ended = bench.wait(job_id)
    assert (ended["Status"], ended["ProgressSummary"]["NumberOfTasksSucceeded"]) == ("Complete", tasks), ended
    events = bench.native("GET", f"jobs/{job_id}/events")["events"]
    kinds = [event["kind"] for event in events]
    assert kinds.count("waits") == 1
    assert bench.native("GET", f"jobs/{job_id}")["waits"] is None


def test_a_store_that_never_comes_back_ends_the_job_by_its_name() -> None:
    with FaultyBench(probe="off", requests_per_second=200, extra={"limits": {"store_outage_hours": 0.001}}) as bench:
        for key in KEYS:
            bench.put("photos", key)
        job_id = bench.job(TAG, KEYS)
        bench.store.wait_for(lambda store: store.verbs()["PUT"] > 50)
        bench.store.go_away()
        ended = bench.wait(job_id, seconds=120)
        assert ended["Status"] == "Failed"
        failure = ended["FailureReasons"][0]
        assert failure["FailureCode"] == "StoreUnreachable"
        assert f"store 'main' at {bench.store.endpoint} does not answer" in failure["FailureReason"]
        assert ended["ProgressSummary"].get("FailuresByCode", {}).keys() <= {"OutcomeUnknown"}, "no task failed for it"
