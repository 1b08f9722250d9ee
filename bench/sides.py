"""The two sides of the comparison: each copies so many objects on the sink once, and tells what it cost."""

import os
import subprocess
import time
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from haulier.testing.jobs import PutManifest, s3_job, wait_s3
from haulier.testing.server import HaulierServer
from measure import MemoryPeak, cpu_seconds, tree
from sink import Sink

WORKERS = 64
SOURCE, TARGET = "bench-source", "bench-target"
JOB_SECONDS_MAX = 900.0


class Cost(NamedTuple):
    """What one run took."""

    objects: int
    wall_seconds: float
    cpu_seconds: float
    memory_mib: float
    """Highest sum of PSS."""
    requests: int
    """That the sink served meanwhile."""

    @property
    def per_second(self) -> float:
        return self.objects / self.wall_seconds

    @property
    def cpu_microseconds(self) -> float:
        """Per object."""
        return self.cpu_seconds / self.objects * 1e6


def object_key(number: int) -> str:
    return f"folder/{number % 97:02d}/object-{number:08d}"


def run_haulier(server: HaulierServer, sink: Sink, manifest: PutManifest, objects: int) -> Cost:
    """One job over the S3 wire, from CreateJob to Complete: preparing, copies and report."""
    client = server.s3control()
    operation = {"S3PutObjectCopy": {"TargetResource": f"arn:aws:s3:::{TARGET}", "MetadataDirective": "COPY"}}
    requests, cpu = sink.requests(), cpu_seconds(server.pid)
    with MemoryPeak(lambda: tree(server.pid)) as memory:
        began = time.monotonic()
        job_id = client.create_job(**s3_job(operation, manifest, "reports"))["JobId"]
        job = wait_s3(client, job_id, seconds=JOB_SECONDS_MAX)
        wall = time.monotonic() - began
    cpu = cpu_seconds(server.pid) - cpu
    summary = job["ProgressSummary"]
    if job["Status"] != "Complete" or summary["NumberOfTasksSucceeded"] != objects:
        raise SystemExit(f"bench: the job ended {job['Status']}: {summary} {job.get('FailureReasons')}\n{server.log_tail()}")
    return Cost(objects, wall, cpu, memory.mib, sink.requests() - requests - 1)


def s5cmd_program() -> Path:
    """The program itself, without the Python script around it: its start would count against s5cmd."""
    files = metadata.distribution("s5cmd").files or ()
    return next(Path(str(file.locate())).resolve() for file in files if str(file).startswith("s5cmd/bin/s5cmd"))


def s5cmd_commands(path: Path, objects: int) -> None:
    """A file of so many `cp` commands for `s5cmd run`."""
    with path.open("w") as file:
        file.writelines(f"cp s3://{SOURCE}/{object_key(i)} s3://{TARGET}/{object_key(i)}\n" for i in range(objects))


def run_s5cmd(sink: Sink, commands: Path, objects: int) -> Cost:
    """One `s5cmd run` of the command file."""
    arguments = [str(s5cmd_program()), "--endpoint-url", sink.endpoint, "--log", "error", "--numworkers", str(WORKERS)]
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(commands.parent),
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench-secret",
        "AWS_REGION": "us-east-1",
    }
    requests, began = sink.requests(), time.monotonic()
    process = subprocess.Popen([*arguments, "run", str(commands)], env=environment, stdout=subprocess.DEVNULL)
    with MemoryPeak(lambda: tree(process.pid)) as memory:
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"bench: s5cmd ended with status {process.returncode}")
    return Cost(objects, wall, usage.ru_utime + usage.ru_stime, memory.mib, sink.requests() - requests - 1)
