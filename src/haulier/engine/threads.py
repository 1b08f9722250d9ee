"""How a runner does several things at a time: the system's threads in production, turns by a seed in the simulation."""

import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, Protocol


class Condition(AbstractContextManager[Any], Protocol):
    """The part of `threading.Condition` that is used here."""

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        """Wait until it holds, so many seconds at most; what it last gave."""
        ...

    def notify_all(self) -> None:
        """Let everyone who waits look again."""
        ...


class Event(Protocol):
    """The part of `threading.Event` that is used here."""

    def set(self) -> None:
        """From now on nobody waits."""
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, so many seconds at most; whether it is."""
        ...


class Threads(Protocol):
    """Makes threads, and what they wait for each other with."""

    def pool(self, workers: int, name: str) -> Executor:
        """So many threads at most, that take work in the order in which it comes."""
        ...

    def condition(self) -> Condition:
        """As `threading.Condition`."""
        ...

    def event(self) -> Event:
        """As `threading.Event`."""
        ...


class SystemThreads:
    """The operating system's."""

    def pool(self, workers: int, name: str) -> Executor:
        """See `Threads`."""
        return ThreadPoolExecutor(workers, thread_name_prefix=name)

    def condition(self) -> Condition:
        """See `Threads`."""
        return threading.Condition()

    def event(self) -> Event:
        """See `Threads`."""
        return threading.Event()
