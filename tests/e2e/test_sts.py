"""Jobs act as a role that gets its credentials from STS."""

import pytest

from e2e.faulty import FaultyBench
from e2e.workbench import Workbench
from haulier.testing.fake_sts import FakeSts
from haulier.testing.server import HaulierServer

TAG = {"S3PutObjectTagging": {"TagSet": [{"Key": "team", "Value": "blue"}]}}
KEYS = [f"k/{number:04d}" for number in range(240)]
ARN = "arn:aws:iam::000000000000:role/batch"


def bench_with(sts: FakeSts, **limits: object) -> FaultyBench:
    keys = {"assume_role_arn": ARN, "sts_endpoint": sts.endpoint, "external_id": "haulier-tests", "duration_seconds": 900}
    bench = FaultyBench(role_keys=keys, probe="off", **limits)
    bench.store.guard = sts.guard
    for key in KEYS:
        bench.put("photos", key)
    return bench


def test_tokens_that_end_every_four_seconds_or_before_their_time_fail_no_task():
    with FakeSts(life_seconds=4) as sts, bench_with(sts, requests_per_second=25.0) as bench:
        job_id = bench.job(TAG, KEYS)
        bench.store.wait_for(lambda store: store.verbs()["PUT"] > 60)
        sts.end()
        job = bench.wait(job_id)
        assert (job["Status"], job["ProgressSummary"]["NumberOfTasksSucceeded"]) == ("Complete", len(KEYS))
        assert sts.busiest == 1
        assert 4 <= len(sts.asked) <= 14
        asked = sts.asked[0]
        assert (asked["Action"], asked["RoleArn"], asked["ExternalId"]) == ("AssumeRole", ARN, "haulier-tests")
        assert (asked["RoleSessionName"], asked["DurationSeconds"]) == ("haulier-acme-batch", "900")
        assert "/us-east-1/sts/aws4_request" in sts.signed[0]
        log = bench.server.log_file.read_text()
        assert "token-" not in log
        for file in bench.server.data_dir.rglob("*"):
            assert not file.is_file() or b"token-" not in file.read_bytes()


@pytest.mark.parametrize("body", [("AccessDenied", "you may not assume it"), ("", "")], ids=["told", "an empty body"])
def test_a_role_that_is_refused_fails_the_job_and_nothing_reaches_the_store(body):
    with FakeSts() as sts, bench_with(sts) as bench:
        sts.refusal = (403, *body)
        job = bench.wait(bench.job(TAG, KEYS), ["Failed"], seconds=60)
        failure = job["FailureReasons"][0]
        assert failure["FailureCode"] == "RoleNotAllowed"
        assert "AccessDenied" in failure["FailureReason"]
        assert len(sts.asked) == 3
        assert bench.store.requests == []


def test_an_sts_that_is_out_of_order_is_waited_for():
    with FakeSts() as sts, bench_with(sts) as bench:
        sts.refusal = (503, "", "")
        job_id = bench.job(TAG, KEYS)
        bench.wait(job_id, ["Preparing"])
        sts.refusal = None
        assert bench.wait(job_id)["ProgressSummary"]["NumberOfTasksSucceeded"] == len(KEYS)


def test_a_real_sts_and_store_take_the_role(store):
    keys = {"main": {"assume_role_arn": store.role_arn, "sts_endpoint": store.endpoint}}
    with HaulierServer(store.settings(scratch_bucket="haulier-scratch"), role_keys=keys) as server:
        bench = Workbench(store, server)
        bench.put(["a", "b"])
        job = bench.wait(bench.s3_job(TAG, bench.manifest([(bench.source, key) for key in "ab"])))
        assert (job["Status"], bench.counts(job)) == ("Complete", (2, 2, 0))
        assert bench.tags("a") == {"team": "blue"}
