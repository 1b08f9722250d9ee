"""Failure classes: what is counted together, what is shown of it, and what people are told to do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haulier.core.failures import (
    CLASSES_MAX,
    CODE_CHARACTERS_MAX,
    MESSAGE_CHARACTERS_MAX,
    SAMPLES_MAX,
    FailureClass,
    FailureKind,
    Tally,
    by_code,
    kind_of,
    merged,
)
from haulier.core.task import Outcome, Task
from haulier.objectstore.answers import CODE_BY_STATUS, STATUS_BY_CODE


def a_task(key: bytes = b"k") -> Task:
    return Task(0, "data", key, b"v1")


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("NoSuchKey", 404, "not found"),
        ("NoSuchVersion", 404, "not found"),
        ("DeleteMarker", 405, "not found"),
        ("AccessDenied", 403, "denied"),
        ("InvalidObjectState", 403, "precondition"),
        ("PreconditionFailed", 412, "precondition"),
        ("SlowDown", 503, "throttled"),
        ("TooManyRequests", 429, "throttled"),
        ("InternalError", 500, "store fault"),
        ("NoAnswer", 0, "store fault"),
        ("UnreadableAnswer", 200, "store fault"),
        ("OutcomeUnknown", 409, "unknown"),
        ("ChangedSinceAttempt", 409, "changed"),
        ("InvalidRequest", 400, "invalid"),
        ("SomethingNew", 418, "invalid"),
    ],
)
def test_a_failure_is_of_the_kind_that_its_code_or_else_its_status_says(code: str, status: int, kind: str) -> None:
    assert kind_of(code, status) == kind


def test_every_failure_has_a_hint() -> None:
    known = [*STATUS_BY_CODE.items(), *((code, status) for status, code in CODE_BY_STATUS.items())]
    for code, status in [*known, ("SomethingNew", 599), ("SomethingNew", 0), ("SomethingNew", 300)]:
        assert FailureClass(code=code, status=status, count=1).hint.endswith(".")


def test_a_class_shows_its_first_tasks_and_its_first_and_last_moment() -> None:
    tally = Tally()
    for at_ms, key in enumerate([b"a", b"b", b"c", b"d"], 10):
        tally.add(a_task(key), Outcome(404, "NoSuchKey", "gone", f"id-{at_ms}"), at_ms)
    (found,) = tally.take()
    assert (found.count, found.first_ms, found.last_ms) == (4, 10, 13)
    assert [(sample.key, sample.at_ms, sample.request_id) for sample in found.samples] == [
        (b"a", 10, "id-10"),
        (b"b", 11, "id-11"),
        (b"c", 12, "id-12"),
    ]
    assert tally.take() == ()


def test_one_code_with_two_statuses_is_two_classes() -> None:
    tally = Tally()
    tally.add(a_task(), Outcome(403, "AccessDenied"), 1)
    tally.add(a_task(), Outcome(401, "AccessDenied"), 1)
    found = tally.take()
    assert len(found) == 2
    assert by_code(found) == {"AccessDenied": 2}


def test_what_a_store_says_at_length_is_cut() -> None:
    tally = Tally()
    tally.add(a_task(), Outcome(500, "E" * 9_999, "m" * 9_999), 1)
    (found,) = tally.take()
    assert (len(found.code), len(found.samples[0].message or "")) == (CODE_CHARACTERS_MAX, MESSAGE_CHARACTERS_MAX)


@given(st.lists(st.lists(st.tuples(st.integers(0, 70), st.integers(0, 5)), max_size=90), max_size=6))
def test_however_failures_are_flushed_the_counts_are_exact_and_bounded(flushes: list[list[tuple[int, int]]]) -> None:
    stored: dict[tuple[str, int], FailureClass] = {}
    for flush in flushes:
        tally = Tally()
        for code, at_ms in flush:
            tally.add(a_task(), Outcome(500, f"E{code}"), at_ms)
        stored = merged(stored, tally.take())
    assert sum(found.count for found in stored.values()) == sum(map(len, flushes))
    assert len(stored) <= CLASSES_MAX
    for key, found in stored.items():
        assert key == found.key
        assert len(found.samples) <= SAMPLES_MAX
        assert (found.code == "Other") == (found.kind is FailureKind.OTHER)
