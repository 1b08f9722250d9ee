"""Retry only what failed: one call, no file that anybody edits, and reports that together tell the end of every row."""

import random
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from e2e.faulty import FaultyBench
from e2e.workbench import Workbench
from haulier.cli import main
from haulier.core.errors import StoreError
from haulier.testing.faulty_s3 import RESET_AFTER, Fault, Seen
from haulier.testing.server import ACCESS_KEY, AWS_ACCOUNT_ID, SECRET_KEY

TAG = {"S3PutObjectTagging": {"TagSet": [{"Key": "team", "Value": "blue"}]}}
COPY = {"S3PutObjectCopy": {"TargetResource": "arn:aws:s3:::copies"}}
DELETE: dict[str, Any] = {"S3DeleteObject": {}}


def refusing(keys: set[str], *methods: str) -> Any:
    """A guard that refuses these methods on these keys."""

    def guard(seen: Seen) -> StoreError | None:
        key = seen.target.partition("?")[0].removeprefix("/photos/")
        return StoreError(403, "AccessDenied", "not yours") if seen.method in methods and key in keys else None

    return guard


def progress(bench: FaultyBench, job_id: str) -> tuple[int, int, int]:
    found = bench.native("GET", f"jobs/{job_id}")["progress"]
    return found["total"], found["succeeded"], found["failed"]


def test_retries_run_exactly_what_failed_until_every_row_has_succeeded_once() -> None:
    chance = random.Random(7)
    keys = [f"k/{number:04}" for number in range(400)]
    with FaultyBench(probe="off") as bench:
        for key in keys:
            bench.put("photos", key)
        left, chain = set(keys), []
        while left:
            refused = {key for key in sorted(left) if chance.random() < 0.4} if len(chain) < 3 else set()
            bench.store.guard = refusing(refused, "PUT")
            job_id = bench.native("POST", f"jobs/{chain[-1]}/retry")["id"] if chain else bench.job(TAG, keys, report=True)
            bench.wait(job_id)
            assert progress(bench, job_id) == (len(left), len(left) - len(refused), len(refused))
            report = {row.key: row.succeeded for row in bench.report(job_id).rows}
            assert report == {key: key not in refused for key in left}
            chain.append(job_id)
            left = refused
        bench.store.guard = lambda _: None
        tagged = Counter(key.decode() for verb, bucket, key in bench.store.effects if verb == "tag" and bucket == "photos")
        assert tagged == dict.fromkeys(keys, 1), "nothing that succeeded is ever done again"
        for before, after in pairwise(chain):
            old, new = (bench.native("GET", f"jobs/{job_id}") for job_id in (before, after))
            assert (new["retry"]["of"], old["retried_by"]) == (before, [after])
            (told,) = (e for e in bench.native("GET", f"jobs/{before}/events")["events"] if e["kind"] == "retried")
            assert (told["by"], told["facts"]) == ("admin", {"retry": after})
            assert bench.native("GET", f"jobs/{after}/events")["events"][0]["facts"]["retry_of"] == before
        described = [bench.server.s3control().describe_job(JobId=job_id)["Job"] for job_id in chain]
        for name in ("Manifest", "Operation", "Report", "RoleArn", "Priority"):
            assert all(job[name] == described[0][name] for job in described), name
        shown = [bench.server.cos_client.describe_job(job_id).text("Job/Manifest/Location/ObjectArn") for job_id in chain]
        assert len(set(shown)) == 1
        assert shown[0]


def test_a_killed_and_cancelled_job_is_finished_by_a_retry_and_each_row_is_reported_once() -> None:
    keys = [f"k/{number:04}" for number in range(400)]
    with FaultyBench(probe="off", requests_per_second=80.0) as bench:
        for key in keys:
            bench.put("photos", key)
        job_id = bench.job(COPY, keys, report=True)
        bench.store.wait_for(lambda store: store.verbs()["PUT"] > 60, 30)
        bench.server.kill()
        bench.server.restart()
        bench.native("POST", f"jobs/{job_id}/cancel")
        assert bench.wait(job_id)["Status"] == "Cancelled"
        total, succeeded, failed = progress(bench, job_id)
        assert (total, failed) == (400, 0)
        assert 0 < succeeded < 400
        retry = bench.native("POST", f"jobs/{job_id}/retry", {"codes": ["NotAttempted"], "description": "the rest"})["id"]
        before = len(bench.store.effects)
        bench.store.wait_for(lambda store: len(store.effects) > before + 40, 30)
        bench.server.kill()
        bench.server.restart()
        job = bench.wait(retry)
        assert (job["Status"], job["Description"]) == ("Complete", "the rest")
        assert progress(bench, retry) == (400 - succeeded, 400 - succeeded, 0)
        rows = [row for each in (job_id, retry) for row in bench.report(each).rows]
        assert sorted(row.key for row in rows) == keys, "every row once, over both reports"
        assert all(row.succeeded for row in rows)
        copied = {key.decode() for verb, bucket, key in bench.store.effects if (verb, bucket) == ("copy", "copies")}
        assert copied == set(keys)


