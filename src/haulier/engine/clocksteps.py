"""Steps of our clock: by how much a time that was stored may lie too late, because the clock was put back since.

What somebody wrote after the first attempt at a row is told by times: the attempt's by our clock, the object's by the store's,
and how far apart the two clocks are now (`ObjectStore.ahead_ms`). A clock that was put back in between makes the attempt look
later than it was, and what others wrote in that time would be taken for older, and destroyed. So steps back are kept, and stored
times are read as early as they can have been: what is in question then counts as written since, and is left alone.

A step shows in the difference between the wall clock and the time since the machine's boot, which no one sets and which goes
at the same rate. It is kept in a file beside the database, so that steps while no server ran are seen too, as long as the machine
was not booted anew. A stored time that lies in the future is proof of a step of unknown size.
"""

import json
import os
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import structlog

from haulier.core.chunk import Chunk
from haulier.core.ports import Clock

STEP_MS: Final = 1_000
"""Less is no step, but what reading two clocks one after the other makes."""
KEPT_MS: Final = 100 * 86_400_000
"""Longer than any row can be in doubt."""
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")

_log = structlog.get_logger(__name__)


class Boot(NamedTuple):
    """Which boot of the machine this is, and how long ago it was; by a clock that nobody sets."""

    name: str
    elapsed_ms: int


@cache
def _boot_name() -> str | None:
    """The same as long as we run."""
    try:
        return BOOT_ID.read_text("ascii").strip()
    except OSError:
        return None


def this_boot() -> Boot | None:
    """None where the system does not tell."""
    name = _boot_name()
    return None if name is None else Boot(name, time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000)


class _Kept(msgspec.Struct):
    boot: str
    offset_ms: int
    """Wall clock minus time since boot, when last looked at."""
    steps: list[tuple[int, int]] = []
    """When the clock was put back (by the new time), and by how many ms."""


class ClockSteps:
    """Belongs to the coordinator's thread."""

    def __init__(self, file: Path, clock: Clock, boot: Callable[[], Boot | None] = this_boot) -> None:
        self._file = file
        self._clock = clock
        self._boot = boot
        self._kept = self._read()

    def look(self) -> None:
        """Notice a step since the last look, and keep it. Raises OSError where it cannot be kept."""
        boot = self._boot()
        if boot is None:
            return
        now_ms = self._clock.now_ms()
        offset_ms = now_ms - boot.elapsed_ms
        kept = self._kept
        if kept is not None and kept.boot == boot.name and abs(offset_ms - kept.offset_ms) < STEP_MS:
            return
        steps = [] if kept is None else [step for step in kept.steps if step[0] > now_ms - KEPT_MS]
        if kept is not None and kept.boot == boot.name and (back_ms := kept.offset_ms - offset_ms) > 0:
            _log.warning("the clock was put back; objects written since then are left alone", milliseconds=back_ms)
            steps.append((now_ms, back_ms))
        after = _Kept(boot.name, offset_ms, steps)
        self._write(after)
        self._kept = after

    def earliest(self, at_ms: int) -> int:
        """The earliest moment, by our clock as it is now, that a stored time can mean; 0 for one that is still to come."""
        if at_ms > self._clock.now_ms() + STEP_MS:
            return 0
        steps = () if self._kept is None else self._kept.steps
        return at_ms - sum(back_ms for step_ms, back_ms in steps if step_ms > at_ms - back_ms)

    def seen_from_now(self, chunk: Chunk) -> Chunk:
        """The chunk with the earliest moment at which it can have been opened first."""
        if chunk.first_opened_ms is None:
            return chunk
        earliest = self.earliest(chunk.first_opened_ms)
        return chunk if earliest == chunk.first_opened_ms else msgspec.structs.replace(chunk, first_opened_ms=earliest)

    def _read(self) -> _Kept | None:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=_Kept)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            _log.warning("what is known of the clock cannot be read; it is begun anew", error=str(error))
            return None

    def _write(self, kept: _Kept) -> None:
        beside = self._file.with_suffix(".new")
        with beside.open("w", encoding="ascii") as file:
            json.dump(msgspec.to_builtins(kept), file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._file)
