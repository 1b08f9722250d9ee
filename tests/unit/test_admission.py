import contextlib
import threading

import anyio
import pytest

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
                done.append(await admission.run(work, number))
            except Overloaded:
                refused += 1
                if refused == 4:
                    gate.set()

        async with anyio.create_task_group() as group:
            for number in range(9):
                group.start_soon(one, number)
        assert await admission.run(work, 99) == 99  # and all is well again
        return done, refused

    done, refused = anyio.run(run)
    assert (len(done), refused) == (5, 4)


def test_what_the_work_raises_is_raised() -> None:
    def fail() -> None:
        raise KeyError("x")

    async def run() -> None:
        await Admission().run(fail)

    with pytest.raises(KeyError):
        anyio.run(run)


def test_bodies_have_so_much_room_together_and_give_it_back() -> None:
    room = BodyRoom(40)
    with contextlib.ExitStack() as held:
        for number in range(4):
            held.enter_context(room.hold(f"peer {number}", f"key {number}"))(10)
        with room.hold("another", "another") as one, pytest.raises(Overloaded):
            one(1)
    with room.hold("one", "a") as one, room.hold("other", "a") as other:
        one(10)
        other(10)


def test_one_address_cannot_take_all_the_room_nor_can_one_key() -> None:
    room = BodyRoom(40)
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
