"""A backup of a running server, restored after that server has gone on, deleted all the rest, and died."""

from pathlib import Path

import pytest

from e2e.faulty import FaultyBench
from haulier.cli import main
from haulier.cli.exits import Exit
from haulier.testing.faulty_s3 import HOLD, Fault, Seen
from haulier.testing.server import HaulierServer

KEYS = [f"k{number:04}" for number in range(3_000)]
FOREIGN = b"somebody else's, written after the backup"


class Held:
    """Lets so many DeleteObjects through and holds further ones, and the report."""

    def __init__(self, deletes: int) -> None:
        self.left = deletes

    def __call__(self, seen: Seen) -> Fault | None:
        if seen.method == "POST":
            self.left -= 1
            return Fault(HOLD) if self.left < 0 else None
        return Fault(HOLD) if seen.method == "PUT" and "/results/" in seen.target else None


def is_sound(server: HaulierServer, job_id: str) -> bool:
    return main(["doctor", "--job", job_id, "--config", str(server.config_file)]) == Exit.CLEAN


def executed(bench: FaultyBench, job_id: str) -> int:
    progress = bench.server.s3control().describe_job(JobId=job_id)["Job"]["ProgressSummary"]
    return int(progress["NumberOfTasksSucceeded"] + progress["NumberOfTasksFailed"])


@pytest.mark.kill
def test_a_delete_job_goes_on_from_a_backup_and_spares_what_was_written_since(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FaultyBench(probe="off") as bench:
        for key in KEYS:
            bench.put("photos", key)
        bench.store.choose(Held(deletes=2))
        job_id = bench.job({"S3DeleteObject": {}}, KEYS, report=True)
        bench.store.wait_for(lambda store: store.held == 3)
        while executed(bench, job_id) < 1_000:
            pass
        assert is_sound(bench.server, job_id), capsys.readouterr().out
        assert main(["backup", str(tmp_path / "saved"), "--config", str(bench.server.config_file)]) == Exit.CLEAN
        bench.store.release()
        bench.store.wait_for(lambda store: store.held == 1)
        assert executed(bench, job_id) == 3_000, "all is done, only the report is held"
        bench.server.kill()
        assert is_sound(bench.server, job_id), capsys.readouterr().out
        written = KEYS[::30]
        for key in written:
            bench.put("photos", key, FOREIGN)

        bench.store.choose(lambda _seen: None)
        bench.server.stop()
        bench.server = HaulierServer(bench.stores, folder=tmp_path / "new")
        assert main(["restore", str(tmp_path / "saved"), "--config", str(bench.server.config_file)]) == Exit.CLEAN
        bench.server.start()
        job = bench.wait(job_id, ["Paused"])
        assert job["StatusUpdateReason"].startswith("restored from a backup taken at ")
        assert executed(bench, job_id) == 1_000
        assert is_sound(bench.server, job_id), capsys.readouterr().out
        bench.server.s3control().update_job_status(JobId=job_id, RequestedJobStatus="Ready")
        assert bench.wait(job_id)["Status"] == "Complete"
        rows = {row.key: row for row in bench.report(job_id).rows}
        assert len(bench.report(job_id).rows) == len(rows) == 3_000, "every key once"
        left = {key.decode(): held[-1].body for key, held in bench.store.store.buckets["photos"].items()}
        assert left == dict.fromkeys(written, FOREIGN)
        spared = {key for key, row in rows.items() if row.code == "ChangedSinceAttempt"}
        assert spared == {key for key in written if not rows[key].succeeded}
        assert len(spared) in range(60, 70), "those of the 2,000 rows that had no outcome when the backup was taken"
        assert is_sound(bench.server, job_id), capsys.readouterr().out
