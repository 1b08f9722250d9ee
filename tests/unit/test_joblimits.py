"""A job's own limits on one runner: how many of its tasks start, and how soon."""

from typing import Any

from haulier.core.effects import Answer, Gather, Request, Sleep
from haulier.core.grants import Grant
from haulier.engine.joblimits import PREFIX, JobGate, JobGates
from haulier.testing.effects import EffectRunner, VirtualClock


def request() -> Request:
    return Request("GET", "http://127.0.0.1/", [])


async def asks(times: int) -> int:
    for _ in range(times):
        await request()
    return times


def a_gate(grant: Grant | None) -> tuple[VirtualClock, JobGate]:
    clock = VirtualClock()
    gate = JobGate(clock)
    gate.regrant(grant)
    return clock, gate


def test_a_job_without_limits_may_do_anything_and_its_effects_are_its_own() -> None:
    _, gate = a_gate(None)
    effect = asks(1)
    assert gate.counting(effect) is effect
    effect.close()
    for _ in range(1_000):
        assert gate.may_start()
        gate.started()


def test_as_many_tasks_run_at_a_time_as_were_granted() -> None:
    _, gate = a_gate(Grant(2))
    for _ in range(2):
        assert gate.may_start()
        gate.started()
    assert not gate.may_start()
    assert gate.wants_more
    gate.ended()
    assert gate.may_start()


def test_requests_are_paced_over_time_also_those_that_a_task_makes_besides() -> None:
    clock, gate = a_gate(Grant(1_000, 10.0))
    runner = EffectRunner(answer=lambda _: Answer(200), clock=clock)
    begun = 0
    while clock.monotonic() < 60:
        if gate.may_start():
            gate.started()
            begun += runner.run(gate.counting(asks(3)))
            gate.ended()
        else:
            clock.advance(0.05)
    assert 590 <= begun <= 606, "3 requests a task, 10 a second, for a minute"


def test_what_runs_side_by_side_counts_each_for_itself_and_errors_and_results_come_through() -> None:
    clock, gate = a_gate(Grant(100))
    runner = EffectRunner(answer=lambda _: Answer(200), clock=clock)

    async def many() -> Any:
        await Sleep(1.0)
        try:
            await Gather([asks(1), fails()], 2)
        except ValueError as error:
            return str(error), await Gather([asks(2), asks(3)], 2)

    async def fails() -> int:
        await request()
        raise ValueError("as it should")

    assert runner.run(gate.counting(many())) == ("as it should", [2, 3])
    usage = gate.usage()
    assert round(usage.per_second * clock.monotonic()) == 7
    assert usage.holds == 100


def test_a_limited_job_waits_for_its_first_grant_and_a_limit_that_is_lifted_holds_no_more() -> None:
    gates = JobGates(VirtualClock())
    limited, free = gates.of("a", limited=True), gates.of("b", limited=False)
    assert (limited.may_start(), free.may_start()) == (False, True)
    gates.regrant({PREFIX + "a": Grant(1), PREFIX + "b": Grant(0), "main": Grant(5)})
    assert (limited.may_start(), free.may_start()) == (True, False)
    assert set(gates.usage()) == {PREFIX + "a", PREFIX + "b"}
    gates.regrant({"main": Grant(5)})
    assert (limited.may_start(), free.may_start()) == (True, True)
    assert gates.of("a", limited=True) is limited


def test_a_gate_that_is_made_anew_has_the_grant_that_came_before() -> None:
    gates = JobGates(VirtualClock())
    gate = gates.of("a", limited=True)
    gates.regrant({PREFIX + "a": Grant(1)})
    del gate  # the runner has no chunk of the job any more
    assert gates.usage() == {}
    again = gates.of("a", limited=True)
    assert again.limited
    assert again.may_start(), "no other grant will come while the shares are the same"
