"""What coordinator and runners tell each other, as values in msgpack; the same frames travel over pipes and through Ray.

Down: `Configure` once, then `Submit`, `Control` and `Renew`. Up: `Events`, at least one a second, as a sign of life. Events are
numbered; a runner keeps each until a `Renew` acknowledges it, which also says that what the event carries is durable.
"""

import struct
from typing import BinaryIO, Final

import msgspec

from haulier.core.accounts import Credentials, Role
from haulier.core.chunk import Attempt, Chunk, Segment
from haulier.core.failures import FailureClass
from haulier.core.grants import Grant, Usage
from haulier.core.job import Dialect, Manifest, OperationSpec, Placement, Report, Retry
from haulier.core.placement import Store
from haulier.operations.probing import Finding


class JobBrief(msgspec.Struct, frozen=True, kw_only=True):
    """What a runner must know of a job; `role` and `access` travel only in frames, never to disk."""

    id: str
    account: str
    dialect: Dialect
    manifest: Manifest
    operation: OperationSpec
    report: Report
    placements: tuple[Placement, ...]
    role: Role
    """Its scope; the keys in it are left out."""
    access: dict[str, Credentials]
    """Store name → the credentials that this job acts with there."""
    status: str
    reporting_ms: int | None = None
    tasks_max: int = 0
    retry: Retry | None = None
    spool_bytes_max: int | None = None
    """What staging its manifest may put into the spool."""
    succeeded: int = 0
    failed: int = 0
    limited: bool = False
    """Whether it has limits of its own: then nothing of it starts before the runner has a share of them."""


