"""The named places where a process can end by kill -9: before and after everything that another process or a disk will see.

One place and one of its passings are drawn for each seed. Together with crashes at moments of the clock they reach every await:
between two places nothing happens that anyone could tell from a crash at the first of them.
"""

from collections import Counter
from typing import Final

from haulier.testing.simulation.hub import Process

REQUESTS: Final = ("task", "look back", "manifest read", "report part", "report's manifest", "other request")
"""Kinds of requests to a store, by what they are for."""
_STAGES: Final = ("before sending", "sent", "carried out", "answered")
_FILES: Final = ("chunk", "segment", "sealed file")
_WRITES: Final = ("before writing", "not synced", "durable")

RUNNER: Final = (
    *(f"{request}: {stage}" for request in REQUESTS for stage in _STAGES),
    *(f"{file}: {stage}" for file in _FILES for stage in _WRITES),
    "events: before telling",
    "events: told",
    "frame: taken",
)
SERVER: Final = (
    "epoch: begun",
    "commit: before",
    "commit: in the transaction",
    "commit: done",
    "call: in the transaction",
    "call: done",
    "units: before sending",
    "units: sent",
    "lease: before renewing",
    "events: taken",
    "outdated files: before removing",
    "outdated files: removed",
)
ALL: Final = (*SERVER, *RUNNER)


class CrashPoints:
    """Counts the passings of all places, and ends who passes the chosen one for the chosen time."""

    def __init__(self, place: str | None, passing: int) -> None:
        self.passed = Counter[str]()
        self._place = place
        self._passing = passing
        self.hit: str | None = None
        """The place where a process was ended."""

    def reach(self, place: str, process: Process) -> None:
        """A strand of the process, or what happens in it, is at the place. Raises Crash there."""
        if self.due(place):
            process.crash()

    def due(self, place: str) -> bool:
        """Whether who passes the place has to be ended now."""
        self.passed[place] += 1
        if place != self._place or self.passed[place] != self._passing:
            return False
        self.hit = place
        return True
