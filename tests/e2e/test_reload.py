"""Settings that are read again (SIGHUP) while a job runs: what changed holds for the chunks that runners have, too."""

import os
import re
import signal
from collections.abc import Iterator

import pytest

from e2e.faulty import FaultyBench
from haulier.core.errors import StoreError
from haulier.testing.faulty_s3 import DELAY, Fault, Seen

COPY = {"S3PutObjectCopy": {"TargetResource": "arn:aws:s3:::copies"}}
KEYS = [f"k/{number:04d}" for number in range(2_000)]


@pytest.fixture
def bench() -> Iterator[FaultyBench]:
    with FaultyBench(probe="off", in_flight_max=8, access_key="OLDKEY") as bench:
        for key in KEYS:
            bench.put("photos", key)
        bench.store.choose(lambda seen: Fault(DELAY, 0.02) if seen.method == "PUT" and "/copies/" in seen.target else None)
        yield bench


def under_way(bench: FaultyBench, keys: list[str] = KEYS, *, report: bool = False) -> str:
    job_id = bench.job(COPY, keys, report=report)
    bench.store.wait_for(lambda store: sum("/copies/" in seen.target for seen in store.requests) > 200)
    return job_id


def change(bench: FaultyBench, pattern: str, replacement: str) -> None:
    """Change the settings where the pattern is, and have them read."""
    text, count = re.subn(pattern, replacement, bench.server.config_file.read_text("utf-8"))
    assert count
    bench.server.config_file.write_text(text, "utf-8")
    before = bench.server.log_file.read_text("utf-8").count("settings reloaded")
    os.kill(bench.server.pid, signal.SIGHUP)
    while bench.server.log_file.read_text("utf-8").count("settings reloaded") == before:
        assert bench.server.running, bench.server.log_tail()


def signed_by(key: str, seen: Seen) -> bool:
    return f"Credential={key}/" in seen.headers.get("authorization", "")


def test_new_keys_of_a_store_are_used_by_what_runs_before_the_old_ones_go(bench: FaultyBench) -> None:
    job_id = under_way(bench)
    change(bench, "OLDKEY", "NEWKEY")
    bench.store.wait_for(lambda store: signed_by("NEWKEY", store.requests[-1]))
    begun = len(bench.store.requests)
    bench.store.wait_for(lambda store: len(store.requests) > begun + 32)  # what was signed with the old ones has been answered
    bench.store.guard = lambda seen: StoreError(403, "InvalidAccessKeyId", "gone") if signed_by("OLDKEY", seen) else None
    job = bench.wait(job_id)
    assert (job["Status"], job["ProgressSummary"]["NumberOfTasksSucceeded"]) == ("Complete", len(KEYS))


def test_a_job_whose_store_was_taken_out_ends_by_its_name(bench: FaultyBench) -> None:
    job_id = under_way(bench)
    change(bench, r"\[stores\.main\]|stores = \[\"main\"\]", lambda found: found[0].replace("main", "second"))  # type: ignore[arg-type]
    job = bench.wait(job_id, seconds=40)
    assert (job["Status"], job["FailureReasons"][0]["FailureCode"]) == ("Failed", "UnknownBucket")
    assert "'main' is no longer in the settings" in job["FailureReasons"][0]["FailureReason"]


def test_of_rows_that_were_never_sent_nothing_is_told_when_the_role_is_narrowed(bench: FaultyBench) -> None:
    more = [f"more/{number:05d}" for number in range(8_000)]  # more chunks than the runners are given at once
    job_id = under_way(bench, [*KEYS, *more], report=True)
    change(bench, r'buckets = \["\*"\]\nuse_store_keys', 'buckets = ["lists", "photos"]\nuse_store_keys')
    job = bench.wait(job_id, seconds=40)
    assert (job["Status"], job["FailureReasons"][0]["FailureCode"]) == ("Failed", "RoleNotAllowed")
    sent = {seen.target.partition("?")[0].removeprefix("/copies/") for seen in bench.store.requests if "/copies/" in seen.target}
    assert {row.key for row in bench.report(job_id).rows} <= sent
