"""What code waits with, for strands: pools, conditions, events, futures, and the poller of a driver."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from typing import Any, Self, TypeVar

from haulier.testing.simulation.hub import Crash, Process, here

T = TypeVar("T")


class Waiters:
    """Strands that wait for the same thing."""

    def __init__(self) -> None:
        self._wakers: list[Callable[[], None]] = []

    def wait(self, seconds: float | None) -> bool:
        """Let the strand that has the turn wait for `wake`, so long at most; whether it came."""
        strand = here()
        waker = strand.waker()
        self._wakers.append(waker)
        woken = strand.wait(seconds)
        if not woken and waker in self._wakers:  # it is not, if `wake` came and the time was over before the turn did
            self._wakers.remove(waker)
        return woken

    def wake(self) -> None:
        """Let all go on that wait now."""
        wakers, self._wakers = self._wakers, []
        for waker in wakers:
            waker()


class StrandFuture(Future[T]):
    """A future whose result a strand waits for."""

    def result(self, timeout: float | None = None) -> T:
        """See `Future`."""
        if not self.done():
            waiters = Waiters()
            self.add_done_callback(lambda _: waiters.wake())
            waiters.wait(timeout)
        return super().result(0)


class StrandPool(Executor):
    """So many strands that take work in order."""

    def __init__(self, process: Process, workers: int) -> None:
        self._process = process
        self._workers = workers
        self._running = self._idle = 0
        self._work: deque[tuple[StrandFuture[Any], Callable[[], Any]]] = deque()
        self._waiting = Waiters()
        self._ended = Waiters()
        self._shut = False

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """See `Executor`."""
        if self._shut:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future: StrandFuture[T] = StrandFuture()
        self._work.append((future, lambda: fn(*args, **kwargs)))
        if self._idle:
            self._waiting.wake()
        elif self._running < self._workers:
            self._running += 1
            self._process.start(self._run)
        return future

    def _run(self) -> None:
        while True:
            while not self._work:
                if self._shut:
                    self._running -= 1
                    self._ended.wake()
                    return
                self._idle += 1
                self._waiting.wait(None)
                self._idle -= 1
            future, work = self._work.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = work()
            except Crash:
                raise
            except Exception as error:  # noqa: BLE001 - a runner's pools swallow it; nothing of ours should ever raise there
                self._process.hub.fail(error)
            else:
                future.set_result(result)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See `Executor`."""
        self._shut = True
        if cancel_futures:
            while self._work:
                self._work.popleft()[0].cancel()
        self._waiting.wake()
        while wait and self._running:
            self._ended.wait(None)


class StrandCondition:
    """See `engine.threads.Condition`. Nothing is locked: the turn is given away nowhere but in `wait_for`."""

    def __init__(self) -> None:
        self._waiters = Waiters()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        """See `threading.Condition`; once, if it may not wait at all."""
        end = None if timeout is None else here().process.hub.now + timeout
        while not (found := predicate()):
            left = None if end is None else end - here().process.hub.now
            if left is not None and left <= 0:
                break
            self._waiters.wait(left)
        return found

    def notify_all(self) -> None:
        """See `threading.Condition`."""
        self._waiters.wake()


class StrandEvent:
    """See `engine.threads.Event`."""

    def __init__(self) -> None:
        self._set = False
        self._waiters = Waiters()

    def set(self) -> None:
        """See `threading.Event`."""
        self._set = True
        self._waiters.wake()

    def wait(self, timeout: float | None = None) -> bool:
        """See `threading.Event`."""
        if not self._set:
            self._waiters.wait(timeout)
        return self._set


class StrandThreads:
    """`engine.threads.Threads` of a process."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def pool(self, workers: int, name: str) -> Executor:  # noqa: ARG002 - strands have no names
        """See `Threads`."""
        return StrandPool(self._process, workers)

    def condition(self) -> StrandCondition:
        """See `Threads`."""
        return StrandCondition()

    def event(self) -> StrandEvent:
        """See `Threads`."""
        return StrandEvent()


class StrandPoller:
    """`objectstore.driver.Poller` without sockets."""

    def __init__(self) -> None:
        self._woken = False
        self._waiters = Waiters()

    def poll(self, seconds: float) -> Sequence[tuple[int, int]]:
        """See `Poller`. Even a loop that never waits gives the turn away here."""
        if not self._woken:
            self._waiters.wait(seconds)
        self._woken = False
        return ()

    def wake(self) -> None:
        """See `Poller`."""
        self._woken = True
        self._waiters.wake()

    def close(self) -> None:
        """See `Poller`."""
