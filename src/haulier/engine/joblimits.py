"""What one job may do on one runner: its share of the limits that the job has over all runners (`Options.Concurrency`,
`Options.RequestsPerSecond`), on top of what the stores allow.

The gate looks at tasks before they start, and counts the requests that they make: no task waits for the job's turn while it keeps
a place of the store from others. So a task that has begun goes on, and what it asks beyond its turn the next ones wait for.
Everything here belongs to the driver's thread.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

from haulier.core.effects import Effect, Gather, Request
from haulier.core.grants import Grant, Usage
from haulier.core.ports import Clock
from haulier.objectstore.gate import Gate

T = TypeVar("T")

PREFIX: Final = "job/"
"""Before a job's id, where grants and usage are told by name: no store has such a name."""


class JobGate:
    """One job in one runner. Without limits everything may start."""

    __slots__ = ("__weakref__", "_gate", "limited")

    def __init__(self, clock: Clock) -> None:
        self._gate = Gate(clock)
        self.limited = False

    def regrant(self, grant: Grant | None) -> None:
        """What holds from now on; None = no limit."""
        self.limited = grant is not None
        self._gate.regrant(grant or Grant())

    def may_start(self) -> bool:
        """Whether one more task may start now."""
        if not self.limited:
            return True
        gate = self._gate
        return gate.room() > 0 and not gate.full() and gate.due()

    def started(self) -> None:
        """A task was started."""
        self._gate.tasks += 1

    def ended(self) -> None:
        """A task has ended."""
        self._gate.tasks -= 1

    @property
    def wants_more(self) -> bool:
        """Whether it was held back since the last `usage`."""
        return self.limited and self._gate.wants_more

    def usage(self) -> Usage:
        """What was done since the last call."""
        return self._gate.usage()

    def counting(self, effect: Effect[T]) -> Effect[T]:
        """The effect, with its requests counted; itself where nothing is limited."""
        return self._counted(effect) if self.limited else effect

    async def _counted(self, effect: Any) -> Any:
        gate = self._gate
        send: Callable[[], Any] = lambda: effect.send(None)  # noqa: E731 - what goes on next, replaced below
        try:
            while True:
                try:
                    inner = send()
                except StopIteration as stop:
                    return stop.value
                if isinstance(inner, Gather):
                    inner.coroutines = [self._counted(each) for each in inner.coroutines]
                is_request = isinstance(inner, Request)
                if is_request:
                    gate.begin()
                try:
                    value = await inner
                except Exception as error:  # noqa: BLE001 - it is the effect's to judge
                    send = lambda error=error: effect.throw(error)  # type: ignore[misc]  # noqa: E731
                else:
                    send = lambda value=value: effect.send(value)  # type: ignore[misc]  # noqa: E731
                finally:
                    if is_request:
                        gate.in_flight -= 1
        finally:
            effect.close()


class JobGates:
    """The gates of one runner's jobs: made when first asked for, and kept as long as somebody has them. From any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._gates: WeakValueDictionary[str, JobGate] = WeakValueDictionary()
        self._grants: Mapping[str, Grant] = {}

    def of(self, job: str, *, limited: bool) -> JobGate:
        """The job's gate. One that is `limited` and has no grant yet lets nothing through until one comes."""
        with self._lock:
            gate = self._gates.get(job)
            if gate is None:
                gate = self._gates[job] = JobGate(self._clock)
                gate.regrant(self._grants.get(PREFIX + job, Grant() if limited else None))
            return gate

    def regrant(self, grants: Mapping[str, Grant]) -> None:
        """What holds from now on, also for gates that are made later; a job that is not named has no limits."""
        with self._lock:
            self._grants = grants
            for job, gate in self._gates.items():
                gate.regrant(grants.get(PREFIX + job))

    def _all(self) -> list[tuple[str, JobGate]]:
        with self._lock:
            return list(self._gates.items())

    @property
    def want_more(self) -> bool:
        """Whether a job was held back since the last `usage`."""
        return any(gate.wants_more for _, gate in self._all())

    def usage(self) -> dict[str, Usage]:
        """What each limited job did since the last call."""
        return {PREFIX + job: gate.usage() for job, gate in self._all() if gate.limited}
