"""Requests per account and second."""

import threading

import pytest

from haulier.core.errors import TooManyRequests
from haulier.rates import RequestRates
from haulier.testing.effects import VirtualClock


def taken(rates: RequestRates, per_second: float | None, most: int = 100, account: str = "acme") -> int:
    """How many requests are let through at once."""
    for number in range(most):
        try:
            rates.take(account, per_second)
        except TooManyRequests:
            return number
    return most


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def test_two_seconds_worth_may_come_at_once_and_then_as_many_as_the_rate_says(clock: VirtualClock) -> None:
    rates = RequestRates(clock)
    assert taken(rates, 5) == 10
    for seconds, more in ((0.1, 0), (0.1, 1), (1.0, 5), (100.0, 10)):
        clock.advance(seconds)
        assert taken(rates, 5) == more


def test_what_is_refused_does_not_count(clock: VirtualClock) -> None:
    rates = RequestRates(clock)
    taken(rates, 1)
    for _ in range(50):
        assert taken(rates, 1) == 0
    clock.advance(1)
    assert taken(rates, 1) == 1


def test_a_rate_below_one_lets_one_through(clock: VirtualClock) -> None:
    rates = RequestRates(clock)
    assert taken(rates, 0.1) == 1
    clock.advance(9.9)
    assert taken(rates, 0.1) == 0
    clock.advance(0.1)
    assert taken(rates, 0.1) == 1


def test_accounts_do_not_share_and_no_rate_is_no_limit(clock: VirtualClock) -> None:
    rates = RequestRates(clock)
    taken(rates, 1, account="loud")
    assert taken(rates, 1, account="quiet") == 2
    assert taken(rates, None, most=1_000) == 1_000


def test_another_rate_holds_from_the_next_request_on(clock: VirtualClock) -> None:
    rates = RequestRates(clock)
    assert taken(rates, 1) == 2
    assert taken(rates, 10) == 0
    clock.advance(0.1)
    assert taken(rates, 10) == 1


def test_requests_of_many_threads_are_all_counted(clock: VirtualClock) -> None:
    rates = RequestRates(clock)
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(taken(rates, 500, most=500))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 1_000
