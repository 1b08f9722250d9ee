"""Whether work gets done: what `/readyz` asks, from any thread. The coordinator says what it is about to wait for."""

from typing import Final

from haulier.core.ports import Clock

STUCK_SECONDS: Final = 5.0
"""A turn takes a quarter of a second, and no call in it waits by intention."""


class Readiness:
    """Written by the coordinator's thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._turned_at: float | None = None
        self._waits_for = ""
        self.runners = 0
        """How many live."""
        self.trouble: str | None = None
        """Why work does not go on although the coordinator turns: a job store that refuses, a disk that is full."""
        self.over: str | None = None
        """Why there will be no further turn."""

    def waits_for(self, what: str) -> None:
        """The coordinator is about to call something that may never return."""
        self._waits_for = what

    def turned(self) -> None:
        """A turn has ended."""
        self._turned_at = self._clock.monotonic()

    @property
    def problem(self) -> str | None:
        """Why no work gets done now; None when all is well."""
        if self.over is not None:
            return self.over
        if self._turned_at is None:
            return self.trouble or "starting"
        still = self._clock.monotonic() - self._turned_at
        if still > STUCK_SECONDS:
            return f"the coordinator has been waiting for {self._waits_for} for {still:.0f} s"
        if self.trouble is not None:
            return self.trouble
        return None if self.runners else "no runner lives"
