"""A job and its parts as plain values. Times are Unix milliseconds, sizes are bytes, counts are tasks."""

from typing import Any, Final, Literal

import msgspec

Dialect = Literal["s3control", "cos", "native"]
PausedBy = Literal["user", "priority", "operator"]


RETRIES_KEPT: Final = 100


class ObjectName(msgspec.Struct, frozen=True):
    """An object on some store: bucket name, key (text as in an ARN), and a version where one is meant."""

    bucket: str
    key: str
    version: str | None = None


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Which list names the objects, and how it is written."""

    location: ObjectName
    etag: str
    """Without quotes."""
    format: str
    """As on the wire: `S3BatchOperations_CSV_20180820`, `COSBatchOperations_CSV_V1`."""
    fields: tuple[str, ...]
    """Columns from left to right out of Ignore, Bucket, Key, VersionId."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how the completion report is written; `enabled=False` leaves the rest empty."""

    enabled: bool
    bucket: str = ""
    prefix: str = ""
    format: str = ""
    """As on the wire: `Report_CSV_20180820`, `Report_CSV_V1`."""
    scope: Literal["AllTasks", "FailedTasksOnly"] = "AllTasks"


class OperationSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What to do to each object: the name of a class in `operations.ALL`, and its fields as JSON-like values."""

    name: str
    parameters: dict[str, Any]


class Failure(msgspec.Struct, frozen=True):
    """Why a job failed: FailureCode and the full FailureReason (the wires cut it to 256 bytes)."""

    code: str
    reason: str


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """What a job runs again of another one: failed tasks of these codes and kinds (`core.failures`; `NotAttempted` is the code of
    those without an outcome); with neither, all that did not succeed."""

    of: str
    """The other job's id."""
    codes: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery of the report that was asked for once the job had ended: to its own place, or to another one."""

    number: int
    """Counts from 1 for each job."""
    bucket: str
    prefix: str
    by: str
    """The user who asked for it."""
    asked_ms: int
    status: Literal["Waiting", "Delivered", "Failed"] = "Waiting"
    ended_ms: int | None = None
    failure: Failure | None = None

    @property
    def waits(self) -> bool:
        """Whether it is still to be done."""
        return self.status == "Waiting"


class Placement(msgspec.Struct, frozen=True):
    """Which store answers for a bucket: found once, then frozen in the job (decisions §1). Of the buckets that the request names
    it is found at creation, of those that only rows name while the job is prepared."""

    bucket: str
    store: str
    """Empty where nothing answered at creation: asked again while preparing, which fails with the reason."""
    region: str | None = None
    """Of the resource name that named the bucket; rows name none."""


class Limits(msgspec.Struct, frozen=True):
    """What a job may do to its stores at most, over all runners; None = as much as they allow."""

    concurrency: int | None = None
    """Requests in flight."""
    requests_per_second: float | None = None


class Waits(msgspec.Struct, frozen=True):
    """Why an Active job gets nothing done at present, though nothing is wrong with it."""

    code: str
    """`StoreUnreachable`."""
    reason: str
    since_ms: int


class Job(msgspec.Struct, kw_only=True):
    """One job, as stored. Treat it as frozen outside `lifecycle.advance` and the job store: make changes with `replace`.

    Counters are sums over what was committed: succeeded + failed ≤ total, and they never go down.
    """

    id: str
    account: str
    """Name of the account in the settings."""
    dialect: Dialect
    """The wire the job came by; `as_sent` is in this dialect's words."""
    token: str
    """ClientRequestToken; unique per account while the record exists."""
    digest: str
    """SHA-256 of the parsed request without its token: tells a repeated request from another one under the same token."""
    created_by: str
    """The user that created it."""
    role: str
    """Name of the role in the account."""
    role_arn: str
    """As sent."""
    region: str
    """Region of the request that created it; part of the job's ARN."""
    description: str | None = None
    priority: int
    confirmation_required: bool
    confirmation_given: bool = False
    """Confirmed before it was Suspended (COS allows Ready from New and Preparing)."""
    manifest: Manifest
    operation: OperationSpec
    report: Report
    as_sent: dict[str, Any]
    """Manifest, Operation, Report as the client sent them, echoed exactly."""
    placements: tuple[Placement, ...] = ()
    row_stores: tuple[str, ...] = ()
    """The stores that the manifest's rows are on; known once prepared. Their capability is probed before the first task."""
    tags: dict[str, str] = {}
    limits: Limits | None = None
    retry: Retry | None = None
    """Its tasks are the rows of another job, and no manifest is read."""
    retried_by: tuple[str, ...] = ()
    """Ids of the jobs that run its tasks again, the newest RETRIES_KEPT of them."""

    status: str = "New"
    status_since_ms: int = 0
    status_reason: str | None = None
    created_ms: int
    suspended_ms: int | None = None
    suspended_cause: str | None = None
    ended_ms: int | None = None
    paused_by: PausedBy | None = None
    """`user`, `priority` or `operator`; only a user resumes a user's pause, and no user the operator's (`core.brake`)."""
    active_ms: int = 0
    """Time spent Active before `status_since_ms`."""
    failure: Failure | None = None
    waits: Waits | None = None
    """None outside Active."""

    total: int | None = None
    """Unknown until prepared."""
    succeeded: int = 0
    failed: int = 0
    failures: dict[str, int] = {}
    """Failed tasks by code, live: the sums of its failure classes (`core.failures`)."""
    read_back: dict[str, int] = {}
    """Successes that were read back, by store: the first ones of the job are (decisions §4)."""
    delivery: Delivery | None = None
    """The last delivery of its report that was asked for after its end. The job's state does not depend on it."""
    restored_ms: int | None = None
    """It was brought back from a backup that was taken then: whatever had no outcome by then may have been done since."""
    reporting_ms: int | None = None
    """The report's date, fixed on entering Completing, Cancelling or Failing so that every repetition gives the same bytes."""

    @property
    def awaits_delivery(self) -> bool:
        """Whether its report is to be delivered although it has ended."""
        return self.delivery is not None and self.delivery.waits

    @property
    def executed(self) -> int:
        """Tasks that have their outcome."""
        return self.succeeded + self.failed

    @property
    def owes_report(self) -> bool:
        """Whether a report of what was done is to be written at its end."""
        return self.report.enabled and self.executed > 0

    def placement(self, bucket: str) -> str | None:
        """The store that answers for the bucket, as far as that was found."""
        return next((placement.store for placement in self.placements if placement.bucket == bucket), None)
