"""kill -9 of the whole server, and of its runners, in the middle of a job. The large form is `make kill-rounds`."""

import random

import pytest

from haulier.testing.killing import Plan, run_trial


@pytest.mark.kill
@pytest.mark.parametrize("victim", ["server", "runner"])
def test_a_copy_job_survives_kills_with_every_key_exactly_once_in_its_report(store, victim):
    seed = random.SystemRandom().randrange(1_000_000)
    plan = Plan(tasks=4_000, missing=40, kills=3, seed=seed, pause_seconds_max=1.5, victim=victim)
    trial = run_trial(store, plan)
    assert not trial.problems, f"seed {plan.seed}: {trial.problems}"
    assert trial.kills >= 1, f"seed {plan.seed}: the job had ended before the first kill"