def test_a_retry_of_deletes_of_unknown_fate_spares_what_somebody_wrote_since() -> None:
    keys = [f"k/{number}" for number in range(6)]
    with FaultyBench(probe="off") as bench:
        for key in keys:
            bench.put("photos", key)
        # The batch is carried out and its answer is lost; then nobody may look, so what became of it cannot be known.
        bench.store.choose(lambda seen: Fault(RESET_AFTER) if seen.method == "POST" else None)
        bench.store.guard = refusing(set(keys), "HEAD")
        job_id = bench.job(DELETE, keys, report=True)
        bench.wait(job_id)
        (unknown,) = bench.native("GET", f"jobs/{job_id}/failures")["failures"]
        assert (unknown["code"], unknown["kind"], unknown["count"]) == ("OutcomeUnknown", "unknown", 6)
        bench.store.choose(lambda _: None)
        bench.store.guard = lambda _: None
        bench.put("photos", keys[2], b"new")
        chain = [job_id]
        for left in (6, 1, 1):  # what was written since is spared by the retry of the retry, too
            chain.append(bench.native("POST", f"jobs/{chain[-1]}/retry")["id"])
            bench.wait(chain[-1])
            assert progress(bench, chain[-1]) == (left, left - 1, 1)
            (spared,) = bench.native("GET", f"jobs/{chain[-1]}/failures")["failures"]
            assert (spared["code"], [each["key"] for each in spared["samples"]]) == ("ChangedSinceAttempt", [keys[2]])
        assert bench.s3.get_object(Bucket="photos", Key=keys[2])["Body"].read() == b"new"


def test_only_the_chosen_class_is_run_again_and_a_request_that_comes_twice_makes_one_job() -> None:
    keys = [f"k/{number}" for number in range(20)]
    with FaultyBench(probe="off") as bench:
        for key in keys[:12]:
            bench.put("photos", key)
        bench.store.guard = refusing(set(keys[:5]), "PUT")
        job_id = bench.job(TAG, keys)
        bench.wait(job_id)
        bench.store.guard = lambda _: None
        retries = [
            bench.native("POST", f"jobs/{job_id}/retry", {"kinds": ["denied"], "priority": 3}, headers={"Idempotency-Key": "one"})
            for _ in range(2)
        ]
        assert retries[0]["id"] == retries[1]["id"]
        assert retries[0]["retry"] == {"of": job_id, "codes": [], "kinds": ["denied"]}
        bench.wait(retries[0]["id"])
        assert progress(bench, retries[0]["id"]) == (5, 5, 0)
        missing = bench.native("POST", f"jobs/{job_id}/retry", {"codes": ["NoSuchKey"], "confirm": True})["id"]
        bench.wait(missing, ("Suspended",))
        assert bench.native("GET", f"jobs/{missing}")["progress"]["total"] == 8
        with pytest.raises(AssertionError, match="NothingToRetry"):
            bench.native("POST", f"jobs/{job_id}/retry", {"codes": ["SlowDown"]})
        with pytest.raises(AssertionError, match="IllegalTransition"):
            bench.native("POST", f"jobs/{missing}/retry")


def test_a_job_of_the_cos_wire_is_retried_by_a_command_on_a_real_store(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = [f"a/{number}.jpg" for number in range(30)]
    bench.put(keys[:20])
    etag = bench.manifest([(bench.source, key) for key in keys])
    target = f"qcs::cos:ap-chengdu:uid/1250000000:{bench.target}"
    element = f"<COSPutObjectCopy><TargetResource>{target}</TargetResource></COSPutObjectCopy>"
    job_id = bench.cos_job(element, etag)
    assert bench.counts(bench.wait(job_id)) == (30, 20, 10)
    bench.s3.delete_object(Bucket=bench.lists, Key="manifest.csv")  # nobody needs it any more
    bench.put(keys[20:27])
    monkeypatch.setenv("HAULIER_ENDPOINT", bench.server.url)
    monkeypatch.setenv("HAULIER_ACCOUNT_ID", AWS_ACCOUNT_ID)
    monkeypatch.setenv("HAULIER_ACCESS_KEY", ACCESS_KEY)
    monkeypatch.setenv("HAULIER_SECRET_KEY", SECRET_KEY)
    assert main(["job", "failures", job_id]) == 0
    assert "10  NoSuchKey (404)  not found" in capsys.readouterr().out
    assert main(["job", "retry", job_id, "--codes", "NoSuchKey", "-o", "name"]) == 0
    retry = capsys.readouterr().out.strip()
    assert bench.counts(bench.wait(retry)) == (10, 7, 3)
    first, second = bench.report(job_id), bench.report(retry)
    assert first.manifest["Format"] == second.manifest["Format"] == "Report_CSV_V1"
    assert {key for key, row in second.by_key().items() if row[3] == "failed"} == set(keys[27:])
    assert set(second.by_key()) == set(keys[20:])
    assert bench.keys(bench.target) == set(keys[:27])
    assert main(["job", "get", retry]) == 0
    shown = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines() if "  " in line)
    assert shown["Retry of"].strip() == job_id
