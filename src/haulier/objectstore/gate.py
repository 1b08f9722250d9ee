"""What one runner may do to one store, over all buckets and roles: its grant of the store's limits, and how much of it is used.

Everything here belongs to the driver's thread. Time comes in by the clock.
"""

from collections.abc import Mapping
from typing import Final

from haulier.core.grants import Grant, Usage
from haulier.core.ports import Clock

LOOK_SECONDS: Final = 0.25
"""How soon a request that waits for its turn notices that the grant has changed."""
FULL_SECONDS: Final = 0.02
"""How soon one that waits for another to end notices it. Rare: the runner starts no more tasks than may have requests."""


class Pace:
    """Requests per second: each takes a ticket, and tickets come due at the rate that is granted now.

    When nothing was asked for some time a tenth of a second of requests may come at once, one at least. A change of the rate
    takes that credit away, or runners that pass a rate between them could exceed it.
    """

    __slots__ = ("_at", "_due", "_rate", "_taken")

    BURST_SECONDS: Final = 0.1

    def __init__(self, per_second: float, now: float) -> None:
        self._rate = per_second
        self._at = now
        self._taken = 0
        self._due = self._burst

    @property
    def per_second(self) -> float:
        """The rate; 0 = nothing may begin."""
        return self._rate

    @property
    def _burst(self) -> float:
        return max(1.0, self._rate * self.BURST_SECONDS)

    def _look(self, now: float) -> None:
        self._due = min(self._due + (now - self._at) * self._rate, self._taken + self._burst)
        self._at = now

    def change(self, per_second: float, now: float) -> None:
        """Tickets that are not due come due at this rate from now on."""
        self._look(now)
        self._rate = per_second
        self._due = min(self._due, float(self._taken))

    def ticket(self, now: float) -> int:
        """The next place in line."""
        self._look(now)
        self._taken += 1
        return self._taken

    def due(self, now: float) -> bool:
        """Whether the next ticket would be due at once."""
        self._look(now)
        return self._taken + 1 - self._due <= 1e-9

    def wait_seconds(self, ticket: int, now: float) -> float:
        """How long to sleep before asking again; 0 = the ticket is due."""
        self._look(now)
        missing = ticket - self._due
        if missing <= 1e-9:
            return 0.0
        return LOOK_SECONDS if not self._rate else min(LOOK_SECONDS, missing / self._rate)


class Gate:
    """One store in one runner. Without a grant nothing goes out."""

    __slots__ = ("_begun_before", "_clock", "_full", "_measured_at", "_paced", "begun", "grant", "in_flight", "most", "pace",
                 "server", "tasks")  # fmt: skip

    def __init__(self, clock: Clock, grant: Grant | None = None) -> None:
        self._clock = clock
        self.grant = Grant()
        self.pace: Pace | None = None
        self.tasks = 0
        """Tasks that run; each has a request in flight most of the time."""
        self.in_flight = 0
        self.most = 0
        """Requests in flight at most since the last `usage`."""
        self.begun = 0
        """Requests, ever."""
        self.server: str | None = None
        """The Server header of the last answer that was looked at."""
        self._full = self._paced = False
        self._begun_before = 0
        self._measured_at = clock.monotonic()
        if grant is not None:
            self.regrant(grant)

    def regrant(self, grant: Grant) -> None:
        """What holds from now on. Requests in flight beyond it end by themselves."""
        self.grant = grant
        now = self._clock.monotonic()
        if grant.per_second is None:
            self.pace = None
        elif self.pace is None:
            self.pace = Pace(grant.per_second, now)
        elif self.pace.per_second != grant.per_second:
            self.pace.change(grant.per_second, now)

    @property
    def wants_more(self) -> bool:
        """Whether it was held back since the last `usage`."""
        return self._full or self._paced

    def room(self) -> int:
        """How many more tasks may start."""
        room = self.grant.in_flight - self.tasks
        if room <= 0:
            self._full = True
            return 0
        return room

    def begin(self) -> None:
        """A request begins, whoever's turn it is: it takes its ticket, and the next ones wait the longer."""
        self.begun += 1
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        self.ticket()

    def due(self) -> bool:
        """Whether a request that begins now would not be before its time."""
        if self.pace is None or self.pace.due(self._clock.monotonic()):
            return True
        self._paced = True
        return False

    def full(self) -> bool:
        """Whether a request must wait for another to end."""
        if self.in_flight < self.grant.in_flight:
            return False
        self._full = True
        return True

    def ticket(self) -> int | None:
        """A place in the line for the next request; None where there is none."""
        return None if self.pace is None else self.pace.ticket(self._clock.monotonic())

    def wait_seconds(self, ticket: int) -> float:
        """How long the ticket's request must wait before it asks again; 0 = it may begin."""
        wait = 0.0 if self.pace is None else self.pace.wait_seconds(ticket, self._clock.monotonic())
        if wait:
            self._paced = True
        return wait

    def usage(self) -> Usage:
        """What was done since the last call."""
        now = self._clock.monotonic()
        seconds = max(now - self._measured_at, 0.001)
        usage = Usage(
            in_flight=self.most,
            holds=max(self.grant.in_flight, self.in_flight),
            per_second=(self.begun - self._begun_before) / seconds,
            full=self._full,
            paced=self._paced,
            server=self.server,
        )
        self.most = self.in_flight
        self._begun_before = self.begun
        self._measured_at = now
        self._full = self._paced = False
        return usage


class Gates:
    """The gates of one runner, by the store's name; made when first asked for. From any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._gates: dict[str, Gate] = {}

    def of(self, store: str) -> Gate:
        """The store's gate: without a grant until one comes."""
        return self._gates.setdefault(store, Gate(self._clock))

    def regrant(self, grants: Mapping[str, Grant]) -> None:
        """What holds from now on; a store that is not named has no grant any more."""
        for store in grants:
            self.of(store)
        for store, gate in tuple(self._gates.items()):
            gate.regrant(grants.get(store, Grant()))

    @property
    def want_more(self) -> bool:
        """Whether a store was held back since the last `usage`."""
        return any(gate.wants_more for gate in tuple(self._gates.values()))

    def usage(self) -> dict[str, Usage]:
        """What was done to each store since the last call."""
        return {store: gate.usage() for store, gate in tuple(self._gates.items())}
