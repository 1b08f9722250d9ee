"""Fake time, and turns: many processes in one thread, one of which moves at a time.

Code that blocks (a runner's units, the coordinator's loop) runs in *strands*: greenlets that give the turn away where a thread
would wait. What happens next is the earliest event of the hub; among those of one moment chance decides. So a seed is a schedule,
and the same seed is the same schedule. A process that crashes or freezes does so as a whole, when one of its strands has the turn
or none has.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NoReturn

from greenlet import getcurrent, greenlet

from haulier.testing.effects import VirtualClock

WAKE_SECONDS_MAX: Final = 0.002
"""How long a thread that may go on waits for a processor."""


class Crash(BaseException):
    """The process has ended here, as by kill -9: nothing may catch this but the hub."""


class Strand(greenlet):  # type: ignore[misc]  # greenlet has no types
    """A thread of a process."""

    def __init__(self, process: "Process", main: Callable[[], None]) -> None:
        super().__init__(self._begin, parent=process.hub.main)
        self.process = process
        self._main = main
        self._place = 0
        self.begun = False

    def _begin(self, _woken: bool) -> None:
        self.begun = True
        with suppress(Crash):
            self._main()

    def wait(self, seconds: float | None) -> bool:
        """Give the turn away until `waker` is called, or the time is over; whether it was called."""
        process = self.process
        if process.dead:
            raise Crash
        if seconds is not None:
            place = self._place
            process.later(seconds, lambda: self.resume(place, woken=False))
        woken: bool = process.hub.main.switch()
        if process.dead:
            raise Crash
        return woken

    def waker(self) -> Callable[[], None]:
        """What ends the `wait` that comes next, after a moment. It does nothing to a later one."""
        place, process = self._place, self.process
        return lambda: process.later(process.hub.chance.random() * WAKE_SECONDS_MAX, lambda: self.resume(place, woken=True))

    def resume(self, place: int, *, woken: bool) -> None:
        """Give it the turn, if it still waits where it did."""
        if place == self._place and not self.process.dead:
            self._place += 1
            self.switch(woken)


class Hub:
    """The events of all processes in the order of their time."""

    def __init__(self, seed: str) -> None:
        self.clock = VirtualClock()
        self.chance = random.Random(seed)
        self.main = getcurrent()
        self.steps = 0
        self._events: list[tuple[float, float, int, Callable[[], None]]] = []
        self._failure: BaseException | None = None

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return self.clock.seconds

    def later(self, seconds: float, happening: Callable[[], None]) -> None:
        """Let something happen, whatever becomes of the processes."""
        self.steps += 1
        heapq.heappush(self._events, (self.clock.seconds + seconds, self.chance.random(), self.steps, happening))

    def fail(self, error: BaseException) -> None:
        """End `run` by this error."""
        self._failure = self._failure or error

    def run(self, until: Callable[[], bool], seconds: float) -> bool:
        """Go on until it is so; whether it was so within that time. Raises what `fail` was told, and what any strand lets out."""
        end = self.now + seconds
        while not until():
            if not self._events or self._events[0][0] > end:
                return False
            at, _, _, happening = heapq.heappop(self._events)
            self.clock.seconds = at
            happening()
            if self._failure is not None:
                raise self._failure
        return True


class Process:
    """Strands that live, freeze and die together."""

    def __init__(self, hub: Hub, name: str) -> None:
        self.hub = hub
        self.name = name
        self.dead = False
        self._frozen = False
        self.thawed_at = float("-inf")
        self._held: deque[Callable[[], None]] = deque()
        self._strands: list[Strand] = []
        self._at_death: list[Callable[[], None]] = []

    def later(self, seconds: float, happening: Callable[[], None]) -> None:
        """Let something happen in this process, if it lives then; if it is frozen then, when it thaws."""

        def happens() -> None:
            if self.dead:
                return
            if self._frozen:
                self._held.append(happening)
                return
            try:
                happening()
            except Crash:
                assert self.dead

        self.hub.later(seconds, happens)

    def start(self, main: Callable[[], None]) -> None:
        """A strand more."""
        strand = Strand(self, main)
        self._strands.append(strand)
        self.later(self.hub.chance.random() * WAKE_SECONDS_MAX, lambda: strand.resume(0, woken=True))

    def at_death(self, happening: Callable[[], None]) -> None:
        """What others notice of its death, at once."""
        self._at_death.append(happening)

    def kill(self) -> None:
        """End it. Unless it was one of its own strands that called, which has to raise Crash then."""
        if self.dead:
            return
        self.dead = True
        self.hub.later(0, self._unwind)
        for happening in self._at_death:
            happening()

    def crash(self) -> NoReturn:
        """End it, from inside."""
        self.kill()
        raise Crash

    def _unwind(self) -> None:
        for strand in self._strands:
            if strand.begun and not strand.dead:
                strand.throw(Crash)
        self._strands.clear()

    def freeze(self, seconds: float) -> None:
        """As by SIGSTOP, and SIGCONT after that time."""
        self._frozen = True
        self.hub.later(seconds, self._thaw)

    def _thaw(self) -> None:
        self._frozen = False
        self.thawed_at = self.hub.now
        for place in range(len(self._held)):
            self.later(place * 1e-9, self._held.popleft())  # in their order, as from a pipe


def here() -> Strand:
    """The strand that has the turn."""
    strand: Any = getcurrent()
    assert isinstance(strand, Strand), "only a strand can wait"
    return strand


def sleep(seconds: float) -> None:
    """Let the strand that has the turn wait so long."""
    here().wait(seconds)
