"""How often an account may ask: requests per second, with a burst of some seconds' worth (decisions §1, "Tenants")."""

import threading
from typing import Final

from haulier.core.errors import TooManyRequests
from haulier.core.ports import Clock

BURST_SECONDS: Final = 2.0
"""What an account did not use for so long may be used at once."""


class RequestRates:
    """Counts per account. Safe to use from any thread.

    Of each account one moment is kept: when all that was taken so far would be used up at its rate. A request fits when that is
    less than a burst ahead, so nothing has to be filled up as time goes by.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._used_up_at: dict[str, float] = {}

    def take(self, account: str, per_second: float | None) -> None:
        """One request of the account. Raises TooManyRequests, and then counts nothing; no rate is no limit."""
        if per_second is None:
            return
        step = 1.0 / per_second
        now = self._clock.monotonic()
        with self._lock:
            used_up_at = max(self._used_up_at.get(account, now), now) + step
            # At least one request always fits, however low the rate.
            if used_up_at - now > max(BURST_SECONDS, step) + step * 1e-6:
                raise TooManyRequests(
                    f"Account {account!r} may send {per_second:g} requests a second. Please reduce your request rate."
                )
            self._used_up_at[account] = used_up_at