class RunChunk(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Run the rows of a chunk that have no committed outcome; of a job that ends early only find out what became of those in
    doubt."""

    attempt: Attempt
    job: str
    chunk: Chunk
    read_back: dict[str, int] = {}
    """By store: how many successes are still to be read back."""
    segments: tuple[Segment, ...]
    """Committed: their rows are skipped, and merged when the chunk is sealed."""
    doubt_below: int
    """Positions below it without an outcome are in doubt; the others were never sent."""
    settle: bool = False
    """Do nothing more: look what became of the rows in doubt (`settlerun`)."""
    blind: bool = False
    """Of a unit that settles: no store can be asked, so what became of the rows in doubt is unknown."""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where rows and outcomes lie of the job whose tasks a retry runs again."""

    chunks: tuple[Chunk, ...]
    segments: tuple[Segment, ...]


class PrepareJob(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Read the manifest and stage it; of a retry the rows that it runs again."""

    attempt: Attempt
    job: str
    source: Source | None = None
    """Of a retry."""


class WriteReport(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Write the completion report from the outcomes of these chunks."""

    attempt: Attempt
    job: str
    chunks: tuple[Chunk, ...]
    segments: tuple[Segment, ...]
    """Of chunks that were not finished."""
    report: Report | None = None
    """Where it goes, and how; None = as the job says."""


class ProbeStore(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Try the job's operation on a scratch object of the store (decisions §4)."""

    attempt: Attempt
    job: str
    store: str


Unit = RunChunk | PrepareJob | ProbeStore | WriteReport


# -- down ---------------------------------------------------------------------------------------------------------------------


class Configure(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The first frame of a runner's life."""

    runner: str
    stores: tuple[Store, ...]
    spool: str
    """The spool's folder."""
    scratch: str
    """A folder for temporary files."""


class Submit(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Take these units; the briefs of their jobs are replaced by these."""

    jobs: tuple[JobBrief, ...]
    units: tuple[Unit, ...]


class Control(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Give the chunks of these jobs back: start no further request, let those in flight end, flush. `shutdown` = all jobs, then
    the runner ends."""

    give_back: tuple[str, ...] = ()
    shutdown: bool = False


class Access(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """New credentials of a role on a store, for all that runs there."""

    account: str
    role: str
    store: str
    credentials: Credentials


class Renew(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Renews every lease, and acknowledges events up to and including this number."""

    acknowledged: int
    serial: int = 0
    """Of the grants; grows when they change."""
    grants: dict[str, Grant] = {}
    """By store: what the runner may do to it as long as its lease lasts."""


Down = Configure | Submit | Control | Access | Renew


# -- up -----------------------------------------------------------------------------------------------------------------------


class ChunkWritten(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Preparing: one more chunk lies in the spool."""

    attempt: Attempt
    chunk: Chunk


class Prepared(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Preparing has ended: the manifest has so many rows."""

    attempt: Attempt
    job: str
    total: int
    row_stores: tuple[str, ...]
    """Names of the stores that the rows are on."""
    placements: tuple[Placement, ...] = ()
    """Where the buckets lie that were found while preparing."""


class Probed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What a probe found."""

    attempt: Attempt
    job: str
    store: str
    finding: Finding


class Flushed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A segment lies in the spool; `horizon` is asked for with it."""

    attempt: Attempt
    segment: Segment
    horizon: int
    failures: tuple[FailureClass, ...] = ()
    """Why tasks of the segment failed."""
    read_back: dict[str, int] = {}
    """Successes of the segment that were read back, by store."""


class Sealed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Every row of the chunk has its outcome in the named file."""

    attempt: Attempt
    job: str
    chunk: int
    name: str
    succeeded: int
    failed: int
    failures: tuple[FailureClass, ...] = ()
    """Why tasks failed, without those that Flushed told already."""
    read_back: dict[str, int] = {}
    """Successes that were read back, by store, likewise."""


class Lied(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A store answered success and shows something else; the runner stops the chunk by itself."""

    attempt: Attempt
    job: str
    chunk: int
    store: str
    seen: str


class Rejected(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A store says that these credentials are over."""

    account: str
    role: str
    store: str
    access_key: str


class GivenBack(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The chunk was stopped; what it did is in its segments. Above `horizon` no row without an outcome can have been sent."""

    attempt: Attempt
    job: str
    chunk: int
    horizon: int
    settled: bool = False
    """No row of it is in doubt any more."""


class Delivered(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The report is where it belongs."""

    attempt: Attempt
    job: str


class Dropped(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A unit of whole files was given up because its job's were called back; the job may go on with another one."""

    attempt: Attempt
    job: str


class UnitFailed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The unit cannot be done. `code` is a FailureCode; `passing` = the same unit may succeed later."""

    attempt: Attempt
    job: str
    code: str
    reason: str
    passing: bool = False


Event = ChunkWritten | Prepared | Probed | Flushed | Sealed | Lied | Rejected | GivenBack | Delivered | Dropped | UnitFailed


class Events(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Events numbered from `first` on; empty = a sign of life."""

    first: int
    events: tuple[Event, ...]
    serial: int = 0
    """Of the grants that hold on the runner."""
    usage: dict[str, Usage] = {}
    """By store: what was done to it since the last time it was told; measured under these grants."""
    held: dict[str, str] = {}
    """By job, told with `usage`: why tasks of it are held here."""


# -- carriage -----------------------------------------------------------------------------------------------------------------

FRAME_BYTES_MAX: Final = 256 << 20
_LENGTH: Final = struct.Struct(">I")
_encode: Final = msgspec.msgpack.Encoder().encode
_down: Final = msgspec.msgpack.Decoder(Down)
_up: Final = msgspec.msgpack.Decoder(Events)


def write_frame(stream: BinaryIO, frame: Down | Events) -> None:
    """One frame, with its length in front. Raises OSError when the other side is gone."""
    data = _encode(frame)
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def _read(stream: BinaryIO) -> bytes | None:
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    size: int = _LENGTH.unpack(head)[0]
    if size > FRAME_BYTES_MAX:
        raise ValueError(f"a frame of {size} bytes is beyond the limit of {FRAME_BYTES_MAX}")
    data = stream.read(size)
    return data if len(data) == size else None


def read_down(stream: BinaryIO) -> Down | None:
    """The next frame for a runner; None when the coordinator is gone."""
    data = _read(stream)
    return None if data is None else _down.decode(data)


def read_up(stream: BinaryIO) -> Events | None:
    """The next frame from a runner; None when the runner is gone."""
    data = _read(stream)
    return None if data is None else _up.decode(data)
