"""How hard a store may be pressed: concurrency, retry quota and breaker of one (store, bucket, role), shared by all its jobs.

Pure decisions; time comes in as an argument. Rules: reliability §4.
"""

from typing import Final

from haulier.core.grants import Grant
from haulier.core.ports import Clock
from haulier.objectstore.gate import Gate
from haulier.objectstore.retry import RetryQuota

WINDOW_START: Final = 32
CUT: Final = 0.7
CUT_SECONDS: Final = 0.5
"""Answers to requests sent before a cut must not cut again."""
FAILURES_MAX: Final = 50
FAILURES_FEW: Final = 5
FEW_SECONDS: Final = 0.5
"""So many failures, and nothing else for so long, open the breaker too: a job with few requests in flight would take very long to
collect more, and use up its tries."""
PROBE_SECONDS: Final = 1.0
PROBE_SECONDS_MAX: Final = 30.0
PROBE_LOST_SECONDS: Final = 120.0


class Window:
    """How many requests may be in flight: one more after a clean window, 0.7 of it when throttled, 1 at least."""

    __slots__ = ("_clean", "_cut_at", "_width", "maximum")

    def __init__(self, maximum: int, start: int = WINDOW_START) -> None:
        self.maximum = max(1, maximum)
        self._width = float(min(start, self.maximum))
        self._clean = 0
        self._cut_at = float("-inf")

    @property
    def width(self) -> int:
        """Requests in flight at most."""
        return int(self._width)

    def clean(self) -> None:
        """An answer without complaint."""
        self._clean += 1
        if self._clean >= self._width:
            self._clean = 0
            self._width = min(self._width + 1, self.maximum)

    def throttled(self, now: float) -> None:
        """The store asked for less."""
        self._clean = 0
        if now - self._cut_at >= CUT_SECONDS:
            self._cut_at = now
            self._width = max(1.0, self._width * CUT)


class Breaker:
    """Holds tasks while a store cannot be reached, instead of failing millions: opens after 50 connection-class failures in a
    row, or a few that nothing interrupts for half a second, then lets one request through at growing intervals, and closes on any
    answer of the store's own. How long an outage may last is not for it to say."""

    __slots__ = ("_delay", "_failing_since", "_probe_at", "_probing_since", "failures", "reason")

    def __init__(self) -> None:
        self.reason: str | None = None
        """Why it is open; None = closed."""
        self.failures = 0
        """In a row, up to the last request."""
        self._delay = PROBE_SECONDS
        self._failing_since = self._probe_at = 0.0
        self._probing_since: float | None = None

    def answered(self) -> None:
        """Any answer of the store's own."""
        self.failures = 0
        self.reason = None
        self._probing_since = None

    def failed(self, now: float, reason: str) -> None:
        """No answer."""
        self.failures += 1
        if self.failures == 1:
            self._failing_since = now
        if self.reason is None:
            few = self.failures >= FAILURES_FEW and now - self._failing_since >= FEW_SECONDS
            if self.failures < FAILURES_MAX and not few:
                return
            self.reason = reason
            self._delay = PROBE_SECONDS
            self._probe_at = now + self._delay
        elif self._probing_since is not None:
            self.reason = reason
            self._probing_since = None
            self._delay = min(PROBE_SECONDS_MAX, self._delay * 2)
            self._probe_at = now + self._delay

    def may_probe(self, now: float) -> bool:
        """Whether the caller may send the one request that shows whether the store is back."""
        if self._probing_since is not None and now - self._probing_since < PROBE_LOST_SECONDS:
            return False
        if now < self._probe_at:
            return False
        self._probing_since = now
        return True

    def not_probed(self) -> None:
        """Who was to send that request was called back before: another may."""
        self._probing_since = None

    def wait_seconds(self, now: float) -> float:
        """How long a held task should sleep before it asks again."""
        return min(PROBE_SECONDS, max(0.05, self._probe_at - now))


class Throttle:
    """How hard one (store, bucket, role) may be pressed by one runner, within what its gate lets through to the store.

    The runner asks `room` how many more tasks may start and tells `acquired` and `released`; the store tells how each request
    went and waits where it must.
    """

    __slots__ = ("_clock", "breaker", "gate", "in_use", "quota", "window")

    def __init__(self, clock: Clock, in_flight_max: int, *, gate: Gate | None = None) -> None:
        """`in_flight_max` is the store's; `gate` says how much of it this runner has: all of it without one."""
        self._clock = clock
        self.window = Window(in_flight_max)
        self.quota = RetryQuota()
        self.breaker = Breaker()
        self.gate = gate or Gate(clock, Grant(in_flight_max))
        self.in_use = 0

    @property
    def held(self) -> str | None:
        """Why tasks are held; None while the store is reached."""
        return self.breaker.reason

    def room(self) -> int:
        """How many more tasks may start now. While tasks are held one may be on its way, so that someone probes."""
        width = self.window.width if self.breaker.reason is None else 1
        room = width - self.in_use
        return min(room, self.gate.room()) if room > 0 else 0

    def share(self) -> int:
        """How many requests one task may have in flight when all that run have as many; 1 at least."""
        width = self.window.width if self.breaker.reason is None else 1
        return max(1, min(width, self.gate.grant.in_flight) // max(1, self.in_use))

    def acquired(self, tasks: int = 1) -> None:
        """So many tasks were started; a batch is one."""
        self.in_use += tasks
        self.gate.tasks += tasks

    def released(self, tasks: int = 1) -> None:
        """So many tasks have ended."""
        self.in_use -= tasks
        self.gate.tasks -= tasks

    def succeeded(self, returned: int = 1) -> None:
        """A request went well, or was refused for what it asks; `returned` are the quota tokens that its retries took, or 1."""
        self.window.clean()
        quota = self.quota
        if quota.tokens != quota.FULL:
            quota.give(returned)
        if self.breaker.failures:
            self.breaker.answered()

    def answered(self) -> None:
        """The store answered, and it says nothing of its load: the token or the time was wrong, or the store had trouble."""
        self.breaker.answered()

    def throttled(self) -> None:
        """The store asked for less."""
        self.breaker.answered()
        self.window.throttled(self._clock.monotonic())

    def failed(self, reason: str) -> None:
        """No answer came."""
        self.breaker.failed(self._clock.monotonic(), reason)
