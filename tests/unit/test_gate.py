"""What one runner may do to one store."""

import pytest

from haulier.core.grants import Grant
from haulier.objectstore.gate import Gate, Gates, Pace
from haulier.objectstore.throttle import Throttle
from haulier.testing.effects import VirtualClock


def due(pace: Pace, now: float, tickets: list[int]) -> int:
    return sum(pace.wait_seconds(ticket, now) == 0 for ticket in tickets)


def test_a_pace_spreads_requests_and_allows_a_tenth_of_a_second_at_once() -> None:
    pace = Pace(100, 0.0)
    tickets = [pace.ticket(0.0) for _ in range(30)]
    assert due(pace, 0.0, tickets) == 10
    assert pace.wait_seconds(tickets[29], 0.0) == pytest.approx(0.2)
    assert due(pace, 0.1, tickets) == 20
    later = [pace.ticket(10.0) for _ in range(30)]
    assert due(pace, 10.0, later) == 10


def test_a_slow_pace_lets_the_first_request_go_at_once() -> None:
    pace = Pace(0.1, 0.0)
    tickets = [pace.ticket(0.0), pace.ticket(0.0)]
    assert due(pace, 0.0, tickets) == 1
    assert due(pace, 9.9, tickets) == 1
    assert due(pace, 10.0, tickets) == 2


def test_requests_that_wait_already_keep_a_pace_that_has_changed() -> None:
    pace = Pace(100, 0.0)
    tickets = [pace.ticket(0.0) for _ in range(1_000)]
    pace.change(10, 1.0)
    assert due(pace, 1.0, tickets) == 110
    assert due(pace, 3.0, tickets) == 130
    pace.change(0, 3.0)
    assert due(pace, 100.0, tickets) == 130
    pace.change(1_000, 100.0)
    assert due(pace, 100.1, tickets) == 230


def test_what_was_saved_up_does_not_outlive_a_change_of_the_pace() -> None:
    pace = Pace(100, 0.0)
    pace.change(1_000, 5.0)
    assert due(pace, 5.0, [pace.ticket(5.0) for _ in range(100)]) == 0


def test_nothing_starts_without_a_grant_and_buckets_share_one() -> None:
    clock = VirtualClock()
    gates = Gates(clock)
    one, other = (Throttle(clock, 256, gate=gates.of("main")) for _ in range(2))
    assert (one.room(), other.room()) == (0, 0)
    assert gates.want_more
    gates.regrant({"main": Grant(20)})
    one.acquired(15)
    assert (one.room(), other.room()) == (5, 5)
    other.acquired(5)
    assert (one.room(), other.room(), one.share()) == (0, 0, 1)
    one.released(15)
    assert other.room() == 15
    gates.regrant({})
    assert other.room() == 0


def test_usage_tells_what_was_used_and_whether_more_was_wanted() -> None:
    clock = VirtualClock()
    gate = Gate(clock, Grant(2, 100.0))
    for _ in range(2):
        assert not gate.full()
        gate.begun += 1
        gate.in_flight += 1
        gate.most = max(gate.most, gate.in_flight)
    clock.advance(0.5)
    usage = gate.usage()
    assert (usage.in_flight, usage.holds, usage.per_second, usage.full, usage.paced) == (2, 2, 4.0, False, False)
    assert gate.full()
    gate.regrant(Grant(1, 100.0))
    usage = gate.usage()
    assert (usage.holds, usage.full) == (2, True), "what is in flight is held still"
    gate.in_flight -= 1
    assert (gate.usage().holds, gate.usage().full) == (1, False)
