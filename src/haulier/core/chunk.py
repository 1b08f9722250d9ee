"""Chunks: contiguous runs of a job's tasks, the unit a runner is given; and the rules of their sizes and horizons.

Rows inside a chunk are counted from the chunk's own first row ("position"); `first_row + position` is the row of the manifest.
Rules: decisions §3 ("Ledger", "Start horizon", "Chunk size").
"""

from typing import Final

import msgspec

FIRST_HORIZON: Final = 5_000
"""Positions that a runner may start before its first flush is committed."""
FLUSH_OUTCOMES: Final = 5_000
FLUSH_SECONDS: Final = 1.0
CHUNK_ROWS_MIN: Final = 1_000
CHUNK_ROWS_MAX: Final = 100_000
FIRST_CHUNK_ROWS: Final = 500
FIRST_CHUNKS: Final = 4
EQUAL_KEYS_MAX: Final = 10_000
"""A chunk is not cut between adjacent rows of one key, up to this many rows beyond its size."""
LEASE_SECONDS: Final = 10.0
GRACE_SECONDS: Final = 5.0


class Attempt(msgspec.Struct, frozen=True, order=True, array_like=True):
    """Names one handing-out of a chunk (or of another unit): coordinator epoch and a counter within it."""

    epoch: int
    counter: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.counter}"


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A committed flush of outcomes of an open chunk; `name` is its file in the spool."""

    job: str
    chunk: int
    attempt: Attempt
    sequence: int
    name: str
    rows: int
    failed: int


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the ledger.

    A chunk is *staged* (its file lies in the spool), then *opened* (may be handed out; the moment is kept because requests
    for its rows may have been sent from then on), then *sealed* (one file holds all its outcomes).
    """

    job: str
    index: int
    first_row: int
    rows: int
    name: str
    """Its file in the spool."""
    opened_ms: int | None = None
    """Not None: it may have been handed out."""
    first_opened_ms: int | None = None
    """The first time it was opened: no request for any of its rows can be older."""
    horizon: int = 0
    """Positions below it may have been started; those without an outcome are in doubt after a crash."""
    sealed_name: str | None = None
    succeeded: int = 0
    failed: int = 0
    """Counts of the sealed file; 0 before."""

    @property
    def sealed(self) -> bool:
        """Whether every row has its outcome."""
        return self.sealed_name is not None


def chunk_rows(rows_staged: int) -> int:
    """How many rows the next chunk should have, given how many are staged already (decisions §3)."""
    if rows_staged < FIRST_CHUNKS * FIRST_CHUNK_ROWS:
        return FIRST_CHUNK_ROWS
    return min(max(rows_staged // 64, CHUNK_ROWS_MIN), CHUNK_ROWS_MAX)


def next_horizon(last_started: int, in_flight: int, recently_started: int, rows: int) -> int:
    """The horizon that a flush proposes: room for what may start until the next commit is acknowledged.

    `last_started` is the highest position started (-1: none), `recently_started` the positions started in the last 0.5 s.
    """
    return min(rows, last_started + 1 + max(2 * in_flight, recently_started, FIRST_HORIZON))
