"""How a running job looks: the pure part (numbers, rate, time left, one line of text) and the two ways to show it."""

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

TERMINAL: Final = frozenset({"Complete", "Cancelled", "Failed"})
_WINDOW_SECONDS: Final = 15.0
_LINE_SECONDS: Final = 10.0
_WITHOUT_TASKS: Final = {
    "New": "waits to be prepared",
    "Preparing": "reads the manifest",
    "Completing": "writes the report",
    "Cancelling": "stops and writes the report",
    "Failing": "stops and writes the report",
}


@dataclass(frozen=True)
class State:
    """What one DescribeJob says about progress; counts are tasks."""

    job_id: str
    status: str
    total: int
    """0 = not known yet."""
    succeeded: int
    failed: int
    failures: Mapping[str, int] = field(default_factory=dict)
    """Failed tasks by code, where the server tells (Haulier does, AWS does not)."""

    @property
    def executed(self) -> int:
        """Tasks that have their outcome."""
        return self.succeeded + self.failed

    @classmethod
    def of(cls, job: Mapping[str, Any]) -> "State":
        """From the Job of a DescribeJob answer."""
        counts = job.get("ProgressSummary") or {}
        return cls(
            job["JobId"],
            job["Status"],
            counts.get("TotalNumberOfTasks") or 0,
            counts.get("NumberOfTasksSucceeded") or 0,
            counts.get("NumberOfTasksFailed") or 0,
            counts.get("FailuresByCode") or {},
        )


class Pace:
    """The rate of the last 15 s, from samples of (seconds, tasks executed)."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def add(self, now: float, executed: int) -> None:
        """One more sample; `now` is a monotonic clock's."""
        self._samples.append((now, executed))
        while len(self._samples) > 2 and self._samples[1][0] <= now - _WINDOW_SECONDS:
            self._samples.popleft()

    @property
    def rate(self) -> float | None:
        """Tasks a second; None while there is nothing to measure."""
        if len(self._samples) < 2:
            return None
        (begun, before), (ended, after) = self._samples[0], self._samples[-1]
        return (after - before) / (ended - begun) if ended > begun and after >= before else None


def text(state: State, rate: float | None, now: datetime) -> str:
    """The job in one line: status, share, counts, rate, time left and by the clock, failures."""
    if state.status == "Suspended":
        return f"Suspended, {state.total:,} tasks wait for: haulier job confirm {state.job_id}"
    parts = [state.status]
    if state.status in _WITHOUT_TASKS:
        parts[0] += f" ({_WITHOUT_TASKS[state.status]})"
    if state.total:
        parts.append(f"{100 * state.executed // state.total} %")
        parts.append(f"{state.executed:,} of {state.total:,}")
    if state.status == "Active" and rate is not None:
        parts.append(f"{rate:,.0f}/s")
        if rate > 0:
            seconds = math.ceil((state.total - state.executed) / rate)
            parts.append(f"{duration(seconds)} left, ends {_clock(now, seconds)}")
    if state.failed:
        codes = ", ".join(f"{count:,} {code}" for code, count in sorted(state.failures.items(), key=lambda item: -item[1]))
        parts.append(f"{state.failed:,} failed" + (f" ({codes})" if codes else ""))
    return ", ".join(parts)


def summary(state: State) -> str:
    """The last word on a job that ended."""
    counts = f"{state.succeeded:,} succeeded, {state.failed:,} failed"
    return (
        f"{state.job_id} {state.status}: {counts} of {state.total:,}"
        if state.total
        else f"{state.job_id} {state.status}: no task ran"
    )


def duration(seconds: int) -> str:
    """`42 s`, `3 m 05 s`, `4 h 10 m`, `2 d 3 h`."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes_rest = divmod(minutes, 60)
    days, hours_rest = divmod(hours, 24)
    if days:
        return f"{days:,} d {hours_rest} h"
    if hours:
        return f"{hours} h {minutes_rest:02} m"
    return f"{minutes} m {rest:02} s" if minutes else f"{rest} s"


def _clock(now: datetime, seconds: int) -> str:
    try:
        ends = now + timedelta(seconds=seconds)
    except OverflowError:
        return "not in our time"
    return ends.strftime("%H:%M:%S" if ends.date() == now.date() else "%Y-%m-%d %H:%M")


# -- showing -----------------------------------------------------------------------------------------------------------------


class View(Protocol):
    """Shows one state after another on standard error."""

    def show(self, state: State) -> None:
        """The newest state."""
        ...

    def say(self, message: str) -> None:
        """A line that stays."""
        ...

    def close(self) -> None:
        """Leave the screen in order."""
        ...


class Lines:
    """Plain lines: one at each change of status, else one per `every` seconds."""

    def __init__(self, console: Console, clock: Callable[[], float], every: float = _LINE_SECONDS) -> None:
        self._every = every
        self._console = console
        self._clock = clock
        self._pace = Pace()
        self._shown: tuple[str, float] | None = None

    def show(self, state: State) -> None:
        """The newest state, if it is worth a line."""
        now = self._clock()
        self._pace.add(now, state.executed)
        if self._shown is None or self._shown[0] != state.status or now - self._shown[1] >= self._every:
            self._shown = (state.status, now)
            moment = datetime.now().astimezone()
            self.say(f"{moment:%H:%M:%S} {text(state, self._pace.rate, moment)}")

    def say(self, message: str) -> None:
        """A line."""
        self._console.print(message, soft_wrap=True, highlight=False, markup=False)

    def close(self) -> None:
        """Nothing is open."""


class Bar:
    """A bar that stays in its place, for a terminal."""

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._pace = Pace()
        self._progress = Progress(BarColumn(bar_width=30), TextColumn("{task.description}", markup=False), console=console)
        self._task = self._progress.add_task("", total=None)
        self._progress.start()

    def show(self, state: State) -> None:
        """The newest state."""
        self._pace.add(self._clock(), state.executed)
        described = text(state, self._pace.rate, datetime.now().astimezone())
        self._progress.update(
            self._task, description=described, total=state.total or None, completed=state.executed, refresh=True
        )

    def say(self, message: str) -> None:
        """A line above the bar."""
        self._progress.console.print(message, highlight=False, markup=False)

    def close(self) -> None:
        """Give the cursor back."""
        self._progress.stop()


def view(clock: Callable[[], float], line_seconds: float = _LINE_SECONDS) -> View:
    """A bar where standard error is a terminal, else lines, so many seconds apart."""
    console = Console(stderr=True)
    return Bar(console, clock) if console.is_terminal and not console.is_dumb_terminal else Lines(console, clock, line_seconds)
