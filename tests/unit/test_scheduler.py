import random

import pytest
from msgspec.structs import replace

from haulier.engine.scheduler import Candidate, choose, in_turn, may_run
from unit.values import a_job


def a_candidate(job, **fields):
    return Candidate(**{"job": job, "account": "acme", "priority": 0, "created_ms": 0, "running": 0, "available": 1, **fields})


def test_nothing_is_chosen_when_nothing_is_available():
    assert choose([a_candidate("a", available=0)]) is None


def test_the_higher_priority_of_one_account_goes_first():
    assert choose([a_candidate("low", priority=1), a_candidate("high", priority=9, running=5)]).job == "high"


def test_jobs_of_one_priority_share_fairly():
    assert choose([a_candidate("a", running=2), a_candidate("b", running=1)]).job == "b"
    assert choose([a_candidate("b", created_ms=2), a_candidate("a", created_ms=1)]).job == "a"


def test_priority_does_not_reach_into_another_account():
    loud = a_candidate("loud", account="loud", priority=1_000, running=3)
    quiet = a_candidate("quiet", account="quiet", priority=0, running=0)
    assert choose([loud, quiet]).job == "quiet"


def test_twelve_places_are_shared_between_three_accounts():
    jobs = {
        f"{account}-{n}": a_candidate(f"{account}-{n}", account=account, available=100) for account in "abc" for n in range(4)
    }
    for _ in range(12):
        chosen = choose(jobs.values())
        jobs[chosen.job] = a_candidate(chosen.job, account=chosen.account, available=100, running=chosen.running + 1)
    assert [job.running for job in jobs.values()] == [1] * 12


def test_a_job_of_higher_priority_makes_the_lower_ones_wait():
    assert may_run([a_job(id="low", status="Active", priority=1), a_job(id="high", status="Ready", priority=2)], 10) == {"high"}


def test_a_job_that_its_user_paused_or_that_waits_for_confirmation_holds_nobody_up():
    jobs = [
        a_job(id="paused", status="Paused", paused_by="user", priority=9),
        a_job(id="suspended", status="Suspended", priority=9),
        a_job(id="low", status="Active", priority=1),
    ]
    assert may_run(jobs, 10) == {"low"}


def test_a_running_job_keeps_its_place_when_the_number_of_active_jobs_is_limited():
    jobs = [a_job(id="older", status="Ready", created_ms=1), a_job(id="newer", status="Active", created_ms=2)]
    random.Random(1).shuffle(jobs)
    assert may_run(jobs, 1) == {"newer"}


@pytest.mark.parametrize("weights", [{"a": 2.0, "b": 1.0}, {"a": 1.0, "b": 0.25, "c": 3.0}, {"a": 1.0, "b": 1.0}])
def test_places_are_shared_by_the_weights_of_accounts_that_have_work(weights):
    jobs = {name: a_candidate(name, account=name, weight=weight, available=1_000) for name, weight in weights.items()}
    for _ in range(120):
        chosen = choose(jobs.values())
        jobs[chosen.job] = replace(chosen, running=chosen.running + 1)
    for name, weight in weights.items():
        assert jobs[name].running == pytest.approx(120 * weight / sum(weights.values()), abs=1)


def test_a_weight_is_of_no_use_to_an_account_without_work_and_no_harm_to_others():
    heavy = a_candidate("heavy", account="heavy", weight=1_000.0, available=0)
    light = a_candidate("light", account="light", weight=0.001, running=50)
    assert choose([heavy, light]).job == "light"


def test_active_places_go_to_accounts_by_weight_when_they_are_few():
    jobs = [a_job(id=f"{account}{n:02}", account=account, status="Ready", created_ms=n) for account in "abc" for n in range(20)]
    random.Random(2).shuffle(jobs)
    found = may_run(jobs, 16, {"a": 2.0, "b": 1.0, "c": 1.0}.get)
    assert sorted(found) == sorted([f"a{n:02}" for n in range(8)] + [f"{account}{n:02}" for account in "bc" for n in range(4)])


def test_running_jobs_count_for_their_account_and_keep_their_places():
    running = [a_job(id=f"a{n}", account="a", status="Active", created_ms=n) for n in range(3)]
    waiting = [
        a_job(id=f"{account}-waits-{n}", account=account, status="Ready", created_ms=9) for account in "ab" for n in range(3)
    ]
    assert may_run([*running, *waiting], 5) == {"a0", "a1", "a2", "b-waits-0", "b-waits-1"}
    assert may_run([*running, *waiting], 2) == {"a0", "a1"}


def test_all_may_run_while_there_are_places_for_all():
    jobs = [a_job(id=f"{account}{n}", account=account, status="Ready") for account in "ab" for n in range(5)]
    assert may_run(jobs, 100) == {job.id for job in jobs}


def preparing(name, account, priority=1, created_ms=0):
    return a_job(id=name, account=account, priority=priority, created_ms=created_ms, status="Preparing")


def test_accounts_take_turns_at_units_of_whole_files_by_what_they_have_and_their_weight():
    jobs = [preparing(f"a{n}", "acme", created_ms=n) for n in range(4)] + [preparing("r0", "rival", created_ms=9)]
    assert in_turn(jobs, {}, lambda _: 1.0) == ["a0", "r0", "a1", "a2", "a3"]
    assert in_turn(jobs, {"acme": 1}, lambda _: 1.0) == ["r0", "a0", "a1", "a2", "a3"]
    assert in_turn(jobs, {"rival": 1}, {"acme": 3.0, "rival": 1.0}.get) == ["a0", "a1", "a2", "a3", "r0"]


def test_in_an_account_the_higher_priority_has_the_first_unit_then_the_older_job():
    jobs = [
        preparing("young", "acme", created_ms=2),
        preparing("old", "acme", created_ms=1),
        preparing("high", "acme", priority=5, created_ms=3),
    ]
    assert in_turn(jobs, {}, lambda _: 1.0) == ["high", "old", "young"]
