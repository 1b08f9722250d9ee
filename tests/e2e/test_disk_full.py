"""A server whose data directory is a real file system of a few megabytes, which is filled up and emptied again.

A mount namespace of its own gives the server a tmpfs; where the machine allows none, these tests are skipped.
"""

import errno
import http.client
import os
import random
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from botocore.exceptions import ClientError

from e2e.faulty import FaultyBench
from haulier.audit.files import verify

BYTES = 48 << 20
SHORT = BYTES // 20
"""Less than so much free, and nothing new is handed out (docs/decisions/0008)."""
TAGS = {"S3PutObjectTagging": {"TagSet": [{"Key": "a", "Value": "b"}]}}
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def may_mount(folder: Path) -> bool:
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", str(folder)]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


class SmallDisk(FaultyBench):
    """A server, and its disk as seen from outside."""

    def __init__(self, folder: Path, **limits: object) -> None:
        (folder / "data").mkdir(parents=True)
        mount = f'mount -t tmpfs -o size={BYTES},mode=700 none "{folder}/data" && echo mounted && exec cat'
        # It holds the namespace, so that the disk outlives the server.
        self._holder = subprocess.Popen(["unshare", "-rm", "sh", "-c", mount], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"mounted\n"
        self.within = ["nsenter", f"--target={self._holder.pid}", "--user", "--mount", "--preserve-credentials"]
        super().__init__(probe="off", folder=folder, launcher=self.within, **limits)
        self.disk = Path(f"/proc/{self._holder.pid}/root{self.server.data_dir}")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        super().__exit__(kind, error, trace)
        with self._holder:
            self._holder.kill()

    def free(self) -> int:
        found = os.statvfs(self.disk)
        return found.f_bavail * found.f_frsize

    def fill(self, leave: int) -> None:
        """Until no more than so many bytes are free."""
        with (self.disk / "filler").open("ab") as filler:
            while (surplus := self.free() - leave) > 0:
                try:
                    os.posix_fallocate(filler.fileno(), filler.seek(0, os.SEEK_END), surplus)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise  # else the server was faster: what is free now is less
                filler.seek(0, os.SEEK_END)

    def make_room(self) -> None:
        (self.disk / "filler").unlink()

    def ready(self) -> tuple[int, str]:
        try:
            with _DIRECT.open(f"{self.server.url}/readyz", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except (OSError, http.client.HTTPException) as error:
            return 0, str(error)

    def logged(self, text: str) -> bool:
        return text in self.server.log_file.read_text()

    def examined(self, job_id: str) -> str:
        """What `haulier doctor` says of a sound job, in the server's view of the file system."""
        doctor = [sys.executable, "-m", "haulier", "doctor", "--job", job_id, "--config", str(self.server.config_file)]
        return subprocess.run([*self.within, *doctor], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def small(tmp_path: Path) -> Callable[..., SmallDisk]:
    if not may_mount(tmp_path):
        pytest.skip("this machine lets nobody mount a file system in a namespace of one's own")
    return lambda **limits: SmallDisk(tmp_path / "server", **limits)


def wait_until(what: Callable[[], Any], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.05)


def executed(bench: FaultyBench, job_id: str) -> int:
    progress = bench.server.s3control().describe_job(JobId=job_id)["Job"]["ProgressSummary"]
    return int(progress["NumberOfTasksSucceeded"] + progress["NumberOfTasksFailed"])


def test_work_stops_on_a_full_disk_and_goes_on_by_itself(small: Callable[..., SmallDisk]) -> None:
    """Segments, sealed files and the audit log find no room."""
    keys = [f"k{number:04}" for number in range(1_500)]
    with small(requests_per_second=300.0) as bench:
        for key in keys:
            bench.put("photos", key)
        job_id = bench.job(TAGS, keys, report=True)
        wait_until(lambda: executed(bench, job_id) > 300)
        runners = bench.server.runner_pids()
        bench.fill(0)
        wait_until(lambda: bench.logged("outcomes cannot be written"))
        wait_until(lambda: bench.ready()[0] == 503)
        client = bench.server.s3control()
        with pytest.raises(ClientError) as refused:
            client.update_job_priority(JobId=job_id, Priority=7)
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
        stopped = executed(bench, job_id)
        assert stopped < len(keys), "reads go on"
        wait_until(lambda: executed(bench, job_id) and bench.logged("the audit log cannot be written"))
        assert bench.free() < SHORT
        bench.make_room()
        assert bench.wait(job_id)["Status"] == "Complete"
        assert bench.ready()[0] == 200
        tagged = sum(seen.method == "PUT" and "/photos/" in seen.target for seen in bench.store.requests)
        assert tagged == len(keys), "nothing is done again"
        assert sorted(row.key for row in bench.report(job_id).rows) == keys
        assert "BROKEN" not in bench.examined(job_id)
        assert verify(bench.disk / "audit").lines > 5
        assert bench.server.runner_pids() == runners, "nobody had to be started again"


def test_a_database_that_finds_no_room_takes_everything_later(small: Callable[..., SmallDisk]) -> None:
    """What a runner wrote before it died cannot be committed, nor that it died, until there is room."""
    keys = [f"k{number:04}" for number in range(1_200)]
    with small(requests_per_second=200.0) as bench:
        for key in keys:
            bench.put("photos", key)
        job_id = bench.job(TAGS, keys, report=True)
        wait_until(lambda: executed(bench, job_id) > 200)
        bench.fill(0)
        os.kill(bench.server.runner_pids()[0], signal.SIGKILL)
        wait_until(lambda: bench.logged("job store cannot write"))
        wait_until(lambda: "progress cannot be stored" in bench.ready()[1] or "MiB free" in bench.ready()[1])
        assert executed(bench, job_id) < len(keys), "reads go on"
        bench.make_room()
        assert bench.wait(job_id)["Status"] == "Complete"
        assert sorted(row.key for row in bench.report(job_id).rows) == keys
        assert "BROKEN" not in bench.examined(job_id)


def test_a_server_that_is_started_on_a_full_disk_goes_on_when_there_is_room(small: Callable[..., SmallDisk]) -> None:
    keys = [f"k{number:04}" for number in range(600)]
    with small(requests_per_second=200.0) as bench:
        for key in keys:
            bench.put("photos", key)
        job_id = bench.job(TAGS, keys, report=True)
        wait_until(lambda: executed(bench, job_id) > 100)
        bench.fill(0)
        bench.server.kill()
        bench.server.restart()
        wait_until(lambda: "MiB free" in bench.ready()[1])
        assert executed(bench, job_id) < len(keys), "reads go on"
        bench.make_room()
        assert bench.wait(job_id)["Status"] == "Complete"
        assert sorted(row.key for row in bench.report(job_id).rows) == keys
        assert "BROKEN" not in bench.examined(job_id)


def test_what_is_short_of_room_is_not_begun(small: Callable[..., SmallDisk]) -> None:
    with small() as bench:
        bench.put("photos", "a")
        bench.fill(SHORT - (64 << 10))
        wait_until(lambda: "MiB free" in bench.ready()[1])
        job_id = bench.job(TAGS, ["a"])
        bench.wait(job_id, ["Preparing"])
        asked = len(bench.store.requests)
        time.sleep(1.5)
        assert len(bench.store.requests) == asked, "neither the manifest nor an object is touched"
        bench.make_room()
        assert bench.wait(job_id)["Status"] == "Complete"


def test_a_manifest_that_finds_no_room_to_be_staged_is_staged_when_there_is_some(small: Callable[..., SmallDisk]) -> None:
    chance = random.Random(1)
    keys = [chance.randbytes(450).hex() for _ in range(9_000)]
    with small() as bench:
        bench.fill(SHORT + (1 << 20))
        job_id = bench.job(TAGS, keys, confirm=True)
        [told, *_] = bench.postponed(job_id)
        assert "No space left on device" in told["facts"]["reason"]
        bench.make_room()
        job = bench.wait(job_id, ["Suspended"])
        assert job["ProgressSummary"]["TotalNumberOfTasks"] == 9_000


def test_a_report_that_finds_no_room_to_be_put_together_is_written_when_there_is_some(small: Callable[..., SmallDisk]) -> None:
    """The rows take little room in the spool, where they are compressed, and much in the report."""
    keys = [f"{'long/' * 190}{number:05}" for number in range(6_000)]
    with small() as bench:
        bench.fill(SHORT + (1 << 20))
        job_id = bench.job({"S3DeleteObject": {}}, keys, report=True)
        told = bench.postponed(job_id)
        assert "No space left on device" in told[0]["facts"]["reason"], told
        job = bench.wait(job_id, ["Completing"])
        assert job["ProgressSummary"]["NumberOfTasksSucceeded"] == 6_000
        bench.make_room()
        assert bench.wait(job_id)["Status"] == "Complete"
        assert len({row.key for row in bench.report(job_id).rows}) == 6_000
