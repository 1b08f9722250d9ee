"""The Engine port: the set of runners, and frames to and from them. Nothing in it is durable."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from haulier.engine.frames import Down, Events


class FromRunner(msgspec.Struct, frozen=True):
    """A runner said something (or only that it lives)."""

    runner: str
    events: Events


class RunnerJoined(msgspec.Struct, frozen=True):
    """A runner is ready for units. Names are never used twice."""

    runner: str


class RunnerLost(msgspec.Struct, frozen=True):
    """The runner is gone for certain: it can send no further request."""

    runner: str
    reason: str


Notice = FromRunner | RunnerJoined | RunnerLost


class Engine(Protocol):
    """Starts, supervises and replaces runners, and carries frames. `send` and `receive` belong to the coordinator's thread.

    Frames arrive in order, none is missing as long as the runner lives, and one with events may come twice: their numbers tell.
    """

    def start(self) -> None:
        """Bring up the runners; each is announced by RunnerJoined."""
        ...

    def send(self, runner: str, frame: Down) -> None:
        """Queue a frame for the runner; silently nothing if it is gone (RunnerLost tells)."""
        ...

    def receive(self, wait_seconds: float) -> Sequence[Notice]:
        """What came since the last call; waits so long for the first notice or a `wake`."""
        ...

    def wake(self) -> None:
        """Let `receive` return now. From any thread."""
        ...

    def wind_down(self) -> None:
        """Replace no runner that ends from now on."""
        ...

    def stop(self) -> None:
        """End all runners at once; returns when none lives."""
        ...
