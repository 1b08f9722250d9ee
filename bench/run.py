"""`make bench`: copies of small objects, Haulier beside `s5cmd run`, on a sink that answers at once.

One server with two runners; manifest and report lie on SeaweedFS; a job counts from CreateJob to Complete, its report included.
The sides take turns, and medians are compared. Exit status 1 when a goal is missed. Everything listens on 127.0.0.1.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

import haulier
from haulier.testing.jobs import PutManifest, put_manifest, s3_job, wait_s3
from haulier.testing.server import HaulierServer
from haulier.testing.stores import SeaweedFS
from sides import SOURCE, TARGET, WORKERS, Cost, object_key, run_haulier, run_s5cmd, s5cmd_commands, s5cmd_program
from sink import Sink

RESULTS = Path(__file__).parent / "results" / "copies.json"
RATE_GOAL = 8.0
CPU_GOAL = 1 / 8
FIRST_REQUEST_SECONDS_GOAL = 1.0
MEMORY_MIB_GOAL = 400.0
LISTS = "bench-lists"
FIRST_ROWS = 1_000
FIRST_ROUNDS = 5

console = Console(width=110)


class Setting(NamedTuple):
    """Everything that runs during the benchmark."""

    sink: Sink
    store: SeaweedFS
    server: HaulierServer


def stores(sink: Sink, store: SeaweedFS) -> dict[str, object]:
    """Lists and reports go to the real store, everything else to the sink; two buckets to its logged side."""
    keys = {"access_key": "bench", "secret_key": "bench-secret", "probe": "off"}
    return {
        "sink": {"endpoint": sink.endpoint, "buckets": [SOURCE, TARGET], "regions": ["bench-1"], **keys},
        "logged": {"endpoint": sink.logged_endpoint, "buckets": ["first-*"], "regions": ["bench-2"], **keys},
        **store.settings("lists", buckets=[LISTS]),
    }


def first_request_seconds(setting: Setting) -> list[float]:
    """Seconds from the call of CreateJob to the first request at the sink, per round."""
    s3 = setting.store.client()
    manifest = put_manifest(s3, LISTS, "first.csv", "first-source", map(object_key, range(FIRST_ROWS)))
    operation = {"S3PutObjectCopy": {"TargetResource": "arn:aws:s3:::first-target"}}
    client = setting.server.s3control()
    found = []
    for _ in range(FIRST_ROUNDS):
        setting.sink.forget_logged_requests()
        created = time.time()
        job_id = client.create_job(**s3_job(operation, manifest, "reports"))["JobId"]
        wait_s3(client, job_id)
        found.append(setting.sink.first_logged_request() - created)
    return found


def copies_manifest(setting: Setting, objects: int) -> PutManifest:
    return put_manifest(setting.store.client(), LISTS, f"copies-{objects}.csv", SOURCE, map(object_key, range(objects)))


def compare(setting: Setting, objects: int, rounds: int, folder: Path) -> tuple[list[Cost], list[Cost]]:
    """So many rounds of each side, taking turns."""
    commands = folder / "commands.txt"
    s5cmd_commands(commands, objects)
    manifest = copies_manifest(setting, objects)
    ours, theirs = [], []
    for number in range(rounds):
        ours.append(run_haulier(setting.server, setting.sink, manifest, objects))
        console.print(f"round {number + 1}: haulier {_line(ours[-1])}")
        theirs.append(run_s5cmd(setting.sink, commands, objects))
        console.print(f"round {number + 1}: s5cmd   {_line(theirs[-1])}")
    return ours, theirs


def _line(cost: Cost) -> str:
    return (
        f"{cost.per_second:>9,.0f} objects/s  {cost.cpu_microseconds:>7.1f} µs CPU per object  {cost.memory_mib:>6.0f} MiB"
        f"  {cost.requests:>9,} requests"
    )


def middle(costs: list[Cost]) -> dict[str, float]:
    """Medians."""
    return {
        "objects_per_second": statistics.median(cost.per_second for cost in costs),
        "cpu_microseconds_per_object": statistics.median(cost.cpu_microseconds for cost in costs),
        "wall_seconds": statistics.median(cost.wall_seconds for cost in costs),
        "memory_mib": statistics.median(cost.memory_mib for cost in costs),
        "requests_per_object": statistics.median(cost.requests / cost.objects for cost in costs),
    }


def machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}


def versions() -> dict[str, str]:
    def said(*command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True)
        return (done.stdout or done.stderr).strip().splitlines()[0] if done.stdout or done.stderr else "unknown"

    return {
        "haulier": haulier.__version__,
        "commit": said("git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"),
        "s5cmd": said(str(s5cmd_program()), "version"),
    }


def goals(result: dict[str, Any]) -> list[tuple[str, str, str, bool]]:
    """What was promised: name, measured, goal, kept."""
    rate, cpu = result["rate_ratio"], result["cpu_ratio"]
    found = [
        ("objects/s, times s5cmd", f"{rate:.1f}", f"≥ {RATE_GOAL:.0f}", rate >= RATE_GOAL),
        ("CPU per object, part of s5cmd", f"1/{1 / cpu:.1f}", f"≤ 1/{1 / CPU_GOAL:.0f}", cpu <= CPU_GOAL),
    ]
    first = result["first_request_seconds"]
    found.append(
        (
            "CreateJob to first request",
            f"{first:.3f} s",
            f"< {FIRST_REQUEST_SECONDS_GOAL:.0f} s",
            first < FIRST_REQUEST_SECONDS_GOAL,
        )
    )
    if (memory := result.get("memory_mib_large")) is not None:
        rows = f"{result['large']['objects']:,}"
        found.append((f"PSS at {rows} rows", f"{memory:.0f} MiB", f"< {MEMORY_MIB_GOAL:.0f} MiB", memory < MEMORY_MIB_GOAL))
    return found


def show(result: dict[str, Any]) -> bool:
    """Print both sides and the goals; whether all goals were kept."""
    ours, theirs = result["haulier"], result["s5cmd"]
    table = Table(title=f"{result['objects']:,} copies on a sink, median of {result['rounds']}")
    table.add_column("")
    for name in ("haulier", f"s5cmd run, {WORKERS} workers", "ratio"):
        table.add_column(name, justify="right")
    for name, key in (
        ("objects/s", "objects_per_second"),
        ("CPU µs per object", "cpu_microseconds_per_object"),
        ("wall seconds", "wall_seconds"),
        ("peak PSS, MiB", "memory_mib"),
        ("requests per object", "requests_per_object"),
    ):
        table.add_row(name, f"{ours[key]:,.2f}", f"{theirs[key]:,.2f}", f"{ours[key] / theirs[key]:,.3f}")
    console.print(table)
    table = Table(title="Goals")
    for name in ("", "measured", "goal", ""):
        table.add_column(name)
    kept = goals(result)
    for name, measured, goal, good in kept:
        table.add_row(name, measured, goal, "kept" if good else "MISSED")
    console.print(table)
    return all(good for *_, good in kept)


def measure(setting: Setting, arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All numbers."""
    first = first_request_seconds(setting)
    console.print(f"CreateJob to first request, {FIRST_ROWS:,} rows: {', '.join(f'{seconds:.3f}' for seconds in first)} s")
    ours, theirs = compare(setting, arguments.objects, arguments.rounds, folder)
    result: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
        "objects": arguments.objects,
        "rounds": arguments.rounds,
        "haulier": middle(ours),
        "s5cmd": middle(theirs),
        "first_request_seconds": statistics.median(first),
    }
    result["rate_ratio"] = result["haulier"]["objects_per_second"] / result["s5cmd"]["objects_per_second"]
    key = "cpu_microseconds_per_object"
    result["cpu_ratio"] = result["haulier"][key] / result["s5cmd"][key]
    if arguments.large:
        large = run_haulier(setting.server, setting.sink, copies_manifest(setting, arguments.large), arguments.large)
        console.print(f"{arguments.large:,} rows: haulier {_line(large)}")
        result |= {"large": large._asdict(), "memory_mib_large": large.memory_mib}
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=100_000, help="copies per run (default 100,000)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each side (default 3)")
    parser.add_argument("--large", type=int, default=1_000_000, help="rows of the run that measures memory; 0 leaves it out")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="haulier-bench-")))
        sink = stack.enter_context(Sink())
        store = stack.enter_context(SeaweedFS())
        store.client().create_bucket(Bucket=LISTS)
        server = stack.enter_context(HaulierServer(stores(sink, store), runners=2))
        result = measure(Setting(sink, store, server), arguments, folder)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    kept = show(result)
    console.print(f"written to {RESULTS.relative_to(Path.cwd()) if RESULTS.is_relative_to(Path.cwd()) else RESULTS}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
