"""What a job's record says of a change."""

import msgspec
import pytest

from haulier.core.history import NAMES_MAX, TEXT_CHARACTERS_MAX, EventKind, changes, happening
from haulier.core.job import Failure, Job
from haulier.core.lifecycle import JobEvent, advance
from haulier.testing.suites.jobstore import a_job


def moved(*events: JobEvent, job: Job | None = None) -> Job:
    job = job or a_job()
    for event in events:
        job = advance(job, event, now_ms=2_000)
    return job


def told(before: Job, after: Job, reason: str | None = None) -> list[tuple[str, dict[str, object]]]:
    return [(event.kind, event.facts) for event in changes(before, after, at_ms=3_000, by="ida", reason=reason)]


def test_a_failure_is_told_with_the_status_that_it_led_to() -> None:
    failure = Failure("ManifestNotFound", "there is no such object")
    failing = advance(a_job(), JobEvent.FAILED, now_ms=3_000, failure=failure)
    facts = {"code": "ManifestNotFound", "reason": "there is no such object"}
    assert told(a_job(), failing) == [("status", {"status": "Failing", "was": "New", "failure": facts})]
    failed = advance(failing, JobEvent.REPORTED, now_ms=4_000)
    assert told(failing, failed) == [("status", {"status": "Failed", "was": "Failing"})]


def test_a_preparation_that_begins_again_is_a_change_of_its_own() -> None:
    preparing = moved(JobEvent.PICKED_UP)
    again = advance(preparing, JobEvent.PICKED_UP, now_ms=9_000)
    assert told(preparing, again) == [("status", {"status": "Preparing", "was": "Preparing"})]


def test_a_pause_says_whose_it_is_also_when_the_user_takes_it_over() -> None:
    active = moved(JobEvent.PICKED_UP, JobEvent.PREPARED, JobEvent.STARTED)
    pausing = advance(active, JobEvent.HELD, now_ms=3_000, paused_by="priority")
    assert told(active, pausing) == [("status", {"status": "Pausing", "was": "Active", "paused_by": "priority"})]
    kept = msgspec.structs.replace(pausing, paused_by="user")
    assert told(pausing, kept, "lunch") == [("pause_kept", {"reason": "lunch"})]


def test_a_confirmation_that_comes_early_is_told() -> None:
    preparing = moved(JobEvent.PICKED_UP)
    assert told(preparing, msgspec.structs.replace(preparing, confirmation_given=True)) == [("confirmed", {})]


@pytest.mark.parametrize("changed", [{"succeeded": 5}, {"failures": {"NoSuchKey": 1}}, {"active_ms": 7}])
def test_progress_is_no_event(changed: dict[str, object]) -> None:
    assert told(a_job(total=10), a_job(total=10, **changed)) == []


def test_an_event_is_of_bounded_size() -> None:
    names = [f"{number}" * 2_000 for number in range(50)]
    event = happening("job-1", 1, EventKind.TAGS, by="ida", set=names, failure={"reason": "x" * 5_000}, absent=None)
    assert "absent" not in event.facts
    assert len(event.facts["set"]) == NAMES_MAX
    texts = [*event.facts["set"], event.facts["failure"]["reason"]]
    assert all(len(text) == TEXT_CHARACTERS_MAX and text.endswith("…") for text in texts)
