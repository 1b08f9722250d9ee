"""Real processes on a real store, killed, frozen and cut off; then every row is accounted for. The large form is `make force`."""

from collections.abc import Iterator

import msgspec
import pytest

from haulier.testing.force.dying import Place
from haulier.testing.force.plan import Plan, plan_of
from haulier.testing.force.round import prepare_store, run_round
from haulier.testing.stores import SeaweedFS

ROWS = 400


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
        # All of what a seed decides: kinds of jobs, sizes, moments.
        plan(1),
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
