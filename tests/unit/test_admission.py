import contextlib
import threading

import anyio
import pytest
from anyio.abc import TaskGroup

from haulier.api.admission import Admission, BodyRoom
from haulier.core.errors import Overloaded


def test_so_many_work_so_many_wait_and_the_rest_is_refused_at_once() -> None:
    gate, started = threading.Event(), threading.Semaphore(0)

    def work(number: int) -> int:
        started.release()
        assert gate.wait(10)
        return number

    async def run() -> tuple[list[int], int]:
        admission = Admission(working=2, waiting=3)
        done: list[int] = []
        refused = 0

        async def one(number: int) -> None:
            nonlocal refused
            try:
                done.append(await admission.run("one", work, number))
            except Overloaded:
                refused += 1
                if refused == 4:
                    gate.set()

        async with anyio.create_task_group() as group:
            for number in range(9):
                group.start_soon(one, number)
        assert await admission.run("one", work, 99) == 99  # and all is well again
        return done, refused

    done, refused = anyio.run(run)
    assert (len(done), refused) == (5, 4)


class Crowd:
    """Requests of several parties at an admission with one thread, which is busy until `open` is called."""

    def __init__(self, waiting: int) -> None:
        self.admission = Admission(working=1, waiting=waiting)
        self.gate = threading.Event()
        self.served: list[str] = []
        self.refused: list[str] = []

    async def ask(self, party: str, group: TaskGroup, times: int = 1) -> None:
        async def one() -> None:
            try:
                await self.admission.run(party, self.serve, party)
            except Overloaded:
                self.refused.append(party)

        for _ in range(times):
            group.start_soon(one)
        await anyio.wait_all_tasks_blocked()

    def serve(self, party: str) -> None:
        assert self.gate.wait(10)
        self.served.append(party)


def test_parties_are_served_in_turn_and_the_one_with_the_most_gives_way() -> None:
    async def run() -> Crowd:
        crowd = Crowd(waiting=6)
        async with anyio.create_task_group() as group:
            await crowd.ask("greedy", group, 12)
            assert crowd.refused == ["greedy"] * 5
            await crowd.ask("one", group)
            await crowd.ask("two", group, 2)
            assert crowd.refused == ["greedy"] * 8
            await crowd.ask("two", group, 3)  # now they have as many: it refuses the latecomer
            assert crowd.refused == ["greedy"] * 8 + ["two"] * 3
            crowd.gate.set()
        return crowd

    crowd = anyio.run(run)
    assert crowd.served == ["greedy", "greedy", "one", "two", "greedy", "two", "greedy"]


def test_who_leaves_while_waiting_takes_no_place_with_it() -> None:
    async def run() -> Crowd:
        crowd = Crowd(waiting=2)
        async with anyio.create_task_group() as group:
            await crowd.ask("one", group)
            async with anyio.create_task_group() as leaving:
                await crowd.ask("two", leaving, 2)
                leaving.cancel_scope.cancel()
            await crowd.ask("three", group, 2)
            assert crowd.refused == []
            crowd.gate.set()
        await crowd.admission.run("four", crowd.serve, "four")
        return crowd

    assert anyio.run(run).served == ["one", "three", "three", "four"]


def test_what_the_work_raises_is_raised() -> None:
    def fail() -> None:
        raise KeyError("x")

    async def run() -> None:
        await Admission().run("one", fail)

    with pytest.raises(KeyError):
        anyio.run(run)


def test_bodies_have_so_much_room_together_and_give_it_back() -> None:
    room = BodyRoom(40, own=0)
    with contextlib.ExitStack() as held:
        for number in range(4):
            held.enter_context(room.hold(f"peer {number}", f"key {number}"))(10)
        with room.hold("another", "another") as one, pytest.raises(Overloaded):
            one(1)
    with room.hold("one", "a") as one, room.hold("other", "a") as other:
        one(10)
        other(10)


def test_one_address_cannot_take_all_the_room_nor_can_one_key() -> None:
    room = BodyRoom(40, own=0)
    with (
        room.hold("one", "a") as one,
        room.hold("one", "b") as again,
        room.hold("two", "a") as two,
        room.hold("three", "a") as three,
    ):
        one(6)
        again(4)
        with pytest.raises(Overloaded):
            again(1)
        two(10)
        two(0)
        three(4)
        with pytest.raises(Overloaded):
            three(1)
        with room.hold("four", None) as four:
            four(10)


def test_a_small_body_is_let_in_however_full_the_room_is() -> None:
    room = BodyRoom(40, own=10)
    with contextlib.ExitStack() as held:
        for number in range(4):
            held.enter_context(room.hold(f"peer {number}", f"key {number}"))(20)
        with room.hold("owner", "key 1") as take:
            take(4)
            take(6)
            with pytest.raises(Overloaded):
                take(1)
    with room.hold("owner", "key 1") as take:
        take(15)
        take(5)
