"""The ports: what the parts need from each other, as protocols. Every implementation passes the suite in `haulier.testing`.

`JobStore` and `Spool` are synchronous and safe to call from any thread. `ObjectStore` methods are coroutines over
`core.effects`, run by a `Driver`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

import msgspec

from haulier.core.acl import Acl
from haulier.core.chunk import Chunk, Segment
from haulier.core.effects import Effect, HashedFile
from haulier.core.failures import FailureClass
from haulier.core.history import Happening, RecordedEvent
from haulier.core.job import Failure, Job, PausedBy, Placement, Waits
from haulier.core.lifecycle import JobEvent
from haulier.core.task import Disproof, Outcome, Task

T = TypeVar("T")


class Clock(Protocol):
    """Time is passed in, never reached for."""

    def now_ms(self) -> int:
        """Unix time in milliseconds."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow; for intervals and leases."""
        ...


class Audit(Protocol):
    """Where it is written down who did what, from where, and whether it was allowed (decisions §5)."""

    @property
    def problem(self) -> str | None:
        """Why nothing can be written down now; then nothing that changes anything should be done."""
        ...

    def record(self, entry: Mapping[str, Any], *, durable: bool = False) -> bool:
        """Add an entry: names and JSON values, `kind` first; None leaves a member out. With `durable`, True says that it is on
        disk; where it is not `problem` says why. Never raises."""
        ...


# -- job store ----------------------------------------------------------------------------------------------------------------


class ChunksStaged(msgspec.Struct, frozen=True, tag=True):
    """New chunks of a job in Preparing. `first=True` drops what an earlier preparation left."""

    job: str
    chunks: tuple[Chunk, ...]
    first: bool = False


class ChunksOpened(msgspec.Struct, frozen=True, tag=True):
    """These chunks may be handed out from now on: sets `opened_ms`, keeps the first such moment, and grants FIRST_HORIZON
    further positions beyond the chunk's horizon."""

    job: str
    chunks: tuple[int, ...]
    at_ms: int


class SegmentAdded(msgspec.Struct, frozen=True, tag=True):
    """A flush: counts once (by job, chunk, attempt, sequence), raises the chunk's horizon, adds to the job's counters.
    Changes nothing when the chunk is sealed."""

    segment: Segment
    horizon: int
    failures: tuple[FailureClass, ...] = ()
    """Why tasks of the segment failed; their counts add up to its `failed`."""
    read_back: dict[str, int] = {}
    """Successes of the segment that were read back, by store."""


class ChunkReleased(msgspec.Struct, frozen=True, tag=True):
    """A runner gave the chunk back after a clean stop: it must be opened again before the next handing-out. `horizon` is the
    first position that was not started."""

    job: str
    chunk: int
    horizon: int


class ChunkSealed(msgspec.Struct, frozen=True, tag=True):
    """Every row of the chunk has its outcome in one file: marks it, deletes its segment rows, and corrects the job's counters
    to the sealed counts. Changes nothing when the chunk is sealed already."""

    job: str
    chunk: int
    name: str
    succeeded: int
    failed: int
    failures: tuple[FailureClass, ...] = ()
    """Why tasks failed, without those that segments told already."""
    read_back: dict[str, int] = {}
    """Successes that were read back, by store, likewise."""


class JobMoved(msgspec.Struct, frozen=True, tag=True):
    """`lifecycle.advance` on the job as it is stored now. Skipped without error where the table has no such move (the user was
    faster): the caller looks at the job that `commit` returns."""

    job: str
    event: JobEvent
    total: int | None = None
    reason: str | None = None
    suspended_cause: str | None = None
    failure: Failure | None = None
    paused_by: PausedBy | None = None
    row_stores: tuple[str, ...] | None = None
    placements: tuple[Placement, ...] = ()
    """Where buckets lie that were found only now; they replace what the job has for the same buckets."""
    was: str | None = None
    """The status from which the caller moves it: in any other the entry changes nothing, so repeating it is safe. None = any."""


class JobWaits(msgspec.Struct, frozen=True, tag=True):
    """The job waits for what is away, or goes on (None). Changes nothing outside Active."""

    job: str
    waits: Waits | None


class DeliveryEnded(msgspec.Struct, frozen=True, tag=True):
    """The delivery of that number of a job that has ended is over; `core.delivery.ended`."""

    job: str
    number: int
    failure: Failure | None = None


Entry = DeliveryEnded | ChunksStaged | ChunksOpened | SegmentAdded | ChunkReleased | ChunkSealed | JobMoved | JobWaits | Happening


