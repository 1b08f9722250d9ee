"""`haulier stop-all` on a server under load: nothing is asked of a store two seconds after the answer, until it may be again."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from e2e.faulty import FaultyBench
from haulier.audit.files import files
from haulier.cli import main
from haulier.cli.exits import Exit
from haulier.testing.faulty_s3 import DELAY, ERROR_500, Fault, Seen

KEYS = [f"k{number:05}" for number in range(6_000)]
TAGS = {"S3PutObjectTagging": {"TagSet": [{"Key": "a", "Value": "b"}]}}
BROKEN = "broken.csv"
"""A manifest that the store cannot give out for now: its reader asks again and again."""


def paused_by(bench: FaultyBench, job_id: str) -> tuple[str, str | None]:
    job = bench.native("GET", f"jobs/{job_id}")
    return job["status"], job["paused_by"]


def reading_fails(seen: Seen) -> Fault | None:
    if seen.method == "GET" and BROKEN in seen.target:
        return Fault(ERROR_500)
    return Fault(DELAY, 0.5) if seen.method == "PUT" else None  # so that nothing has ended by itself before it is stopped


def assert_silence(bench: FaultyBench, seconds: float) -> None:
    """No request comes, from two seconds after now on."""
    time.sleep(2)
    asked = len(bench.store.requests)
    time.sleep(seconds)
    assert [seen.target for seen in bench.store.requests[asked:]] == []


def command(bench: FaultyBench, *more: str) -> int:
    return main(["stop-all", "--config", str(bench.server.config_file), *more])


def wait_until(bench: FaultyBench, job_id: str, status: str, by: str | None) -> None:
    end = time.monotonic() + 20
    while (found := paused_by(bench, job_id)) != (status, by):
        assert time.monotonic() < end, found
        time.sleep(0.05)


@pytest.mark.kill
def test_everything_stops_at_once_and_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultyBench(probe="off") as bench:
        for key in KEYS:
            bench.put("photos", key)
        bench.store.choose(reading_fails)
        client = bench.server.s3control()
        running = [bench.job(TAGS, KEYS, report=True) for _ in range(2)]
        unconfirmed, paused = bench.job(TAGS, KEYS[:3], confirm=True), bench.job(TAGS, KEYS, confirm=True)
        bench.wait(unconfirmed, ["Suspended"])
        bench.wait(paused, ["Suspended"])
        client.update_job_status(JobId=paused, RequestedJobStatus="Ready")
        bench.wait(paused, ["Active"])
        client.update_job_status(JobId=paused, RequestedJobStatus="Paused")
        with monkeypatch.context() as patched:
            patched.setattr("e2e.faulty.uuid.uuid4", lambda: BROKEN.removesuffix(".csv"))
            preparing = bench.job(TAGS, KEYS[:3])
        bench.store.wait_for(lambda store: sum(BROKEN in seen.target for seen in store.requests) > 3)
        tagged = [seen for seen in bench.store.requests if seen.method == "PUT" and "/photos/" in seen.target]
        assert tagged, "the server is under load"

        assert command(bench) == Exit.CLEAN
        assert "everything is stopped, since " in capsys.readouterr().out
        assert_silence(bench, 2)
        for job_id in running:
            wait_until(bench, job_id, "Paused", "operator")
        wait_until(bench, paused, "Paused", "user")
        assert paused_by(bench, preparing) == ("Preparing", None)
        late = bench.job(TAGS, KEYS[:3])
        client.update_job_status(JobId=unconfirmed, RequestedJobStatus="Ready")
        with pytest.raises(client.exceptions.JobStatusException):
            client.update_job_status(JobId=running[0], RequestedJobStatus="Ready")
        client.update_job_status(JobId=running[1], RequestedJobStatus="Paused")
        assert paused_by(bench, running[1]) == ("Paused", "user"), "the user's own from now on"
        assert command(bench) == Exit.CLEAN, "it is so already"
        bench.server.kill()
        bench.server.restart()
        assert "everything is stopped, no job runs" in bench.server.log_file.read_text()
        assert_silence(bench, 2)
        assert [paused_by(bench, job_id)[0] for job_id in (late, unconfirmed)] == ["New", "Ready"]

        bench.store.choose(lambda _seen: None)
        capsys.readouterr()
        assert command(bench, "--resume", "-o", "json") == Exit.CLEAN
        assert json.loads(capsys.readouterr().out)["before"] is True
        for job_id in (running[0], preparing, late, unconfirmed):
            assert bench.wait(job_id)["Status"] == "Complete"
        for job_id in (paused, running[1]):
            assert paused_by(bench, job_id) == ("Paused", "user"), "a user's pause is the user's"
            client.update_job_status(JobId=job_id, RequestedJobStatus="Ready")
            assert bench.wait(job_id)["Status"] == "Complete"
        for job_id in running:
            assert sorted(row.key for row in bench.report(job_id).rows) == KEYS
        tagged = [seen for seen in bench.store.requests if seen.method == "PUT" and "/photos/" in seen.target]
        assert len(tagged) == 3 * len(KEYS) + 3 * 3, "nothing was done twice"
        audit = [json.loads(line) for path in files(bench.server.data_dir / "audit") for line in path.read_text().splitlines()]
    commands: list[Any] = [entry["command"] for entry in audit if entry["kind"] == "administration"]
    assert commands == ["stop-all", "stop-all", "stop-all resume"]
