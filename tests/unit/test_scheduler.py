import random

from haulier.engine.scheduler import Candidate, choose, may_run
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
