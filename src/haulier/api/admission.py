"""How many requests are worked on at a time, and how many may wait: beyond that they are refused at once.

A server that queues without limit answers everybody late; one that refuses early answers most in time, and the rest come back
later: every SDK does so after 503 SlowDown.
"""

import contextlib
import math
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from typing import Final, NoReturn, ParamSpec, TypeVar

import anyio
import structlog
from anyio.to_thread import run_sync

from haulier.core.errors import Overloaded

P = ParamSpec("P")
T = TypeVar("T")
Party = Hashable
"""Whoever waits for itself and not for others."""
K = TypeVar("K")

WORKING_MAX: Final = 16
"""Threads. They mostly wait for the interpreter and for commits; more would only take turns."""
WAITING_MAX: Final = 400
"""At 1,000 answers a second the last of them waits 0.4 s."""


BODY_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of the bodies that are held at a time, whoever sends them: they are held before their signature can be checked."""
PEER_SHARE: Final = 4
KEY_SHARE: Final = 2
"""One address has at most a fourth of that, and one key half."""
OWN_BYTES: Final = 16 * 1024
"""Of each body, besides: what a server with so many connections holds anyhow. Nearly every request is smaller, so whoever fills
the room with large ones, by an id of a key that is no secret, keeps none of those out."""
TOLD_SECONDS: Final = 10.0

_log = structlog.get_logger(__name__)


class _Turn:
    """Somebody who waits."""

    def __init__(self) -> None:
        self.come = anyio.Event()
        self.refused = False


class Admission:
    """Runs synchronous work in threads, within those limits. For one event loop.

    Who waits is served in turn by party (an address with a key), not by arrival; and when no more may wait, it is the party with
    the most that gives way. So one that sends without end waits for itself, and keeps no other out.
    """

    def __init__(self, working: int = WORKING_MAX, waiting: int = WAITING_MAX) -> None:
        self._limiter = anyio.CapacityLimiter(working)
        self._working_max = working
        self._waiting_max = waiting
        self._working = 0
        self._waiting = 0
        self._queues: OrderedDict[Party, deque[_Turn]] = OrderedDict()
        """By party, the next to be served first; no queue is empty."""
        self._refused = 0
        self._told_at = -math.inf

    def _tell(self) -> None:
        """At most once in ten seconds, so that telling does not add to the load."""
        self._refused += 1
        now = time.monotonic()
        if now - self._told_at >= TOLD_SECONDS:
            _log.warning("more requests than can be answered soon; some are refused with SlowDown", refused=self._refused)
            self._told_at = now
            self._refused = 0

    async def run(self, party: Party, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The work's result. Raises Overloaded when too many wait already, and while it waits when it has to give way."""
        if self._working < self._working_max:
            self._working += 1
        else:
            await self._wait(party)
        try:
            return await run_sync(lambda: work(*args, **kwargs), limiter=self._limiter)
        finally:
            self._pass_on()

    async def _wait(self, party: Party) -> None:
        if self._waiting >= self._waiting_max:
            self._make_room(party)
        turn = _Turn()
        self._queues.setdefault(party, deque()).append(turn)
        self._waiting += 1
        try:
            await turn.come.wait()
        except BaseException:
            if not turn.come.is_set():
                self._leave(party, turn)
            elif not turn.refused:
                self._pass_on()
            raise
        if turn.refused:
            self._refuse()

    def _pass_on(self) -> None:
        """A place has become free."""
        if not self._queues:
            self._working -= 1
            return
        party, queue = next(iter(self._queues.items()))
        turn = queue[0]
        self._leave(party, turn)
        if party in self._queues:
            self._queues.move_to_end(party)
        turn.come.set()

    def _make_room(self, party: Party) -> None:
        most = max(self._queues, key=lambda one: len(self._queues[one]), default=party)
        if len(self._queues.get(most, ())) <= len(self._queues.get(party, ())) + 1:
            self._refuse()
        turn = self._queues[most][-1]
        self._leave(most, turn)
        turn.refused = True
        turn.come.set()

    def _leave(self, party: Party, turn: _Turn) -> None:
        queue = self._queues[party]
        queue.remove(turn)
        self._waiting -= 1
        if not queue:
            del self._queues[party]

    def _refuse(self) -> NoReturn:
        self._tell()
        raise Overloaded("More requests are waiting than can be answered soon. Please reduce your request rate.")


class BodyRoom:
    """How much of bodies may be held at a time. For one event loop."""

    def __init__(self, most: int = BODY_BYTES_MAX, own: int = OWN_BYTES) -> None:
        self._most = most
        self._own = own
        self._all = 0
        self._by_peer: Counter[str] = Counter()
        self._by_key: Counter[str | None] = Counter()

    @contextlib.contextmanager
    def hold(self, peer: str, key: str | None) -> Iterator[Callable[[int], None]]:
        """Takes room by the function that it gives, until the block ends. The function raises Overloaded when there is none, or
        none for the address `peer`, or the key that the request names (None = it names none that is known)."""
        received = taken = 0

        def take(size: int) -> None:
            nonlocal received, taken
            received += size
            size = max(0, received - self._own) - taken
            if not size:
                return
            if (
                self._all + size > self._most
                or self._by_peer[peer] + size > self._most // PEER_SHARE
                or self._by_key[key] + size > self._most // KEY_SHARE
            ):
                raise Overloaded("More requests are being received than there is room for. Please reduce your request rate.")
            self._all += size
            self._by_peer[peer] += size
            self._by_key[key] += size
            taken += size

        try:
            yield take
        finally:
            self._all -= taken
            _give_back(self._by_peer, peer, taken)
            _give_back(self._by_key, key, taken)


def _give_back(counted: Counter[K], name: K, amount: int) -> None:
    counted[name] -= amount
    if not counted[name]:
        del counted[name]
