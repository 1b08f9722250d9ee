"""What the coordinator holds in memory of one unfinished job: its chunks and where each of them is.

Everything here can be rebuilt from the job store. It may be *ahead* of it by the entries of the commit under way; therefore
nothing that depends on an entry (a handing-out, an acknowledgement) happens before the commit is done.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final

import msgspec

from haulier.core.chunk import FIRST_HORIZON, Attempt, Chunk, Segment
from haulier.core.job import Job
from haulier.engine.frames import RunChunk

SETTLE_LOSSES_MAX: Final = 3
"""A chunk that killed so many runners is looked at no more: the job would never end."""


class Held(msgspec.Struct, frozen=True):
    """A unit that a runner has."""

    attempt: Attempt
    runner: str


class JobRun:
    """One unfinished job. `job` is as last read from the store."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.file_unit: Held | None = None
        """The preparation, trial or report that runs now."""
        self.retry_at: float = 0.0
        """Monotonic time before which the file unit is not tried again."""
        self.retries = 0
        self.staging: list[Chunk] = []
        """Chunks of the preparation that runs now."""
        self.role_asked_at: float | None = None
        """Monotonic time at which it was last asked whether the job may still act as its role."""
        self.waits_for: str | None = None
        """Why it has no credentials, as its record was told."""
        self.told_untried = False
        """Whether its record was told of stores on which it runs without a trial."""
        self.trouble: str | None = None
        """Why a chunk could not be loaded, likewise."""
        self._away: dict[str, str] = {}
        """By runner: why it holds tasks of the job."""
        self._moved_on = False
        """Whether outcomes came since tasks were last held."""
        self.loaded = False
        self.chunks: dict[int, Chunk] = {}
        self.segments: dict[int, list[Segment]] = {}
        self.held: dict[int, Held] = {}
        self.losses: dict[int, int] = {}
        """How often a chunk's runner died since the chunk last made progress."""
        self.file_losses = 0
        """The same of the file unit."""
        self.settled: set[int] = set()
        """Chunks of a job that ends early, of which no row is in doubt any more."""
        self.settling: set[int] = set()
        """Those that a runner looks at for that."""
        self.blind: set[int] = set()
        """Those that cannot be looked at: what became of their rows in doubt is unknown."""
        self._closed: deque[int] = deque()
        self._opening: list[int] = []
        self._ready: deque[int] = deque()
        self._lost: list[int] = []
        self._doubt: dict[int, int] = {}
        self.unsealed = 0

    def load(self, chunks: Iterable[Chunk], segments: Iterable[Segment]) -> None:
        """Take the ledger over from the store. Chunks that were opened by an earlier coordinator may have been handed out."""
        self.loaded = True
        self.chunks = {chunk.index: chunk for chunk in chunks}
        self.segments = {}
        for segment in segments:
            self.segments.setdefault(segment.chunk, []).append(segment)
        self._closed.clear()
        self._ready.clear()
        self._lost.clear()
        self._opening.clear()
        for chunk in self.chunks.values():
            if chunk.sealed:
                continue
            if chunk.opened_ms is None:
                self._closed.append(chunk.index)
            else:
                self._doubt[chunk.index] = chunk.horizon
                self._ready.append(chunk.index)
        self.unsealed = len(self._closed) + len(self._ready)

    # -- opening and handing out

    @property
    def available(self) -> int:
        """Chunks that can be handed out at once."""
        return len(self._ready)

    def open(self, want: int, now_ms: int) -> tuple[int, ...]:
        """Choose chunks to open until `want` are open and not handed out; `opened` makes them available after the commit."""
        chosen = []
        while self._closed and len(self._ready) + len(self._lost) + len(self._opening) < want:
            index = self._closed.popleft()
            chunk = self.chunks[index]
            self._doubt[index] = chunk.horizon
            self.chunks[index] = msgspec.structs.replace(
                chunk,
                opened_ms=now_ms,
                first_opened_ms=chunk.first_opened_ms if chunk.first_opened_ms is not None else now_ms,
                horizon=min(chunk.rows, chunk.horizon + FIRST_HORIZON),
            )
            self._opening.append(index)
            chosen.append(index)
        return tuple(chosen)

    def committed(self) -> None:
        """Everything known so far is durable: chunks that were opened, or that lost their runner, may go out now. Not before: a
        chunk goes out with its horizon and segments, and after a crash only those that were committed count."""
        self._ready.extendleft(self._lost)
        self._lost.clear()
        self._ready.extend(self._opening)
        self._opening.clear()

    def close(self) -> dict[int, int]:
        """Take back the opening of all chunks that no runner has: nothing was sent for them under it. Returns each with the
        horizon below which its rows are in doubt still, from before."""
        found = {index: self._doubt[index] for index in (*self._ready, *self._lost, *self._opening)}
        self._ready.clear()
        self._lost.clear()
        self._opening.clear()
        for index, horizon in found.items():
            self.chunks[index] = msgspec.structs.replace(self.chunks[index], opened_ms=None, horizon=horizon)
        self._closed = deque(sorted({*self._closed, *found}))
        return found

    def unsettled(self) -> list[int]:
        """Chunks that nobody has and that may hold rows in doubt; after `close`."""
        return [index for index in self._closed if self.chunks[index].horizon and index not in self.settled]

    def hand_out_settling(self, index: int, attempt: Attempt, runner: str) -> RunChunk:
        """The chunk as a unit that only looks at its rows in doubt, or tells that nobody can."""
        self._closed.remove(index)
        self.settling.add(index)
        self.held[index] = Held(attempt, runner)
        self._doubt[index] = self.chunks[index].horizon
        segments = tuple(self.segments.get(index, ()))
        chunk = self.chunks[index]
        return RunChunk(
            attempt=attempt,
            job=self.job.id,
            chunk=chunk,
            segments=segments,
            doubt_below=chunk.horizon,
            settle=True,
            blind=index in self.blind,
        )

    def settling_failed(self, index: int) -> bool:
        """The chunk cannot be looked at: next it is settled blindly. False where it was already: then its rows stay untold."""
        if index in self.blind:
            self.settled.add(index)
            return False
        self.blind.add(index)
        return True

    def hand_out(self, attempt: Attempt, runner: str, read_back: dict[str, int]) -> RunChunk:
        """The next available chunk as a unit for the runner, which reads back so many successes of each store."""
        index = self._ready.popleft()
        self.held[index] = Held(attempt, runner)
        return RunChunk(
            attempt=attempt,
            job=self.job.id,
            chunk=self.chunks[index],
            segments=tuple(self.segments.get(index, ())),
            doubt_below=self._doubt[index],
            read_back=read_back,
        )

    def doubt(self, index: int) -> int:
        """The position below which rows of the chunk were in doubt when it went out."""
        return self._doubt[index]

    # -- what runners tell

    def is_current(self, chunk: int, attempt: Attempt) -> bool:
        """Whether the chunk is held under this attempt: anything else is a late word of a lost runner."""
        held = self.held.get(chunk)
        return held is not None and held.attempt == attempt

    def chunk_of(self, attempt: Attempt) -> int | None:
        """The chunk that is held under this attempt."""
        return next((index for index, held in self.held.items() if held.attempt == attempt), None)

    def has_file_unit(self, attempt: Attempt) -> bool:
        """Whether the file unit that runs now has this attempt."""
        return self.file_unit is not None and self.file_unit.attempt == attempt

    def heard(self, runner: str, held: str | None) -> None:
        """A runner told whether it holds tasks of the job, because a store does not answer."""
        if held is None:
            self._away.pop(runner, None)
        else:
            self._away[runner] = held
            self._moved_on = False

    @property
    def away(self) -> str | None:
        """Why tasks of it are held, by a word of any runner."""
        return next(iter(self._away.values()), None)

    @property
    def goes_on(self) -> bool:
        """Whether outcomes came since tasks were last held: after a restart silence alone proves nothing."""
        return self._moved_on and not self._away

    def flushed(self, segment: Segment, horizon: int) -> None:
        """A segment was written."""
        self.segments.setdefault(segment.chunk, []).append(segment)
        self.losses.pop(segment.chunk, None)
        self.trouble = None
        self._moved_on = True
        chunk = self.chunks[segment.chunk]
        self.chunks[segment.chunk] = msgspec.structs.replace(chunk, horizon=max(chunk.horizon, horizon))

    def sealed(self, index: int, name: str, succeeded: int, failed: int) -> list[str]:
        """Every row has its outcome; returns the segment files that are needed no longer once this is committed."""
        self.chunks[index] = msgspec.structs.replace(self.chunks[index], sealed_name=name, succeeded=succeeded, failed=failed)
        del self.held[index]
        self.settling.discard(index)
        self.unsealed -= 1
        self._moved_on = True
        return [segment.name for segment in self.segments.pop(index, ())]

    def given_back(self, index: int, horizon: int) -> None:
        """The chunk was stopped cleanly; it is opened again before it goes out again."""
        self.settling.discard(index)
        self.chunks[index] = msgspec.structs.replace(self.chunks[index], opened_ms=None, horizon=horizon)
        del self.held[index]
        self._closed.appendleft(index)

    def runner_lost(self, runner: str) -> list[int]:
        """Take back what the runner held: rows below the horizon are in doubt now. Returns the chunks."""
        self._away.pop(runner, None)
        lost = [index for index, held in self.held.items() if held.runner == runner]
        for index in lost:
            del self.held[index]
            self.losses[index] = self.losses.get(index, 0) + 1
            if index in self.settling and self.losses[index] >= SETTLE_LOSSES_MAX and self.settling_failed(index):
                self.losses[index] = 0
            self.settling.discard(index)
            self._doubt[index] = self.chunks[index].horizon
            self._lost.append(index)
        if self.file_unit is not None and self.file_unit.runner == runner:
            self.file_unit = None
            self.file_losses += 1
        return lost

    def runners(self) -> set[str]:
        """Who holds chunks of this job."""
        return {held.runner for held in self.held.values()}

    def at_work(self) -> set[str]:
        """Who runs chunks of this job, and does not only settle them."""
        return {held.runner for index, held in self.held.items() if index not in self.settling}

    @property
    def losses_most(self) -> int:
        """The longest row of runner deaths without progress between them."""
        return max([self.file_losses, *self.losses.values()])

    def report_parts(self) -> tuple[tuple[Chunk, ...], tuple[Segment, ...]]:
        """What the report is made of."""
        with_outcomes = tuple(chunk for chunk in self.chunks.values() if chunk.sealed or chunk.index in self.segments)
        return with_outcomes, tuple(segment for segments in self.segments.values() for segment in segments)
