"""The loop that runs coroutines over `core.effects`, without asyncio: one thread, one epoll, one turn after another.

A turn is: wait for sockets, timers or another thread → answers resume their coroutines → due timers → calls from other threads →
`on_turn` → what was begun in the turn goes to the network. How a `Request` travels is the transport's business; everything
else of `core.ports.Driver` is here.
"""

import heapq
import os
import select
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, InvalidStateError
from typing import Any, Final, Protocol, TypeVar

from haulier.core.effects import Answer, Effect, Gather, Request, Sleep, Stopped
from haulier.core.ports import Clock

T = TypeVar("T")
Done = Callable[[Any, BaseException | None], None]
IDLE_SECONDS: Final = 60.0
"""The longest wait when nothing is due; any event ends it."""


class Fiber:
    """A coroutine on its way; the driver resumes it with what it awaited. `top` = counted in `Driver.running`."""

    __slots__ = ("coroutine", "done", "ended", "gathering", "send", "sleeping", "stopping", "top")

    def __init__(self, coroutine: Effect[Any], done: Done, *, top: bool) -> None:
        self.coroutine = coroutine
        self.send = coroutine.send
        self.done = done
        self.top = top
        self.sleeping = self.stopping = self.ended = False
        self.gathering: _Gathering | None = None


class Poller(Protocol):
    """How the loop waits: for sockets in production, for its turn in the simulation."""

    def poll(self, seconds: float) -> Sequence[tuple[int, int]]:
        """Wait so long for an event of a socket or a `wake`; the sockets' events."""
        ...

    def wake(self) -> None:
        """Let `poll` return, now or as soon as it is called. From any thread."""
        ...

    def close(self) -> None:
        """Nobody polls or wakes any more."""
        ...


class EpollPoller:
    """Sockets by epoll, other threads by an eventfd."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        """The transport registers its sockets here."""
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.epoll.register(self._wake, select.EPOLLIN)

    def poll(self, seconds: float) -> Sequence[tuple[int, int]]:
        """See `Poller`."""
        found = self.epoll.poll(seconds)
        for number, (descriptor, _) in enumerate(found):
            if descriptor == self._wake:
                os.eventfd_read(descriptor)
                del found[number]
                break
        return found

    def wake(self) -> None:
        """See `Poller`."""
        os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """See `Poller`."""
        self.epoll.close()
        os.close(self._wake)


class Transport(Protocol):
    """Carries requests. The poller waits for its sockets, and it is told of their events."""

    def begin(self, request: Request, fiber: Fiber) -> None:
        """Take the request; it may wait until `flush`."""
        ...

    def flush(self, now: float) -> None:
        """Send what was begun, and mind the transport's own timers; once per turn."""
        ...

    def ready(self, descriptor: int, mask: int) -> None:
        """An event of a socket that the transport registered."""
        ...

    def finished(self) -> Iterable[tuple[Fiber, Request, Answer]]:
        """Requests that ended since the last call, each once."""
        ...

    def wait_seconds(self, now: float) -> float:
        """The longest wait that the transport's timers allow."""
        ...

    def close(self) -> None:
        """Close every connection; requests that did not end are dropped."""
        ...


class _Gathering:
    """A `Gather` on its way: starts at most `width` children, keeps results by position, resumes the parent at the end."""

    __slots__ = ("children", "coroutines", "driver", "error", "left", "next", "parent", "results")

    def __init__(self, driver: "EffectDriver", parent: Fiber, gather: Gather[Any]) -> None:
        self.driver = driver
        self.parent = parent
        self.coroutines = list(gather.coroutines)
        self.results: list[Any] = [None] * len(self.coroutines)
        self.error: BaseException | None = None
        self.left = len(self.coroutines)
        self.next = 0
        self.children: dict[Fiber, None] = {}

    def start_one(self) -> None:
        position = self.next
        if position == len(self.coroutines):
            return
        self.next += 1

        def done(result: Any, error: BaseException | None) -> None:
            self.children.pop(child, None)
            self.results[position] = result
            if error is not None and self.error is None:
                self.error = error
            self.left -= 1
            if not self.left:
                self.driver.gathered(self)
            else:
                # By way of the timers: children that end at once must not pile up on the stack.
                self.driver.later(0, self.start_one)

        child = Fiber(self.coroutines[position], done, top=False)
        self.children[child] = None
        self.driver.resume(child, None)

    def wind_down(self) -> None:
        """Start no further child, and wind down those that run."""
        for coroutine in self.coroutines[self.next :]:
            coroutine.close()
            self.left -= 1
        self.next = len(self.coroutines)
        self.error = self.error or Stopped()
        for child in tuple(self.children):
            self.driver.wind_down(child)


