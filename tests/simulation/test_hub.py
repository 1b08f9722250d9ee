"""Turns and fake time by themselves."""

import pytest

from haulier.engine.threads import Condition, Event, Threads
from haulier.testing.simulation.hub import Crash, Hub, Process, sleep
from haulier.testing.simulation.strands import StrandFuture, StrandPoller, StrandThreads


@pytest.fixture
def hub():
    return Hub("any")


def run(hub, seconds=100.0):
    hub.run(lambda: False, seconds)


def test_strands_sleep_side_by_side_and_no_real_time_passes(hub):
    seen = []

    def strand(name, seconds):
        sleep(seconds)
        seen.append((name, round(hub.now)))

    process = Process(hub, "p")
    process.start(lambda: strand("late", 50))
    process.start(lambda: strand("soon", 10))
    run(hub)
    assert seen == [("soon", 10), ("late", 50)]


def test_a_killed_process_unwinds_and_does_nothing_more(hub):
    seen = []

    def strand():
        try:
            sleep(10)
            seen.append("went on")
        finally:
            seen.append("unwound")

    process = Process(hub, "p")
    process.start(strand)
    process.at_death(lambda: seen.append("noticed"))
    hub.later(5, process.kill)
    run(hub)
    assert seen == ["noticed", "unwound"]


def test_a_strand_that_crashes_takes_its_process_along(hub):
    seen = []
    process = Process(hub, "p")
    process.start(process.crash)
    process.start(lambda: (sleep(1), seen.append("went on")))
    run(hub)
    assert process.dead
    assert not seen


def test_a_frozen_process_goes_on_later_and_in_order(hub):
    seen = []
    process = Process(hub, "p")
    for number in range(5):
        process.later(1 + number / 10, lambda number=number: seen.append((number, int(hub.now))))
    hub.later(0.5, lambda: process.freeze(20))
    run(hub)
    assert seen == [(number, 20) for number in range(5)]


def test_what_a_strand_lets_out_ends_the_run(hub):
    def strand():
        raise ZeroDivisionError

    Process(hub, "p").start(strand)
    with pytest.raises(ZeroDivisionError):
        run(hub)


def test_a_pool_takes_work_in_order_and_so_much_at_a_time(hub):
    process = Process(hub, "p")
    threads: Threads = StrandThreads(process)
    pool = threads.pool(2, "any")
    seen = []

    def work(number):
        sleep(10)
        seen.append((number, round(hub.now, -1)))
        return number

    def strand():
        futures = [pool.submit(work, number) for number in range(4)]
        assert [future.result(99) for future in futures] == [0, 1, 2, 3]
        pool.shutdown()
        seen.append("shut")

    process.start(strand)
    run(hub)
    assert sorted(seen[:2]) == [(0, 10), (1, 10)]
    assert sorted(seen[2:4]) == [(2, 20), (3, 20)]
    assert seen[4] == "shut"


def test_a_future_is_waited_for_no_longer_than_wanted(hub):
    process = Process(hub, "p")
    future: StrandFuture[int] = StrandFuture()
    seen = []

    def strand():
        with pytest.raises(TimeoutError):
            future.result(timeout=1)
        seen.append(future.result(timeout=100))

    process.start(strand)
    process.later(5, lambda: future.set_result(7))
    run(hub)
    assert seen == [7]


def test_conditions_events_and_pollers_wake_who_waits(hub):
    process = Process(hub, "p")
    threads: Threads = StrandThreads(process)
    condition: Condition = threads.condition()
    event: Event = threads.event()
    poller = StrandPoller()
    seen = []

    def strand():
        with condition:
            assert not condition.wait_for(lambda: seen, 1)
        assert not event.wait(1)
        process.later(3, event.set)
        assert event.wait(100)
        process.later(3, poller.wake)
        assert poller.poll(100) == ()
        seen.append(round(hub.now))

    process.start(strand)
    run(hub)
    assert seen == [8]


def test_only_the_hub_catches_a_crash():
    assert not issubclass(Crash, Exception)
