"""How many requests are worked on at a time, and how many may wait: beyond that they are refused at once.

A server that queues without limit answers everybody late; one that refuses early answers most in time, and the rest come back
later: every SDK does so after 503 SlowDown.
"""

import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final, ParamSpec, TypeVar

import anyio
import structlog
from anyio.to_thread import run_sync

from haulier.core.errors import Overloaded

P = ParamSpec("P")
T = TypeVar("T")
K = TypeVar("K")

WORKING_MAX: Final = 16
"""Threads. They mostly wait for the interpreter and for commits; more would only take turns."""
WAITING_MAX: Final = 400
"""At 1,000 answers a second the last of them waits 0.4 s."""


BODY_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of the bodies that are held at a time, whoever sends them: they are held before their signature can be checked."""
PEER_SHARE: Final = 4
KEY_SHARE: Final = 2
"""One address has at most a fourth of that, and one key half: nobody can keep all others out."""
TOLD_SECONDS: Final = 10.0

_log = structlog.get_logger(__name__)


class Admission:
    """Runs synchronous work in threads, within those limits. For one event loop."""

    def __init__(self, working: int = WORKING_MAX, waiting: int = WAITING_MAX) -> None:
        self._limiter = anyio.CapacityLimiter(working)
        self._under_way_max = working + waiting
        self._under_way = 0
        self._refused = 0
        self._told_at = -math.inf

    def _tell(self) -> None:
        """At most once in ten seconds, so that telling does not add to the load."""
        now = time.monotonic()
        if now - self._told_at >= TOLD_SECONDS:
            _log.warning("more requests than can be answered soon; some are refused with SlowDown", refused=self._refused)
            self._told_at = now
            self._refused = 0

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The work's result. Raises Overloaded at once when too many wait already."""
        if self._under_way >= self._under_way_max:
            self._refused += 1
            self._tell()
            raise Overloaded("More requests are waiting than can be answered soon. Please reduce your request rate.")
        self._under_way += 1
        try:
            return await run_sync(lambda: work(*args, **kwargs), limiter=self._limiter)
        finally:
            self._under_way -= 1


class BodyRoom:
    """How much of bodies may be held at a time. For one event loop."""

    def __init__(self, most: int = BODY_BYTES_MAX) -> None:
        self._most = most
        self._all = 0
        self._by_peer: Counter[str] = Counter()
        self._by_key: Counter[str | None] = Counter()

    @contextlib.contextmanager
    def hold(self, peer: str, key: str | None) -> Iterator[Callable[[int], None]]:
        """Takes room by the function that it gives, until the block ends. The function raises Overloaded when there is none, or
        none for the address `peer`, or the key that the request names (None = it names none that is known)."""
        taken = 0

        def take(size: int) -> None:
            nonlocal taken
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
