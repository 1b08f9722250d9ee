"""Wakes who waits for jobs that were created, changed or deleted, inside this process."""

import threading
from collections.abc import Callable, Sequence
from typing import TypeAlias

from haulier.core.ports import Written

Watcher: TypeAlias = Callable[[Sequence[Written]], None]


class Changes:
    """A count of the API's changes, those who wait for it to grow, and those who are told of every change."""

    def __init__(self) -> None:
        self._count = 0
        self._condition = threading.Condition()
        self._watchers: tuple[Watcher, ...] = ()

    def tell(self, written: Sequence[Written]) -> None:
        """The API changed these jobs."""
        with self._condition:
            self._count += 1
            self._condition.notify_all()
        self.tell_watchers(written)

    def tell_watchers(self, written: Sequence[Written]) -> None:
        """Something was written about these jobs; the coordinator need not be woken by what it wrote itself."""
        for told in self._watchers:
            told(written)

    def listener(self) -> Callable[[float], bool]:
        """A function for one thread: waits up to so many seconds for a change since it last returned (at first: since now)."""
        seen = self._count

        def wait(seconds: float) -> bool:
            nonlocal seen
            with self._condition:
                came = self._condition.wait_for(lambda: self._count != seen, seconds)
                seen = self._count
                return came

        return wait

    def watch(self, told: Watcher) -> Callable[[], None]:
        """Have every change told; the function returned ends it."""

        def end() -> None:
            with self._condition:
                self._watchers = tuple(watcher for watcher in self._watchers if watcher is not told)

        with self._condition:
            self._watchers = (*self._watchers, told)
        return end
