"""Makes `schema-NNNN.json`: the data directory that a server of an earlier commit left when it was killed in the middle of a job.

    PYTHONPATH=tests .venv/bin/python tests/upgrade/make.py COMMIT

That commit's own code runs, from a checkout beside the repository, against a store in this process. One job has ended, another
one is in the middle. Run it once for each schema that a release has had; the result is never changed.
"""

import base64
import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

from e2e.faulty import FaultyBench
from haulier.testing.faulty_s3 import HOLD, Fault, Seen

HERE = Path(__file__).parent
ENDED = ["a", "b", "missing", "c"]
RUNNING = [f"r{number:03}" for number in range(700)]
DONE = 560
"""Of them, when the server is killed."""
TAGS = {"S3PutObjectTagging": {"TagSet": [{"Key": "made-by", "Value": "an earlier version"}]}}


class HoldBehind:
    """Answers so many requests about objects, and holds the others."""

    def __init__(self, rows: int) -> None:
        self._left = rows

    def __call__(self, seen: Seen) -> Fault | None:
        if seen.method == "PUT" and "/photos/" in seen.target:
            self._left -= 1
            return Fault(HOLD) if self._left < 0 else None
        return None


def main() -> None:
    commit = subprocess.check_output(["git", "rev-parse", sys.argv[1]], text=True).strip()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(f"git archive {commit} src | tar -x -C {folder}", shell=True, check=True)
        os.environ["PYTHONPATH"] = f"{folder}/src"
        with FaultyBench(probe="off", runners=1) as bench:
            made = run(bench)
        made = {"commit": commit, **made}
    path = HERE / f"schema-{made['schema']}.json"
    path.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n")
    print(path, path.stat().st_size)


def run(bench: FaultyBench) -> dict[str, object]:
    for key in [*ENDED, *RUNNING]:
        if key != "missing":
            bench.put("photos", key)
    ended = bench.job(TAGS, ENDED, report=True)
    bench.wait(ended)
    bench.store.choose(HoldBehind(DONE))
    running = bench.job(TAGS, RUNNING, report=True)
    while bench.server.s3control().describe_job(JobId=running)["Job"]["ProgressSummary"]["NumberOfTasksSucceeded"] < DONE:
        pass
    shown = {job: shown_of(bench, job) for job in (ended, running)}
    bench.server.kill()
    data_dir = bench.server.data_dir
    with contextlib.closing(sqlite3.connect(data_dir / "haulier.db")) as database:
        dump = list(database.iterdump())
        (schema,) = database.execute("SELECT version_num FROM alembic_version").fetchone()
    spool = data_dir / "spool"
    files = {path.relative_to(spool).as_posix(): path.read_bytes() for path in sorted(spool.rglob("*.arrow"))}
    return {
        "schema": schema,
        "ended": ended,
        "running": running,
        "shown": shown,
        "database": dump,
        "spool": {name: base64.b64encode(data).decode() for name, data in files.items()},
    }


def shown_of(bench: FaultyBench, job_id: str) -> dict[str, object]:
    job = bench.server.s3control().describe_job(JobId=job_id)["Job"]
    return json.loads(json.dumps(job, default=lambda moment: moment.isoformat()))


if __name__ == "__main__":
    main()
