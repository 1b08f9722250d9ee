"""Data directories that servers of earlier versions left, killed in the middle of a job (`upgrade/make.py` tells how)."""

import base64
import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from e2e.faulty import FaultyBench
from haulier.cli import main
from haulier.cli.exits import Exit
from haulier.jobstore.migrations import NEWEST
from haulier.testing.server import HaulierServer, ServerDidNotStart
from upgrade.make import DONE, RUNNING, shown_of

LEFT = sorted((Path(__file__).parents[1] / "upgrade").glob("schema-*.json"))
FOR_GOOD = {"limits": {"retention_days": 36_500, "spool_retention_days": 36_500}}
"""The jobs grow older with every day."""


def data_directory(left: dict[str, Any], data_dir: Path) -> None:
    data_dir.mkdir(mode=0o700, parents=True)
    with contextlib.closing(sqlite3.connect(data_dir / "haulier.db")) as database:
        database.executescript("\n".join(left["database"]))
    for name, content in left["spool"].items():
        path = data_dir / "spool" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(content))


def schema_of(bench: FaultyBench) -> str:
    with contextlib.closing(sqlite3.connect(bench.server.data_dir / "haulier.db")) as database:
        return str(database.execute("SELECT version_num FROM alembic_version").fetchone()[0])


@pytest.mark.parametrize("path", LEFT, ids=lambda path: path.stem)
def test_a_job_of_an_earlier_version_is_completed_and_one_that_had_ended_is_shown_as_it_was(path: Path, tmp_path: Path) -> None:
    left = json.loads(path.read_text())
    bench = FaultyBench(probe="off", folder=tmp_path, extra=FOR_GOOD)
    data_directory(left, bench.server.data_dir)
    for key in RUNNING:
        bench.put("photos", key)
    assert schema_of(bench) == left["schema"] < NEWEST
    with bench:
        assert schema_of(bench) == NEWEST
        before = left["shown"][left["ended"]]
        assert shown_of(bench, left["ended"]).items() >= before.items(), "a later version may show more"
        job = bench.wait(left["running"])
        progress = job["ProgressSummary"]
        assert (job["Status"], progress["NumberOfTasksSucceeded"], progress["NumberOfTasksFailed"]) == ("Complete", 700, 0)
        rows = bench.report(left["running"]).rows
        assert sorted(row.key for row in rows) == RUNNING
        tagged = [seen for seen in bench.store.requests if seen.method == "PUT" and "/photos/" in seen.target]
        assert len(tagged) == len(RUNNING) - DONE, "what was done by the earlier version is not done again"
        before, now = left["shown"][left["running"]], shown_of(bench, left["running"])
        for name in before.keys() - {"Status", "ProgressSummary"}:
            assert now[name] == before[name]
        for job_id in (left["ended"], left["running"]):
            assert main(["doctor", "--job", job_id, "--config", str(bench.server.config_file)]) == Exit.CLEAN


def test_a_data_directory_of_a_later_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    server = HaulierServer({}, folder=tmp_path)
    data_directory(json.loads(LEFT[0].read_text()), server.data_dir)
    with contextlib.closing(sqlite3.connect(server.data_dir / "haulier.db")) as database:
        with database:
            database.execute("UPDATE alembic_version SET version_num = '0999'")
        before = list(database.iterdump())
        with pytest.raises(
            ServerDidNotStart, match=r"written by a newer version of Haulier \(schema 0999, .*\): use that version"
        ):
            server.start()
        assert list(database.iterdump()) == before
