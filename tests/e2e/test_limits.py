"""A store's limits hold over all runners, buckets and roles together, and one runner alone can use them."""

import bisect

from e2e.faulty import FaultyBench
from haulier.testing.faulty_s3 import DELAY, Fault

PER_SECOND = 100.0
IN_FLIGHT = 6
COPY = {"S3PutObjectCopy": {"TargetResource": "arn:aws:s3:::copies"}}
TAG = {"S3PutObjectTagging": {"TagSet": [{"Key": "team", "Value": "blue"}]}}


def test_two_runners_keep_a_stores_limits_together_and_one_alone_can_use_them():
    keys = [f"k/{number:04d}" for number in range(300)]
    with FaultyBench(probe="off", requests_per_second=PER_SECOND, in_flight_max=IN_FLIGHT) as bench:
        for key in keys:
            bench.put("photos", key)
        bench.store.plan(*[Fault(DELAY, 0.03)] * 5_000)
        assert bench.wait(bench.job(COPY, keys))["Status"] == "Complete"
        alone = [seen.at for seen in bench.store.requests if seen.method == "PUT"]
        two = [bench.job(operation, keys[:150]) for operation in (COPY, TAG)]
        assert [bench.wait(job)["Status"] for job in two] == ["Complete"] * 2
        times = [seen.at for seen in bench.store.requests]
    assert bench.store.busiest <= IN_FLIGHT
    for number, start in enumerate(times):
        in_a_second = bisect.bisect_left(times, start + 1) - number
        # A tenth of a second may come at once after a rest; and a request is seen a little after it was begun.
        assert in_a_second <= PER_SECOND * 1.1 + 5
    second_half = alone[150:]
    assert len(second_half) / (second_half[-1] - second_half[0]) > 0.85 * PER_SECOND, "one chunk, so one runner, has it all"


def test_a_jobs_own_limits_hold_from_its_first_task_and_can_be_changed_while_it_runs():
    keys = [f"k/{number:05d}" for number in range(4_000)]
    with FaultyBench(probe="off") as bench:
        for key in keys:
            bench.put("photos", key)
        bench.store.plan(*[Fault(DELAY, 0.02)] * 10_000)
        job = bench.job(TAG, keys, Options={"RequestsPerSecond": 50, "Concurrency": 3})
        assert bench.native("GET", f"jobs/{job}")["limits"] == {"concurrency": 3, "requests_per_second": 50.0}

        def tagged(count):
            bench.store.wait_for(lambda store: store.verbs()["PUT"] >= count, 60)
            return [seen.at for seen in bench.store.requests if seen.method == "PUT"]

        slow = tagged(150)
        assert 99 / (slow[149] - slow[50]) <= 50 * 1.1 + 5
        assert bench.store.busiest <= 3
        changed = bench.native("PUT", f"jobs/{job}/limits", {"requests_per_second": 300})
        assert changed["limits"] == {"concurrency": None, "requests_per_second": 300.0}
        quicker = tagged(1_400)
        assert 150 <= 600 / (quicker[1_399] - quicker[799]) <= 300 * 1.1 + 5
        assert bench.native("PUT", f"jobs/{job}/limits", {})["limits"] is None
        tagged(4_000)
        assert bench.wait(job)["ProgressSummary"]["NumberOfTasksSucceeded"] == 4_000
        kinds = [event["kind"] for event in bench.native("GET", f"jobs/{job}/events")["events"]]
        assert kinds.count("limits") == 2
