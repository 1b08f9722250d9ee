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
