"""The real engine under fake time, with everything going wrong that a seed decides: docs/explanation/simulation.md."""

import os
import re
import subprocess
import sys

import msgspec
import pytest

from haulier.engine import coordinator, grants, jobrun, runner
from haulier.engine.chunkrun import ChunkRun
from haulier.jobstore.ledger import Ledger
from haulier.operations import copy, delete
from haulier.testing.simulation import crashpoints
from haulier.testing.simulation.plan import Moment, plan_of
from haulier.testing.simulation.seeds import lines_of, smallest
from haulier.testing.simulation.world import run

SEEDS_ENOUGH = 12
"""A defect of the kinds below is found by one of so many."""


def simulate(*arguments: str, hash_seed: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONHASHSEED"}
    if hash_seed is not None:
        environment["PYTHONHASHSEED"] = hash_seed
    command = [sys.executable, "-W", "error", "-m", "haulier.testing.simulation", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.mark.timeout(1200)
def test_200_seeds_keep_every_promise_and_crash_at_every_place():
    done = simulate("--seeds", "200", "--processes", "2")
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
    assert f"0 failed; {crashes(done.stdout)} crashes, {len(crashpoints.ALL)} of {len(crashpoints.ALL)} places" in done.stdout
    assert crashes(done.stdout) >= 200
    assert "Warning" not in done.stderr


def crashes(text: str) -> int:
    found = re.search(r"(\d+) crashes", text)
    assert found is not None, text
    return int(found[1])


def test_a_seed_is_the_same_in_every_process():
    first, second = (simulate("--seeds", "6", "--from", "40", "--digests", hash_seed=seed) for seed in ("1", "2"))
    assert first.returncode == second.returncode == 0
    digests = re.findall(r"^\d+ [0-9a-f]{16}$", first.stdout, re.MULTILINE)
    assert len(set(digests)) == 6
    assert digests == re.findall(r"^\d+ [0-9a-f]{16}$", second.stdout, re.MULTILINE)


def test_every_plan_has_what_a_seed_must_have():
    for seed in range(300):
        plan = plan_of(seed)
        assert len(plan.jobs) >= 2
        assert sum(job.rows for job in plan.jobs) >= 300
        assert sum(-(-job.rows // plan.sizes.chunk_rows) for job in plan.jobs) >= 6
        assert any(moment.what == "runner killed" for moment in plan.moments)
    assert {plan_of(seed).crash_place for seed in range(200)} == set(crashpoints.ALL)


# -- it finds what is broken on purpose


def without_horizon(monkeypatch):
    monkeypatch.setattr(ChunkRun, "_limit", lambda self: self._chunk.rows)


def without_doubt(monkeypatch):
    hand_out = jobrun.JobRun.hand_out
    monkeypatch.setattr(
        jobrun.JobRun, "hand_out", lambda self, *args: msgspec.structs.replace(hand_out(self, *args), doubt_below=0)
    )


def without_a_look_at_who_wrote_it(monkeypatch):
    for operation in (copy, delete):
        monkeypatch.setattr(operation, "changed_since", lambda *_: False)


def with_acknowledgement_before_the_commit(monkeypatch):
    take = coordinator.Coordinator._take

    def hasty(self, notice):
        take(self, notice)
        self._acknowledged = dict(self._heard)

    monkeypatch.setattr(coordinator.Coordinator, "_take", hasty)


def with_grants_that_overlap(monkeypatch):
    def approach(self, targets, total):
        self.granted.update(targets)
        self.held.update(targets)

    monkeypatch.setattr(grants._Shares, "approach", approach)


def with_a_counter_that_is_wrong(monkeypatch):
    seal = Ledger._seal

    def twice(self, entry):
        before = self.chunks.get((entry.job, entry.chunk))
        seal(self, entry)
        if before is not None and before.succeeded:
            self._count(entry.job, -1, 1)

    monkeypatch.setattr(Ledger, "_seal", twice)


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (without_horizon, "above the committed horizon"),
        (without_doubt, "is not in doubt"),
        (without_a_look_at_who_wrote_it, "destroys what somebody wrote"),
        (with_acknowledgement_before_the_commit, "above the committed horizon"),
        (with_grants_that_overlap, "requests are in flight"),
        (with_a_counter_that_is_wrong, "its outcomes are"),
    ],
)
def test_a_known_defect_is_found_within_a_few_seeds(monkeypatch, broken, told):
    broken(monkeypatch)
    problems = []
    for seed in range(SEEDS_ENOUGH):
        problems.append(run(plan_of(seed)).problem)
        if problems[-1] is not None:
            break
    assert told in str(problems[-1]), problems


def test_a_runner_that_outlives_its_lease_is_found(monkeypatch):
    plan = plan_of(0)
    frozen = Moment(at=3.0, what="server frozen", seconds=15.0)
    plan = msgspec.structs.replace(plan, moments=(frozen,), crash_place=None, store_faults={}, settle_at=30.0)
    assert run(plan).problem is None
    monkeypatch.setattr(runner, "LEASE_SECONDS", 1e9)
    assert "after its lease was renewed" in str(run(plan).problem)


def test_a_failure_is_made_smaller_and_told_with_what_led_to_it(monkeypatch):
    without_horizon(monkeypatch)
    failure = next(result for result in map(run, map(plan_of, range(SEEDS_ENOUGH))) if result.problem is not None)
    small, left_out = smallest(failure)
    assert small.problem is not None
    assert left_out
    assert not small.plan.moments
    text = "\n".join(lines_of(small, left_out))
    assert f"seed {small.plan.seed}: {small.problem}" in text
    assert "sends PUT" in text or "sends DELETE" in text or "sends POST" in text


def test_an_error_of_the_code_is_a_failure_with_its_traceback(monkeypatch):
    def broken(self):
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr(coordinator.Coordinator, "_decide", broken)
    assert str(run(plan_of(0)).problem).endswith("ZeroDivisionError: on purpose\n")
