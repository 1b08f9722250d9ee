"""A job that must end early tells all the same what became of its last requests: read back where that can be, unknown else."""

import os
import signal
from collections.abc import Callable

import pytest

from e2e.faulty import FaultyBench
from haulier.testing.faulty_s3 import HOLD, RESET_AFTER, Fault, Seen

KEYS = [f"k{number:03}" for number in range(300)]


def changed(bench: FaultyBench, before: str, after: str) -> None:
    text = bench.server.config_file.read_text()
    assert before in text
    bench.server.config_file.write_text(text.replace(before, after))


def read_only(bench: FaultyBench) -> None:
    changed(bench, "[stores.main]", "[stores.main]\nread_only = true")


def without_role(bench: FaultyBench) -> None:
    changed(bench, 'users = ["admin"]', "users = []")


def deletes_then_silence(seen: Seen) -> Fault | None:
    if seen.method == "POST" and "delete" in seen.target:
        return Fault(RESET_AFTER)
    return Fault(HOLD) if seen.method == "HEAD" and "/photos/" in seen.target else None


@pytest.mark.parametrize(("change", "succeeded", "unknown"), [(read_only, 300, 0), (without_role, 0, 300)])
def test_what_was_sent_is_counted_although_the_job_may_act_no_more(
    change: Callable[[FaultyBench], None], succeeded: int, unknown: int
) -> None:
    with FaultyBench(probe="off") as bench:
        for key in KEYS:
            bench.put("photos", key)
        bench.store.choose(deletes_then_silence)
        job_id = bench.job({"S3DeleteObject": {}}, KEYS)
        bench.store.wait_for(lambda store: store.held > 0)
        assert not bench.store.store.buckets["photos"], "all were deleted, and nobody was told"
        bench.server.kill()
        change(bench)
        bench.store.choose(lambda _seen: None)
        bench.server.restart()
        job = bench.wait(job_id, seconds=40)
        assert (job["Status"], job["FailureReasons"][0]["FailureCode"]) == ("Failed", "RoleNotAllowed")
        progress = job["ProgressSummary"]
        assert (progress["NumberOfTasksSucceeded"], progress["NumberOfTasksFailed"]) == (succeeded, unknown)
        assert progress.get("FailuresByCode", {}) == ({"OutcomeUnknown": unknown} if unknown else {})
        assert bench.store.verbs()["POST"] == 1, "nothing was repeated"


def test_a_store_that_becomes_read_only_is_left_alone_by_the_chunks_that_run() -> None:
    keys = [f"k{number:04}" for number in range(2_000)]
    with FaultyBench(probe="off", requests_per_second=40.0) as bench:
        for key in keys:
            bench.put("photos", key)
        job_id = bench.job({"S3PutObjectTagging": {"TagSet": [{"Key": "a", "Value": "b"}]}}, keys)
        bench.store.wait_for(lambda store: store.verbs()["PUT"] > 20)
        read_only(bench)
        os.kill(bench.server.pid, signal.SIGHUP)
        job = bench.wait(job_id, seconds=30)
        done = bench.store.verbs()["PUT"]
        assert (job["Status"], job["FailureReasons"][0]["FailureCode"]) == ("Failed", "RoleNotAllowed")
        assert job["ProgressSummary"]["NumberOfTasksSucceeded"] == done < 1_000


def test_a_chunk_that_cannot_be_read_for_now_is_tried_again_and_none_of_its_rows_is_in_doubt() -> None:
    with FaultyBench(probe="off") as bench:
        for key in KEYS:
            bench.put("photos", key)
        copy = {"S3PutObjectCopy": {"TargetResource": "arn:aws:s3:::copies"}}
        job_id = bench.job(copy, KEYS, confirm=True)
        bench.wait(job_id, ["Suspended"])
        [chunk] = bench.server.data_dir.rglob("chunks/*.arrow")
        kept = chunk.with_suffix(".kept")
        chunk.rename(kept)
        chunk.symlink_to(chunk)  # as unreadable as a disk that fails
        bench.server.cos_client.confirm_job(job_id)
        [told] = bench.postponed(job_id)
        assert "the disk cannot be used" in told["facts"]["reason"]
        for key in KEYS:
            bench.put("copies", key, b"somebody else's, written before the first request")
        chunk.unlink()
        kept.rename(chunk)
        job = bench.wait(job_id)
        assert (job["Status"], job["ProgressSummary"]["NumberOfTasksSucceeded"]) == ("Complete", 300)
        assert bench.postponed(job_id) == [told], "told once"
