import msgspec
import pytest

from haulier.core.errors import IllegalTransition
from haulier.core.job import Failure
from haulier.core.lifecycle import ENDING, TERMINAL, TRANSITIONS, JobEvent, JobStatus, advance
from unit.values import a_job

NOW = 1_700_000_060_000


def test_there_are_the_13_states_of_both_clouds():
    assert {status.value for status in JobStatus} == {
        "Active", "Cancelled", "Cancelling", "Complete", "Completing", "Failed", "Failing", "New", "Paused", "Pausing",
        "Preparing", "Ready", "Suspended",
    }  # fmt: skip


def test_final_states_are_never_left():
    assert not [move for move in TRANSITIONS if move[0] in TERMINAL]


def test_every_state_that_is_not_final_reaches_a_final_one():
    for status in JobStatus:
        seen, reach = {status}, [status]
        while reach:
            here = reach.pop()
            following = {after for (before, _), after in TRANSITIONS.items() if before == here} - seen
            seen |= following
            reach += following
        assert seen & TERMINAL, status


def test_suspended_is_entered_from_preparing_alone_so_never_twice():
    assert {before for (before, _), after in TRANSITIONS.items() if after is JobStatus.SUSPENDED} == {JobStatus.PREPARING}
    assert JobStatus.PREPARING not in {after for (before, _), after in TRANSITIONS.items() if before is not JobStatus.NEW} - {
        JobStatus.PREPARING
    }


@pytest.mark.parametrize("status", [status for status in JobStatus if status not in TERMINAL | ENDING])
def test_every_state_before_the_end_can_be_cancelled(status):
    requests = {JobEvent.CANCEL_REQUESTED, JobEvent.CANCEL_SETTLED}
    assert any((status, event) in TRANSITIONS for event in requests)


def test_a_move_that_the_table_lacks_is_refused_with_the_facts():
    with pytest.raises(IllegalTransition) as caught:
        advance(a_job(status="Complete"), JobEvent.CANCEL_REQUESTED, now_ms=NOW)
    assert (caught.value.status, caught.value.event) == ("Complete", "cancel requested")


def test_the_main_road_sets_its_dates():
    job = a_job(status="New")
    for event in (JobEvent.PICKED_UP, JobEvent.CONFIRMATION_DUE, JobEvent.CONFIRMED, JobEvent.STARTED):
        job = advance(job, event, now_ms=NOW, total=5 if event is JobEvent.CONFIRMATION_DUE else None)
    assert (job.status, job.total, job.suspended_ms, job.suspended_cause) == ("Active", 5, NOW, "AwaitingConfirmation")
    job = advance(job, JobEvent.TASKS_DONE, now_ms=NOW + 7_000)
    assert (job.status, job.active_ms, job.reporting_ms) == ("Completing", 7_000, NOW + 7_000)
    job = advance(job, JobEvent.REPORTED, now_ms=NOW + 9_000)
    assert (job.status, job.ended_ms, job.reporting_ms) == ("Complete", NOW + 9_000, NOW + 7_000)


def test_active_time_counts_only_active():
    job = a_job(status="Active", status_since_ms=NOW)
    for event, at in ((JobEvent.HELD, 1), (JobEvent.DRAINED, 2), (JobEvent.RELEASED, 5), (JobEvent.TASKS_DONE, 9)):
        job = advance(job, event, now_ms=NOW + at * 1000)
    assert job.active_ms == 5_000


def test_a_pause_remembers_who_asked_and_forgets_on_release():
    job = advance(a_job(status="Active"), JobEvent.HELD, now_ms=NOW, paused_by="priority")
    assert job.paused_by == "priority"
    assert advance(job, JobEvent.RELEASED, now_ms=NOW).paused_by is None


def test_the_first_failure_is_kept():
    job = advance(a_job(status="Active"), JobEvent.FAILED, now_ms=NOW, failure=Failure("A", "first"))
    job = advance(job, JobEvent.FAILED, now_ms=NOW, failure=Failure("B", "second"))
    assert (job.status, job.failure) == ("Failed", Failure("A", "first"))


def test_advance_leaves_the_given_job_alone():
    job = a_job(status="New")
    before = msgspec.structs.replace(job)
    advance(job, JobEvent.PICKED_UP, now_ms=NOW)
    assert job == before