class EffectDriver:
    """`core.ports.Driver` over a transport.

    Coroutines that have not ended when `run` ends are dropped: their `done` is never called, futures of `submit` are cancelled.
    """

    def __init__(
        self,
        transport: Transport,
        poller: Poller,
        *,
        clock: Clock,
        on_answer: Callable[[Request, Answer], None] | None = None,
        future: Callable[[], Future[Any]] = Future,
    ) -> None:
        """`on_answer` sees every answer before the coroutine that asked does. `future` makes what `submit` returns: whoever waits
        for it waits on a thread of its own."""
        self._poller = poller
        self._transport = transport
        self._begin = transport.begin
        self._clock = clock
        self._on_answer = on_answer
        self._future = future
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_count = 0
        self._calls: deque[Callable[[], object]] = deque()
        self._lock = threading.Lock()
        self._closed = False
        self._stopping = False
        self._gatherings: dict[_Gathering, None] = {}
        self._futures: dict[Future[Any], Effect[Any]] = {}
        self._submitted: dict[Future[Any], Fiber] = {}
        self.running = 0

    # -- the driver's own thread

    def start(self, coroutine: Effect[T], done: Callable[[T | None, BaseException | None], None]) -> Fiber:
        """Run it until it ends; `done(result, error)` is called on the driver's thread."""
        self.running += 1
        fiber = Fiber(coroutine, done, top=True)
        self.resume(fiber, None)
        return fiber

    def wind_down(self, started: object) -> None:
        """Send no further request of a coroutine; see `core.ports.Driver`."""
        assert isinstance(started, Fiber)
        if started.ended or started.stopping:
            return
        started.stopping = True
        if started.sleeping:
            self._cut(started)
        elif started.gathering is not None:
            started.gathering.wind_down()

    def _cut(self, fiber: Fiber) -> None:
        fiber.coroutine.close()
        self._end(fiber, None, Stopped())

    def _end(self, fiber: Fiber, result: Any, error: BaseException | None) -> None:
        fiber.ended = True
        if fiber.top:
            self.running -= 1
        fiber.done(result, error)

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        """Call the function once, that much later."""
        self._timer_count += 1
        heapq.heappush(self._timers, (self._clock.monotonic() + seconds, self._timer_count, function))

    def resume(self, fiber: Fiber, value: Any, error: BaseException | None = None) -> None:
        """Let the coroutine go on until it awaits the next effect or ends."""
        try:
            effect = fiber.send(value) if error is None else fiber.coroutine.throw(error)
        except StopIteration as ended:
            result, error = ended.value, None
        except BaseException as raised:  # noqa: BLE001 - it belongs to whoever waits for the coroutine
            result, error = None, raised
        else:
            if fiber.stopping:
                self._drop(fiber, effect)
            elif effect.__class__ is Request:
                self._begin(effect, fiber)
            else:
                self._await_other(fiber, effect)
            return
        self._end(fiber, result, error)

    def _drop(self, fiber: Fiber, effect: Any) -> None:
        """A coroutine that is wound down asks for more."""
        if isinstance(effect, Gather):
            for coroutine in effect.coroutines:
                coroutine.close()
        self._cut(fiber)

    def _await_other(self, fiber: Fiber, effect: Any) -> None:
        if isinstance(effect, Sleep):
            fiber.sleeping = True
            self.later(effect.seconds, lambda: self._awake(fiber))
        elif isinstance(effect, Gather):
            if not effect.coroutines:
                self.later(0, lambda: self.resume(fiber, []))
                return
            gathering = fiber.gathering = _Gathering(self, fiber, effect)
            self._gatherings[gathering] = None
            for _ in range(max(1, min(effect.width, gathering.left))):
                gathering.start_one()
        elif isinstance(effect, Request):
            self._begin(effect, fiber)
        else:
            self.resume(fiber, None, TypeError(f"a coroutine may await Request, Sleep and Gather, not {type(effect).__name__}"))

    def _awake(self, fiber: Fiber) -> None:
        if not fiber.ended:
            fiber.sleeping = False
            self.resume(fiber, None)

    def gathered(self, gathering: _Gathering) -> None:
        """All children have ended."""
        self._gatherings.pop(gathering, None)
        gathering.parent.gathering = None
        self.later(0, lambda: self.resume(gathering.parent, gathering.results, gathering.error))

    # -- from any thread

    def call(self, function: Callable[[], None]) -> None:
        """Call the function on the driver's thread at its next turn; dropped when the driver has ended."""
        with self._lock:
            if not self._closed:
                self._calls.append(function)
                self._poller.wake()

    def submit(self, coroutine: Effect[T]) -> Future[T]:
        """Run it; the future takes result or exception, or is cancelled when the driver ends first."""
        future: Future[T] = self._future()

        def begin() -> None:
            fiber = self.start(coroutine, done)
            if not fiber.ended:
                self._submitted[future] = fiber

        def done(result: T | None, error: BaseException | None) -> None:
            self._futures.pop(future, None)
            self._submitted.pop(future, None)
            try:
                if error is not None:
                    future.set_exception(error)
                else:
                    future.set_result(result)  # type: ignore[arg-type]  # None is a T here
            except InvalidStateError:
                pass  # whoever waited has cancelled it: the work is done all the same

        with self._lock:
            if self._closed:
                coroutine.close()
                future.cancel()
                return future
            self._futures[future] = coroutine
            self._calls.append(begin)
            self._poller.wake()
        return future

    def withdraw(self, future: Future[Any]) -> None:
        """Wind down what was submitted; see `core.ports.Driver`."""

        def wind_down() -> None:
            if (fiber := self._submitted.get(future)) is not None:
                self.wind_down(fiber)

        self.call(wind_down)

    def stop(self) -> None:
        """End `run` at its next turn; connections of unfinished requests are closed."""
        with self._lock:
            self._stopping = True
            if not self._closed:
                self._poller.wake()

    # -- the loop

    def run(self, on_turn: Callable[[], None]) -> None:
        """Be the driver's thread until `stop`."""
        try:
            while not self._stopping:
                self._turn(on_turn)
        finally:
            self._close()

    def _turn(self, on_turn: Callable[[], None]) -> None:
        transport = self._transport
        now = self._clock.monotonic()
        transport.flush(now)
        wait = transport.wait_seconds(now)
        if self._timers:
            wait = min(wait, max(0.0, self._timers[0][0] - now))
        ready = transport.ready
        for descriptor, mask in self._poller.poll(wait):
            ready(descriptor, mask)
        on_answer = self._on_answer
        for fiber, request, answer in transport.finished():
            if on_answer is not None:
                on_answer(request, answer)
            self.resume(fiber, answer)
        if self._timers:
            self._due(self._clock.monotonic())
        while self._calls and not self._stopping:
            self._calls.popleft()()
        if not self._stopping:
            on_turn()

    def _due(self, now: float) -> None:
        timers = self._timers
        # Timers set meanwhile wait for the next turn, or one that is always due would hold the loop.
        last = self._timer_count
        while timers and timers[0][0] <= now and timers[0][1] <= last:
            heapq.heappop(timers)[2]()

    def _close(self) -> None:
        with self._lock:
            self._closed = True
        self._transport.close()
        self._poller.close()
        for gathering in self._gatherings:
            for coroutine in gathering.coroutines[gathering.next :]:
                coroutine.close()
        self._gatherings.clear()
        self._timers.clear()
        self._calls.clear()
        for future, coroutine in tuple(self._futures.items()):
            coroutine.close()
            future.cancel()
        self._futures.clear()
