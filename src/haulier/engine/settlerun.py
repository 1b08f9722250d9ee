"""Settling: a chunk of a job that ends early, whose rows in doubt are looked at once more, so that what was done is reported.

Nothing is done any more. A row that left a trace gets its outcome; one that left none was not done, and has none; one that cannot
be looked at, or not in time, ends as `OutcomeUnknown`.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from haulier.core.ports import Clock, Driver, Operation
from haulier.core.task import Outcome
from haulier.engine.chunkrun import ChunkRun, Lane, OutcomeWriter, Rows
from haulier.engine.frames import RunChunk
from haulier.engine.joblimits import JobGate
from haulier.operations.lookon import LookingOn

SETTLE_SECONDS: Final = 60.0
"""How long an ending job waits for a store that tells what became of its last requests."""
AWAY_SECONDS: Final = 10.0
"""The same of a store that does not answer at all."""
NOT_READ: Final = Outcome(0, "OutcomeUnknown", "whether it was carried out could not be read back before the job ended")


class SettleRun(ChunkRun):
    """Runs only the rows in doubt, and does nothing to them."""

    def __init__(
        self,
        unit: RunChunk,
        rows: Rows,
        done_rows: Sequence[int],
        operation: Operation,
        lanes: Mapping[str, Lane],
        *,
        driver: Driver,
        writer: OutcomeWriter,
        clock: Clock,
        gate: JobGate | None = None,
    ) -> None:
        super().__init__(unit, rows, done_rows, LookingOn(operation), lanes, driver=driver, writer=writer, clock=clock, gate=gate)
        self._begun = clock.monotonic()
        self._given_up = unit.blind

    def _limit(self) -> int:
        return self.unit.doubt_below

    def fill(self, room: int) -> int:
        """As of a chunk that runs; with nothing left to look at it ends."""
        started = 0 if self._given_up else super().fill(room)
        if not started:
            self._after()
        return started

    def tick(self) -> None:
        """As of a chunk that runs; and after some time what was not read is unknown."""
        most = SETTLE_SECONDS if self.held() is None else AWAY_SECONDS
        if not self.finished and not self._given_up and self._clock.monotonic() - self._begun >= most:
            self._given_up = True
            for started in tuple(self._started.values()):
                self._driver.wind_down(started)
        super().tick()

    def _dropped(self, positions: Sequence[int]) -> None:
        super()._dropped(positions)
        if self._given_up:
            for position in positions:
                self._note(position, NOT_READ)

    def _after(self) -> None:
        if self._given_up and not self._in_flight and not self.finished:
            for position in range(self.unit.doubt_below):
                if not self._done[position] and position not in self._untouched:
                    self._note(position, NOT_READ)
        over = self._given_up or (self._next >= self.unit.doubt_below and not self._ready)
        if over and not self._in_flight and not self.finished and self._left:
            self._give_back(settled=True)
        else:
            super()._after()
