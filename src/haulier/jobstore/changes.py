"""Wakes who waits for jobs that were created, changed or deleted, inside this process."""

import threading
from collections.abc import Callable


class Changes:
    """A count of changes, and those who wait for it to grow."""

    def __init__(self) -> None:
        self._count = 0
        self._condition = threading.Condition()

    def tell(self) -> None:
        """Something changed."""
        with self._condition:
            self._count += 1
            self._condition.notify_all()

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
