"""Kills a real server, or its runners, in the middle of a real job, again and again, and then counts.

Every task must have exactly one outcome. Moments come from a seeded generator; a failure names the seed.
"""

import os
import random
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, NamedTuple

from haulier.core.errors import samples
from haulier.core.lifecycle import TERMINAL
from haulier.testing.jobs import JobReport, put_manifest, read_report, s3_job, wait_s3
from haulier.testing.objects import list_objects, put_objects
from haulier.testing.server import HaulierServer
from haulier.testing.stores import SeaweedFS

JOB_SECONDS_MAX: Final = 600.0
IN_FLIGHT: Final = 8
"""Few requests at a time, so that the job lasts long enough to be killed in."""


class Plan(NamedTuple):
    """What one trial does."""

    tasks: int
    missing: int
    """Tasks, among all, whose object does not exist."""
    kills: int
    seed: int
    pause_seconds_max: float = 4.0
    """A kill comes between 0 and so many seconds after the one before it, or after the server serves again."""
    victim: Literal["server", "runner"] = "server"
    """Whom the kills hit. A server is started again; runners the server must replace by itself."""


class Trial(NamedTuple):
    """What came of it."""

    plan: Plan
    kills: int
    """Kills that hit while the job had not ended."""
    job: dict[str, Any]
    """boto3's description."""
    problems: Sequence[str]
    """What should not be; empty when every promise was kept."""


def run_trial(store: SeaweedFS, plan: Plan, say: Callable[[str], None] = lambda _: None) -> Trial:
    """Put the objects into new buckets, run the copy job through the kills, and count."""
    s3 = store.client()
    source, target, lists = (f"kill-{purpose}-{uuid.uuid4().hex[:8]}" for purpose in ("source", "target", "lists"))
    for bucket in (source, target, lists):
        s3.create_bucket(Bucket=bucket)
    keys = [f"kill/{number % 13:02d}/object {number:06d}" for number in range(plan.tasks)]
    present = keys[plan.missing :]
    put_objects(store, source, {key: key.encode() for key in present})
    manifest = put_manifest(s3, lists, "kill.csv", source, keys)
    operation = {"S3PutObjectCopy": {"TargetResource": f"arn:aws:s3:::{target}"}}
    with HaulierServer(store.settings(in_flight_max=IN_FLIGHT)) as server:
        job_id = server.s3control().create_job(**s3_job(operation, manifest, "reports"))["JobId"]
        kills = _kill_again_and_again(server, job_id, plan, say)
        job = wait_s3(server.s3control(), job_id, seconds=JOB_SECONDS_MAX)
    report = read_report(s3, lists, "reports", job_id)
    problems = [*_count_problems(job, report, keys), *_copy_problems(report, list_objects(s3, target))]
    return Trial(plan, kills, job, problems)


def _kill_again_and_again(server: HaulierServer, job_id: str, plan: Plan, say: Callable[[str], None]) -> int:
    """Kill and restart until the plan is done or the job has ended; how many kills hit it alive."""
    chance = random.Random(plan.seed)
    for number in range(plan.kills):
        time.sleep(chance.uniform(0.0, plan.pause_seconds_max))
        answer = server.cos_client.describe_job(job_id)
        status, done = answer.text("Job/Status"), answer.text("Job/ProgressSummary/NumberOfTasksSucceeded")
        if status in TERMINAL:
            return number
        say(f"kill {number + 1}: the job is {status}, {done} tasks have succeeded")
        if plan.victim == "server":
            server.kill()
            server.restart()
        elif runners := server.runner_pids():
            os.kill(chance.choice(runners), signal.SIGKILL)
    return plan.kills


def _count_problems(job: dict[str, Any], report: JobReport, keys: Sequence[str]) -> list[str]:
    summary = job["ProgressSummary"]
    succeeded, failed = summary["NumberOfTasksSucceeded"], summary["NumberOfTasksFailed"]
    problems = []
    if job["Status"] != "Complete":
        problems.append(f"the job is {job['Status']}: {job.get('FailureReasons')}")
    if succeeded + failed != summary["TotalNumberOfTasks"] or summary["TotalNumberOfTasks"] != len(keys):
        problems.append(f"the counters do not add up to {len(keys)}: {summary}")
    reported = Counter(row.succeeded for row in report.rows)
    if (reported[True], reported[False]) != (succeeded, failed):
        problems.append(
            f"the report has {reported[True]} succeeded and {reported[False]} failed, the counters {succeeded} and {failed}"
        )
    seen = Counter(row.key for row in report.rows)
    if twice := [key for key, count in seen.items() if count > 1]:
        problems.append(f"more than once in the report: {samples(twice)}")
    if absent := [key for key in keys if key not in seen]:
        problems.append(f"not in the report: {samples(absent)}")
    return problems


def _copy_problems(report: JobReport, copies: dict[str, str]) -> list[str]:
    """What was reported as copied must be there. (What was reported as failed may be: effects are at-least-once.)"""
    lost = [row.key for row in report.rows if row.succeeded and row.key not in copies]
    return [f"reported as copied, but not in the store: {samples(lost)}"] if lost else []
