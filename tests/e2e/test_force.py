"""Real processes on a real store, killed, frozen and cut off; then every row is accounted for. The large form is `make force`."""

from collections.abc import Iterator

import msgspec
import pytest

from haulier.testing.force.dying import Place
from haulier.testing.force.plan import JobPlan, Moment, Plan, plan_of
from haulier.testing.force.round import prepare_store, run_round
from haulier.testing.simulation.plan import Sizes
from haulier.testing.stores import SeaweedFS

ROWS = 300
AWAY = (Moment(at=0.3, what="kill store", seconds=0.5), Moment(at=0.7, what="kill runner"))


@pytest.fixture(scope="module")
def store() -> Iterator[SeaweedFS]:
    """One of its own: it is killed."""
    with SeaweedFS() as started:
        prepare_store(started)
        yield started


def plan(seed: int, **changes: object) -> Plan:
    return msgspec.structs.replace(plan_of(seed, rows=ROWS), **changes)


@pytest.mark.kill
@pytest.mark.parametrize(
    "plan",
    [
        # A store that is away while its jobs run, and a runner that dies over them.
        plan(1, place=Place("commit: before", 3), moments=AWAY),
        # Effect without an answer, in the sight of the proxy; then the store dies, too.
        plan(2, place=Place("task: carried out", 150), victim="runner", cut_share=0.01),
        # Between the parts of a report and its manifest.
        plan(3, place=Place("report's manifest: sent", 1), victim="server", moments=()),
        # A flush that was committed, and whose runner never hears of it; somebody writes before the next server comes.
        plan(5, place=Place("commit: done", 6), foreign_share=0.5),
    ],
    ids=lambda plan: f"seed {plan.seed}, {plan.place.name}",
)
def test_after_any_crash_every_row_is_done_once_or_in_doubt_and_reported_as_it_was(store, plan):
    result = run_round(store, plan)
    assert not result.problems, f"{plan}: {result.crashes}\n" + "\n".join(result.problems)
    assert result.place_hit
    assert result.tally.rows == sum(job.rows for job in plan.jobs)


SABOTAGE = """
from haulier.engine.chunkrun import ChunkRun
ChunkRun._first_attempt_ms = lambda *_: None  # what may have been done is taken for fresh
ChunkRun._is_in_doubt = lambda *_: False
ChunkRun._limit = lambda run: run._chunk.rows  # no horizon is minded
"""
TOLD = ("not marked as in doubt", "repeated without a look", "done twice", "above the committed horizon")


@pytest.mark.kill
def test_an_engine_that_breaks_promises_is_found_out(store):
    """One chunk with hardly any horizon, all of it sent before its first flush is due."""
    jobs = (JobPlan(kind="copy", rows=ROWS, missing=0),)
    sizes = Sizes(chunk_rows=ROWS, first_horizon=4, flush_outcomes=5_000, batch_rows=20)
    dies = {"place": Place("task: carried out", 120), "victim": "server", "in_flight_max": 8}
    untroubled = {"moments": (), "cut_share": 0.0, "foreign_share": 0.0}
    result = run_round(store, plan(7, jobs=jobs, sizes=sizes, **dies, **untroubled), sabotage=SABOTAGE)
    missing = [sentence for sentence in TOLD if not any(sentence in problem for problem in result.problems)]
    assert not missing, result.problems