class ListQuery(msgspec.Struct, frozen=True, kw_only=True):
    """One page of an account's jobs, by (created_ms, id)."""

    account: str
    statuses: frozenset[str] = frozenset()
    """Empty = all."""
    operations: frozenset[str] = frozenset()
    """Names of operations; empty = all."""
    tags: tuple[str, ...] = ()
    """Tags that the job must have, all of them, each as `KEY` or `KEY=VALUE`. A key may hold `=` as well."""
    text: str | None = None
    """Must stand in the id or the description; A to Z in either case are the same."""
    newest_first: bool
    after: tuple[int, str] | None = None
    """The page begins behind this (created_ms, id)."""
    created_since_ms: int | None = None
    """Jobs created before it are left out, unless they are not terminal."""
    ended_since_ms: int | None = None
    """Jobs that ended before it are left out."""
    limit: int = 1000


class Written(msgspec.Struct, frozen=True):
    """A job about which something was written."""

    job: Job
    """As it is now."""
    recorded: bool
    """Whether its record has grown."""
    ended: bool = False
    """Whether it has just ended."""
    hidden: bool = False
    """Whether it was just deleted: its account sees it no more, whatever is written about it later."""


class JobStore(Protocol):
    """Jobs, their record and the ledger of their chunks, durable when a call returns.

    The API uses the first group, the coordinator the second. All writes go through one writer. `create`, `change`, `delete` and
    `commit` write what `core.history` tells of their change into the job's record, in the same transaction.
    """

    def create(self, job: Job, *, unfinished_max: int) -> None:
        """Store a new job. Raises TokenReused (same account and token, whatever the content) or TooManyJobs.

        The job that a retry repeats is told (`retried_by`, and an event in its record); JobNotFound where there is none."""
        ...

    def get(self, account: str, job_id: str) -> Job:
        """The job. Raises JobNotFound, also for another account's job and for a deleted one."""
        ...

    def by_token(self, account: str, token: str) -> Job | None:
        """The job that was created with the token, also when it was deleted meanwhile."""
        ...

    def list(self, query: ListQuery) -> Sequence[Job]:
        """One page."""
        ...

    def change(
        self, account: str, job_id: str, change: Callable[[Job], Job], *, by: str | None = None, reason: str | None = None
    ) -> Job:
        """Read, change and write in one transaction; what `change` raises is raised. Raises JobNotFound. `change` may touch
        status, priority, tags, confirmation and reason, never the counters; it must be pure, for it may be run twice.

        `by` is the user who asked for it and `reason` what they said, both for the job's record."""
        ...

    def delete(self, account: str, job_id: str, *, by: str | None = None) -> Job:
        """Hide the job from get and list; the coordinator still sees it until it is terminal, and its token stays in use
        until the job is forgotten (decisions §5). `by` as in `change`. Raises JobNotFound."""
        ...

    def events(self, job_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[RecordedEvent]:
        """The job's record behind the number `after`, in order of commit: whoever's job it is, also when it was deleted. The
        first FIRST_KEPT and the newest NEWEST_KEPT events are there. Empty for a job that is not there."""
        ...

    def failures(self, job_id: str) -> Sequence[FailureClass]:
        """Why the job's tasks failed, as far as that is committed, also while it runs: of CLASSES_MAX classes at most, whose
        counts add up to its `failed`. Whoever's job it is; empty for a job that is not there."""
        ...

    def changed(self) -> Callable[[float], bool]:
        """A function that waits up to so many seconds until `create`, `change` or `delete` was called since it last returned, and
        tells whether one was."""
        ...

    def watch(self, told: Callable[[Sequence[Written]], None]) -> Callable[[], None]:
        """From now on call `told` with what this process writes, commits of progress included, once it is durable and in the
        order of commits. It is called on any thread and must return at once; the function returned ends it."""
        ...

    # -- the coordinator's half

    def begin_epoch(self) -> int:
        """Take over: every later commit under a smaller epoch raises Superseded."""
        ...

    def unfinished(self) -> Sequence[Job]:
        """All jobs that are not terminal, deleted ones included, oldest first."""
        ...

    def awaiting_delivery(self) -> Sequence[Job]:
        """Jobs that have ended whose report is to be delivered once more, deleted ones included."""
        ...

    def find(self, job_ids: Iterable[str]) -> Mapping[str, Job]:
        """Jobs by id over all accounts, deleted ones included."""
        ...

    def chunks(self, job_id: str) -> Sequence[Chunk]:
        """The job's ledger, by index."""
        ...

    def segments(self, job_id: str) -> Sequence[Segment]:
        """Committed segments of the job's open chunks, in order of commit."""
        ...

    def commit(self, epoch: int, entries: Sequence[Entry]) -> Mapping[str, Job]:
        """Apply the entries in order in one durable transaction; returns the jobs they name, as they are afterwards.
        Safe to repeat with the same entries. Raises Superseded."""
        ...

    def ended(self, since_ms: int, before_ms: int, limit: int) -> Sequence[Job]:
        """Terminal jobs that ended in since_ms ≤ … < before_ms, deleted ones included, the longest ended first."""
        ...

    def forget(self, job_ids: Iterable[str]) -> None:
        """Remove terminal jobs for good, with ledger and record; ids of others are passed over."""
        ...

    def close(self) -> None:
        """Finish what is queued, then close."""
        ...


# -- spool --------------------------------------------------------------------------------------------------------------------


class Spool(Protocol):
    """Where staged chunks and outcome files lie. Names are `account/job/kind/file`; a file is never changed once written. A disk
    that refuses raises SpoolUnavailable."""

    def write(self, name: str, data: bytes | memoryview) -> None:
        """Durable when it returns (decisions §3: write, fsync, rename, fsync folder)."""
        ...

    def read(self, name: str) -> memoryview:
        """The file's bytes. Raises SpoolError when it is missing."""
        ...

    def names(self, prefix: str) -> Sequence[str]:
        """Names below a prefix that ends at a `/`, sorted."""
        ...

    def delete(self, names: Iterable[str]) -> None:
        """Remove files; a missing one is no error."""
        ...

    def used(self, prefix: str) -> int:
        """Bytes of all files below a prefix that ends at a `/`."""
        ...

    def shortage(self) -> str | None:
        """Why nothing new should be begun: too little room is left (decisions §3); None when there is enough."""
        ...


# -- object store ------------------------------------------------------------------------------------------------------------


class ObjectHead(msgspec.Struct, frozen=True, kw_only=True):
    """What HEAD tells. `etag` without quotes; `modified_ms` by the store's clock, to the second."""

    size: int
    etag: str
    modified_ms: int
    version: str | None = None
    storage_class: str | None = None
    metadata: Mapping[str, str] = {}
    """User metadata, names without `x-amz-meta-`."""
    headers: Mapping[str, str] = {}
    """All response headers, lower-case names."""


class ObjectPart(msgspec.Struct, frozen=True, kw_only=True):
    """A range of an object: its bytes, and of which object."""

    data: bytes
    size: int
    """Of the whole object."""
    etag: str
    version: str | None = None


class Copied(msgspec.Struct, frozen=True, array_like=True):
    """A finished copy."""

    etag: str
    version: str | None = None


class ObjectStore(Protocol):
    """One S3-compatible store under one set of credentials. All methods retry what can be retried and raise StoreError for
    what is final; success is told only where the expected answer was read in full."""

    @property
    def ahead_ms(self) -> int:
        """The store's clock minus ours, from the Date of its answers; known after the first answer, 0 before."""
        ...

    @property
    def width(self) -> int:
        """How many requests a task may have under way at a time, so that all tasks together keep within the store's limit; 1 at
        least."""
        ...

    def head_object(self, bucket: str, key: bytes, version: bytes | None = None) -> Effect[ObjectHead]:
        """Raises StoreError 404 `NoSuchKey` (`NoSuchVersion` with a version; `DeleteMarker` where the latest is a marker)."""
        ...

    def get_object(
        self,
        bucket: str,
        key: bytes,
        version: bytes | None = None,
        *,
        first: int = 0,
        length: int | None = None,
        if_match: str | None = None,
    ) -> Effect[ObjectPart]:
        """A range, `length` bytes at most from `first`; StoreError 412 when `if_match` names another ETag (checked here too)."""
        ...

    def put_object(
        self,
        bucket: str,
        key: bytes,
        body: bytes | HashedFile,
        *,
        content_type: str = "application/octet-stream",
        if_absent: bool = False,
    ) -> Effect[str]:
        """Store the body (a file is read while it is sent); the ETag."""
        ...

    def copy_object(
        self,
        source_bucket: str,
        source_key: bytes,
        source_version: bytes | None,
        target_bucket: str,
        target_key: bytes,
        headers: Sequence[tuple[str, str]] = (),
    ) -> Effect[Copied]:
        """CopyObject; `headers` are further lower-case `x-amz-…` and content headers. Never repeated after a try that may have
        been carried out: raises StoreError with `unknown`."""
        ...

    def put_tags(self, bucket: str, key: bytes, version: bytes | None, tags: Mapping[str, str]) -> Effect[None]:
        """Replace the whole tag set."""
        ...

    def get_tags(self, bucket: str, key: bytes, version: bytes | None = None) -> Effect[Mapping[str, str]]:
        """The tag set."""
        ...

    def put_acl(self, bucket: str, key: bytes, version: bytes | None, acl: Acl | str) -> Effect[None]:
        """Replace the whole access control list, by one or by what a canned one stands for. Success is no proof that the store
        keeps it: `get_acl` tells."""
        ...

    def get_acl(self, bucket: str, key: bytes, version: bytes | None = None) -> Effect[Acl]:
        """The access control list."""
        ...

    def keeps_versions(self, bucket: str) -> Effect[bool]:
        """Whether the bucket keeps versions, or has kept some (GetBucketVersioning: Enabled or Suspended)."""
        ...

    def delete_object(
        self,
        bucket: str,
        key: bytes,
        version: bytes | None = None,
        *,
        if_match: str | None = None,
        bypass_governance: bool = False,
    ) -> Effect[Outcome]:
        """Delete one object or version; the status tells 204 or 200. A missing key is what the store says it is."""
        ...

    def delete_objects(self, bucket: str, tasks: Sequence[Task], *, bypass_governance: bool = False) -> Effect[Sequence[Outcome]]:
        """DeleteObjects for at most 1,000 different (key, version) pairs; each key's own outcome, in order. A key the answer does
        not account for is asked about again, never assumed. Raises StoreError only where that holds for all keys: `BatchInDoubt`
        (or any with `unknown`) where some may have been deleted without an answer."""
        ...


class Driver(Protocol):
    """Runs coroutines over `core.effects`. `start` and `later` belong to the driver's own thread; `call` and `submit` do not."""

    @property
    def running(self) -> int:
        """Coroutines started and not ended (children of Gather not counted)."""
        ...

    def start(self, coroutine: Effect[T], done: Callable[[T | None, BaseException | None], None]) -> object:
        """Run it until it ends; `done(result, error)` is called on the driver's thread. Returns what `wind_down` takes."""
        ...

    def wind_down(self, started: object) -> None:
        """Let the request end that the coroutine has under way, and send no further one of it: it ends there with
        `done(None, Stopped())`, and at once where it only sleeps. Nothing happens to one that has ended."""
        ...

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        """Call the function once, that much later."""
        ...

    def call(self, function: Callable[[], None]) -> None:
        """Call the function on the driver's thread at its next turn. From any thread."""
        ...

    def submit(self, coroutine: Effect[T]) -> Future[T]:
        """Run it; from any thread. The future takes result or exception."""
        ...

    def withdraw(self, future: Future[Any]) -> None:
        """As `wind_down`, for what `submit` has returned; from any thread."""
        ...

    def run(self, on_turn: Callable[[], None]) -> None:
        """Be the driver's thread until `stop`. `on_turn` is called once per turn, after answers were dealt with: the place to
        start further coroutines."""
        ...

    def stop(self) -> None:
        """End `run` at its next turn; connections of unfinished requests are closed. From any thread."""
        ...


# -- operations ---------------------------------------------------------------------------------------------------------------


class Operation(Protocol):
    """What is done to each object. One of `apply` (tasks one by one) and `apply_batch` (up to `batch_rows`) is used."""

    @property
    def name(self) -> str:
        """As in `OperationSpec`."""
        ...

    @property
    def batch_rows(self) -> int:
        """1: `apply` is used; more: `apply_batch` with at most so many tasks of one bucket, no (key, version) twice."""
        ...

    def apply(self, task: Task, store: ObjectStore) -> Effect[Outcome]:
        """Do it to one object, by the replay rules if the task is in doubt. Raises StoreError for a final refusal."""
        ...

    def apply_batch(self, tasks: Sequence[Task], store: ObjectStore) -> Effect[Sequence[Outcome]]:
        """Do it to several fresh objects at once; outcomes in the order of the tasks."""
        ...

    def disproof(self, task: Task, store: ObjectStore, begun_ms: int) -> Effect[Disproof | None]:
        """What the store shows that should not be after the success it has just answered for the task, which began at `begun_ms`
        by our clock; None = nothing, or what others have clearly written meanwhile. Raises StoreError where it cannot be read."""
        ...

    def target(self, bucket: str, key: bytes) -> tuple[str, bytes] | None:
        """The object that a task writes where that is another one than its row names; None = the row's own object."""
        ...

    def buckets(self) -> Sequence[str]:
        """Buckets other than the rows' that the operation touches."""
        ...
