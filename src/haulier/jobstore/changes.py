"""Wakes who waits for jobs that were created, changed or deleted, inside this process."""

import threading
from collections.abc import Callable, Collection
from typing import Final, TypeAlias

import structlog

_log: Final = structlog.get_logger(__name__)

Watcher: TypeAlias = Callable[[Collection[str]], None]


class Changes:
    """A count of the API's changes, those who wait for it to grow, and those who are told of every change."""

    def __init__(self) -> None:
        self._count = 0
        self._condition = threading.Condition()
        self._watchers: tuple[Watcher, ...] = ()

    def tell(self, job_ids: Collection[str]) -> None:
        """The API changed these jobs."""
        with self._condition:
            self._count += 1
            self._condition.notify_all()
        self.tell_watchers(job_ids)

    def tell_watchers(self, job_ids: Collection[str]) -> None:
        """Something was written about these jobs: the coordinator need not be woken by what it wrote itself."""
        for told in self._watchers:
            try:
                told(job_ids)
            except Exception as error:  # noqa: BLE001 - the write is done, and the writer's caller has no part in this
                _log.error("a watcher of jobs failed", error=repr(error))

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
