"""The system's own time, as a `Clock`, and time as text."""

import datetime as dt
import time


def timestamp(unix_ms: int) -> str:
    """A moment as ISO 8601 with milliseconds, in UTC: `2030-01-02T03:04:05.678Z`."""
    moment = dt.datetime.fromtimestamp(unix_ms // 1000, dt.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{unix_ms % 1000:03}Z"


class SystemClock:
    """Wall clock and monotonic clock of this machine."""

    def now_ms(self) -> int:
        """Unix time in milliseconds."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return time.monotonic()
