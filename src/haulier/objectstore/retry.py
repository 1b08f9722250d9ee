"""When to try again, and after how long: pure decisions on plain values. The one retry layer (reliability §4)."""

from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from haulier.core.errors import StoreError

TRIES_MAX: Final = 8
DELAY_SECONDS: Final = 0.05
THROTTLED_DELAY_SECONDS: Final = 1.0
DELAY_SECONDS_MAX: Final = 20.0
RETRY_AFTER_SECONDS_MAX: Final = 5.0
"""How far a store's Retry-After may stretch a delay."""
PATIENCE_SECONDS: Final = 15 * 60.0
"""For so long throttled answers do not count against a task, nor do failures while the store is taken to be away."""


class Verdict(Enum):
    """What an answer means for trying again."""

    FINAL = auto()
    TRANSIENT = auto()
    """The store had trouble; the request was refused."""
    UNCERTAIN = auto()
    """It may or may not have been carried out: no answer, or one that cannot be read."""
    THROTTLED = auto()
    UNSENT = auto()
    """It never left: no connection could be made."""
    EXPIRED = auto()
    """The credentials are over: once more, if there are newer ones."""
    SKEWED = auto()
    """The store's clock is another: once more, by the store's time."""


_BY_CODE: Final = {
    "SlowDown": Verdict.THROTTLED,
    "SlowDownRead": Verdict.THROTTLED,
    "SlowDownWrite": Verdict.THROTTLED,
    "RequestLimitExceeded": Verdict.THROTTLED,
    "BandwidthLimitExceeded": Verdict.THROTTLED,
    "InternalError": Verdict.TRANSIENT,
    "ServiceUnavailable": Verdict.THROTTLED,
    "RequestTimeout": Verdict.TRANSIENT,
    "PriorRequestNotComplete": Verdict.TRANSIENT,
    "OperationAborted": Verdict.TRANSIENT,
    "ConditionalRequestConflict": Verdict.TRANSIENT,
    "ExpiredToken": Verdict.EXPIRED,
    "ExpiredTokenException": Verdict.EXPIRED,
    "RequestTimeTooSkewed": Verdict.SKEWED,
}
_BY_STATUS: Final = {
    408: Verdict.TRANSIENT,
    429: Verdict.THROTTLED,
    500: Verdict.TRANSIENT,
    502: Verdict.UNCERTAIN,
    503: Verdict.THROTTLED,
    504: Verdict.UNCERTAIN,
}


def classify(status: int, code: str) -> Verdict:
    """What an answer with this HTTP status and error code means. `status` 0 and unreadable successes are judged elsewhere."""
    found = _BY_CODE.get(code)
    if found is None and code.startswith(("Throttling", "TooManyRequests")):
        found = Verdict.THROTTLED
    return found or _BY_STATUS.get(status, Verdict.FINAL)


class RetryQuota:
    """A store in trouble must not be hit with retries on top: 500 tokens, -14 per transient retry, -5 per throttled one; a call
    that ends well returns what it took, or 1. An empty quota means longer waits, never a failure."""

    __slots__ = ("tokens",)

    FULL: Final = 500
    COSTS: Final = {Verdict.THROTTLED: 5, Verdict.TRANSIENT: 14, Verdict.UNCERTAIN: 14, Verdict.UNSENT: 14}

    def __init__(self) -> None:
        self.tokens = self.FULL

    def take(self, verdict: Verdict) -> int | None:
        """What the retry costs, taken; None when there is not enough left."""
        cost = self.COSTS.get(verdict, 0)
        if cost > self.tokens:
            return None
        self.tokens -= cost
        return cost

    def give(self, tokens: int = 1) -> None:
        """A call ended well."""
        self.tokens = min(self.FULL, self.tokens + tokens)


def delay_seconds(verdict: Verdict, number: int, random: Callable[[], float], retry_after: float | None = None) -> float:
    """Full jitter: random * min(20 s, base * 2^number), `number` counting from 0; Retry-After stretches it by 5 s at most."""
    base = THROTTLED_DELAY_SECONDS if verdict is Verdict.THROTTLED else DELAY_SECONDS
    delay = random() * min(DELAY_SECONDS_MAX, base * 2.0 ** min(number, 16))
    if retry_after is not None:
        delay = max(delay, min(retry_after, delay + RETRY_AFTER_SECONDS_MAX))
    return delay


class Tries:
    """The tries of one call so far, and what the next refusal leads to.

    `uncertain` = one of them may have been carried out; `since_ms` is then the earliest moment, by our clock.
    """

    __slots__ = ("_expired", "_random", "_skewed", "_started", "counted", "retries", "since_ms", "spent", "uncertain")

    def __init__(self, now: float, random: Callable[[], float]) -> None:
        self._started = now
        self._random = random
        self._expired = self._skewed = False
        self.counted = 0
        self.retries = 0
        self.spent = 0
        self.uncertain = False
        self.since_ms: int | None = None

    def refused(
        self,
        verdict: Verdict,
        *,
        now: float,
        quota: RetryQuota,
        begun_ms: int,
        retry_after: float | None = None,
        away: bool = False,
    ) -> float | None:
        """Seconds to wait before the next try; None = the refusal is final. `away`: this was an open breaker's probe."""
        if verdict is Verdict.FINAL:
            return None
        if verdict is Verdict.EXPIRED:
            again, self._expired = not self._expired, True
            return 0.0 if again else None
        if verdict is Verdict.SKEWED:
            again, self._skewed = not self._skewed, True
            return 0.0 if again else None
        if verdict is Verdict.UNCERTAIN and not self.uncertain:
            self.uncertain = True
            self.since_ms = begun_ms
        if self._counts(verdict, now, away=away):
            self.counted += 1
            if self.counted >= TRIES_MAX:
                return None
        cost = quota.take(verdict)
        self.spent += cost or 0
        delay = delay_seconds(verdict, self.retries if cost is not None else 16, self._random, retry_after)
        self.retries += 1
        return delay

    def _counts(self, verdict: Verdict, now: float, *, away: bool) -> bool:
        """A store that cannot be reached is the breaker's matter. A throttled answer counts only after a long time; so does a
        failure while the store seems to be away, for the last object of a job may be what makes it seem so."""
        if verdict is Verdict.UNSENT:
            return False
        return not (away or verdict is Verdict.THROTTLED) or now - self._started > PATIENCE_SECONDS

    def final(self, error: StoreError) -> StoreError:
        """The last refusal as the call's own: still unknown if any try was."""
        if not self.uncertain:
            return error
        return StoreError(
            error.status, error.code, error.message, unknown=True, since_ms=self.since_ms, request_id=error.request_id
        )
