"""A store that was proven in its scratch bucket, and lies in another one."""

import pytest

from e2e.faulty import FaultyBench

TAG = {"S3PutObjectTagging": {"TagSet": [{"Key": "team", "Value": "blue"}]}}
COPY = {"S3PutObjectCopy": {"TargetResource": "arn:aws:s3:::copies"}}
KEYS = [f"k/{number:05d}" for number in range(3_000)]


@pytest.mark.parametrize("lie", ["overwrites", "copies nothing"])
def test_a_lie_found_later_stops_the_job_before_it_does_much_harm(lie):
    with FaultyBench(scratch_bucket="scratch") as bench:
        store = bench.store.store
        put_tags, copy_object = store.put_tags, store.copy_object

        async def overwrite(bucket, key, version, tags):
            if bucket == "scratch":
                return await put_tags(bucket, key, version, tags)
            return await store.put_object(bucket, key, b"<Tagging></Tagging>")

        async def copy_nothing(source, key, version, target, *more):
            if target == "scratch":
                return await copy_object(source, key, version, target, *more)
            return await copy_object(source, key, version, "scratch", *more)

        for key in KEYS:
            bench.put("photos", key)
        store.put_tags, store.copy_object = overwrite, copy_nothing
        job = bench.wait(bench.job(TAG if lie == "overwrites" else COPY, KEYS), ["Failed"])
        failure = job["FailureReasons"][0]
        code = "StoreCannotPutTagging" if lie == "overwrites" else "StoreCannotCopy"
        assert failure["FailureCode"] == code
        assert "store 'main'" in failure["FailureReason"]
        summary = job["ProgressSummary"]
        assert summary["FailuresByCode"][code] > 0
        harmed = sum(held[-1].body == b"<Tagging></Tagging>" for held in store.buckets["photos"].values())
        done = harmed if lie == "overwrites" else len(store.buckets["scratch"])
        assert 0 < done <= 20 * 6, "as many as are read back of each chunk that is out"
