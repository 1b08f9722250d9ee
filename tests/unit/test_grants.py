"""The sum of all grants, and of what runs beyond them, never exceeds a store's limit, whatever order frames come in."""

import random
from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haulier.core.grants import Grant, Usage, divide, in_whole
from haulier.core.placement import Store
from haulier.engine.grants import Grants
from haulier.testing.effects import VirtualClock

DEMANDS = st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 1_000), min_size=1)


@given(st.floats(0.1, 1_000), DEMANDS)
def test_shares_use_the_whole_and_nobody_gets_less_than_an_equal_part_unless_it_wants_less(
    total: float, demands: dict[str, float]
) -> None:
    shares = divide(total, demands)
    assert sum(shares.values()) == pytest.approx(total)
    for name, share in shares.items():
        assert share >= min(demands[name], total / len(demands)) - 1e-6


@given(st.integers(1, 1_000), DEMANDS, st.integers(0, 10))
def test_whole_shares_have_the_whole_sum(total: int, demands: dict[str, float], turn: int) -> None:
    shares = divide(total, demands)
    whole = in_whole(shares, turn)
    assert sum(whole.values()) == total
    assert all(abs(whole[name] - shares[name]) <= 1 for name in whole)


def test_shares_by_example() -> None:
    assert divide(100, {"a": 10, "b": 1_000}) == {"a": 10, "b": 90}
    assert divide(100, {"a": 1_000, "b": 1_000}) == {"a": 50, "b": 50}
    assert divide(100, {"a": 0, "b": 0}) == {"a": 50, "b": 50}
    assert divide(100, {}) == {}
    assert {name for turn in range(3) for name, n in in_whole(divide(1, dict.fromkeys("abc", 1.0)), turn).items() if n} == set(
        "abc"
    )


class Worker:
    """A runner as far as grants go: frames reach it and leave it late; what it has in flight ends when it likes."""

    def __init__(self) -> None:
        self.down: deque[tuple[int, dict[str, Grant]]] = deque()
        self.up: deque[tuple[int, dict[str, Usage]]] = deque()
        self.serial = 0
        self.grant = Grant()
        self.in_flight = self.wants = 0

    def hear(self) -> None:
        self.serial, grants = self.down.popleft()
        self.grant = grants.get("main", Grant())

    def work(self, chance: random.Random) -> None:
        self.in_flight -= chance.randint(0, self.in_flight)
        self.in_flight = max(self.in_flight, min(self.wants, self.grant.in_flight))

    def tell(self) -> None:
        holds = max(self.grant.in_flight, self.in_flight)
        full = self.wants > self.grant.in_flight
        self.up.append((self.serial, {"main": Usage(self.in_flight, holds, self.in_flight * 3.0, full, full)}))

    def reaches(self) -> float:
        """How much it could do, now or by a grant that is on its way."""
        return max([self.grant.in_flight, self.in_flight, *(grants["main"].in_flight for _, grants in self.down)])


def rate_of(grants: dict[str, Grant]) -> float:
    return grants["main"].per_second or 0.0 if "main" in grants else 0.0


@pytest.mark.parametrize("seed", range(40))
def test_runners_never_exceed_the_stores_limits_together(seed: int) -> None:
    chance = random.Random(seed)
    clock = VirtualClock()
    limit = chance.choice([1, 2, 3, 7, 64, 256])
    grants = Grants([Store(name="main", endpoint="http://h", in_flight_max=limit, requests_per_second=10.0)], clock)
    workers: dict[str, Worker] = {}
    born = 0

    def spawn() -> None:
        nonlocal born
        born += 1
        workers[f"r{born}"] = Worker()
        grants.joined(f"r{born}")

    for _ in range(chance.randint(1, 4)):
        spawn()
    for _ in range(400):
        clock.advance(0.25)
        for name, worker in list(workers.items()):
            if chance.random() < 0.05:
                worker.wants = chance.choice([0, 0, 1, limit, 3 * limit])
            if worker.down and chance.random() < 0.7:
                worker.hear()
            worker.work(chance)
            if chance.random() < 0.7:
                worker.tell()
            if worker.up and chance.random() < 0.7:
                grants.heard(name, *worker.up.popleft())
        if chance.random() < 0.02:
            name = chance.choice(sorted(workers))
            workers.pop(name)
            grants.lost(name)
            spawn()
        grants.renew()
        for name, worker in workers.items():
            worker.down.append(grants.of(name))
        assert sum(worker.reaches() for worker in workers.values()) <= limit
        rates = [
            max([worker.grant.per_second or 0.0, *(rate_of(down) for _, down in worker.down)]) for worker in workers.values()
        ]
        assert sum(rates) <= 10.0 + 1e-6


def settle(grants: Grants, workers: dict[str, Worker], clock: VirtualClock) -> None:
    chance = random.Random(1)
    for _ in range(12):
        clock.advance(0.25)
        for name, worker in workers.items():
            worker.work(chance)
            worker.tell()
            while worker.up:
                grants.heard(name, *worker.up.popleft())
        grants.renew()
        for name, worker in workers.items():
            worker.down.append(grants.of(name))
            worker.hear()


def two(**limits: Any) -> tuple[Grants, dict[str, Worker], VirtualClock]:
    clock = VirtualClock()
    grants = Grants([Store(name="main", endpoint="http://h", **limits)], clock)
    workers = {"a": Worker(), "b": Worker()}
    for name in workers:
        grants.joined(name)
    return grants, workers, clock


def test_one_busy_runner_has_all_and_gives_half_of_it_to_another() -> None:
    grants, workers, clock = two(in_flight_max=100, requests_per_second=50.0)
    settle(grants, workers, clock)
    assert [worker.grant for worker in workers.values()] == [Grant(50, 25.0)] * 2
    workers["a"].wants = 1_000
    settle(grants, workers, clock)
    assert [worker.grant for worker in workers.values()] == [Grant(100, 50.0), Grant(0, 0.0)]
    workers["b"].wants = 1_000
    settle(grants, workers, clock)
    assert [worker.grant for worker in workers.values()] == [Grant(50, 25.0)] * 2
    grants.lost("a")
    del workers["a"]
    settle(grants, workers, clock)
    assert workers["b"].grant == Grant(100, 50.0)


def test_a_limit_below_the_number_of_runners_goes_round() -> None:
    grants, workers, clock = two(in_flight_max=1)
    for worker in workers.values():
        worker.wants = 10
    had = set()
    for _ in range(20):
        settle(grants, workers, clock)
        had |= {name for name, worker in workers.items() if worker.grant.in_flight}
    assert had == {"a", "b"}


def test_other_limits_hold_once_the_old_ones_are_given_up() -> None:
    grants, workers, clock = two(in_flight_max=100, requests_per_second=50.0)
    settle(grants, workers, clock)
    grants.reload([Store(name="main", endpoint="http://h", in_flight_max=10), Store(name="new", endpoint="http://n")])
    settle(grants, workers, clock)
    assert [worker.grant for worker in workers.values()] == [Grant(5), Grant(5)]
    assert grants.of("a")[1]["new"] == Grant(128)
