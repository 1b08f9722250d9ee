"""What the native API takes and gives, as types. Requests are read by them, answers written, and the OpenAPI is made of them.

Times are RFC 3339 in UTC with milliseconds. Members that have no value are there as null, so that a reader finds every name.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from haulier.api import rules
from haulier.core.failures import FailureKind
from haulier.core.job import PausedBy
from haulier.core.lifecycle import JobStatus

PRIORITY_MAX: Final = 2_147_483_647
TEXT_BYTES_MAX: Final = 256
"""Of a description and of a reason, as on both wires."""
TOKEN_CHARACTERS_MAX: Final = 64

Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Text = Annotated[str, Meta(min_length=1, max_length=TEXT_BYTES_MAX, description=f"At most {TEXT_BYTES_MAX} bytes of UTF-8.")]
Count = Annotated[int, Meta(ge=0)]
Bucket = Annotated[str, Meta(min_length=2, max_length=255, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{1,254}$")]
TagKey = Annotated[str, Meta(min_length=1, max_length=rules.TAG_KEY_MAX)]
TagValue = Annotated[str, Meta(max_length=rules.TAG_VALUE_MAX)]
Tags = Annotated[dict[TagKey, TagValue], Meta(max_length=50)]
Priority = Annotated[int, Meta(ge=0, le=PRIORITY_MAX, description="Higher runs first, among the jobs of one account.")]
Column = Literal["Bucket", "Key", "VersionId", "Ignore"]
Scope = Literal["AllTasks", "FailedTasksOnly"]


class Document(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Base of what is taken: a member that is not known is refused."""


class Answer(msgspec.Struct, kw_only=True):
    """Base of what is only given: later versions may add members."""


# -- both ways -------------------------------------------------------------------------------------------------------------------


class OperationDocument(Document, kw_only=True):
    """What is done to each object: the name of an operation, and its parameters."""

    name: str
    parameters: dict[str, Any] = {}


class ManifestDocument(Document, kw_only=True):
    """The list that names the objects: one object on a store, and how it is written."""

    bucket: Bucket
    key: Annotated[str, Meta(min_length=1, max_length=1024)]
    etag: Annotated[str, Meta(min_length=1, max_length=1024, description="The job fails when the object has another one.")]
    version: Annotated[str, Meta(min_length=1, max_length=1024)] | None = None
    format: str = "S3BatchOperations_CSV_20180820"
    fields: Annotated[tuple[Column, ...], Meta(min_length=2, max_length=64)] = ("Bucket", "Key")
    """The columns, from left to right."""


class ReportDocument(Document, kw_only=True):
    """Where the completion report goes."""

    bucket: Bucket
    prefix: Annotated[str, Meta(max_length=512)] = ""
    format: str = "Report_CSV_20180820"
    scope: Scope = "AllTasks"


class TagsDocument(Document, kw_only=True):
    """The job's own tags, all of them."""

    tags: Tags


# -- requests --------------------------------------------------------------------------------------------------------------------


class LimitsDocument(Document, kw_only=True):
    """What the job may do to its stores at most, over all runners, on top of what they allow; null or left out = no limit."""

    concurrency: Annotated[int, Meta(ge=1, le=100_000, description="Requests in flight.")] | None = None
    requests_per_second: Annotated[float, Meta(ge=0.1, le=1_000_000)] | None = None


class NewJob(Document, kw_only=True):
    """A new job in the API's own words."""

    operation: OperationDocument
    manifest: ManifestDocument
    role: Annotated[str, Meta(min_length=1, max_length=2048, description="The name or the ARN of one of the account's roles.")]
    dialect: Literal["native"] = "native"
    report: ReportDocument | None = None
    priority: Priority = 10
    confirm: Annotated[
        bool | None,
        Meta(description="Whether the job waits for its confirmation once its tasks are counted; left out: it does where it can "
        "delete or overwrite objects."),
    ] = None  # fmt: skip
    description: Text | None = None
    tags: Tags = {}
    limits: LimitsDocument | None = None


class ReasonDocument(Document, kw_only=True):
    """Why it is asked for; kept with the job and in its record."""

    reason: Text | None = None


class RetryDocument(Document, kw_only=True):
    """Which failed tasks to run again, as a new job; with neither codes nor kinds all of them, and those that were left undone.
    What is left out is as with the job that is retried."""

    codes: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=100)], ...],
        Meta(max_length=50, description="Error codes as of `failures`; `NotAttempted` stands for tasks that were left undone."),
    ] = ()  # fmt: skip
    kinds: Annotated[tuple[FailureKind, ...], Meta(max_length=20)] = ()
    priority: Priority | None = None
    confirm: Annotated[bool | None, Meta(description="Whether the job waits for its confirmation.")] = None
    description: Text | None = None


class PlaceDocument(Document, kw_only=True):
    """Where a report goes."""

    bucket: Bucket
    prefix: Annotated[str, Meta(max_length=512)] = ""


class DeliverDocument(Document, kw_only=True):
    """Where the report is to be delivered; left out: where the job said."""

    to: PlaceDocument | None = None


class PriorityDocument(Document, kw_only=True):
    """Another priority."""

    priority: Priority


# -- answers ---------------------------------------------------------------------------------------------------------------------


class ProgressDocument(Answer, kw_only=True):
    """Counts of tasks: sums over what is committed, never estimates."""

    total: Count | None
    """null until the manifest was read."""
    succeeded: Count
    failed: Count
    failures: dict[str, Count]
    """Failed tasks by code, live."""


class FailureDocument(Answer, kw_only=True):
    """Why a job failed, in full."""

    code: str
    reason: str


class WaitsDocument(Answer, kw_only=True):
    """What an Active job waits for: nothing fails meanwhile."""

    code: str
    reason: str
    since: Time


class PlacementDocument(Answer, kw_only=True):
    """Which store answers for a bucket: found when the job was created, and kept."""

    bucket: str
    store: str


class SampleDocument(Answer, kw_only=True):
    """A task that failed."""

    bucket: str
    key: str
    """Bytes that are no UTF-8 stand as `\\xHH`."""
    version: str | None
    at: Time
    message: str | None
    request_id: str | None
    """The store's name of the request that it refused."""


class FailureClassDocument(Answer, kw_only=True):
    """Tasks that failed in one way: with one error code and one HTTP status."""

    code: str
    kind: FailureKind
    http_status: int | None
    """null where the store was not asked, did not answer, or no task was run."""
    count: Annotated[int, Meta(ge=1)]
    first_at: Time | None
    """null where that was not recorded."""
    last_at: Time | None
    samples: tuple[SampleDocument, ...]
    """The first ones, three at most."""
    hint: str
    """What to do about it."""


class FailureList(Answer, kw_only=True):
    """Why tasks failed, the most frequent way first; the counts of those that ran add up to `progress.failed`."""

    failures: tuple[FailureClassDocument, ...]


class RetriedDocument(Answer, kw_only=True):
    """What a job runs again of another one."""

    of: str
    """The other job's id."""
    codes: tuple[str, ...]
    kinds: tuple[str, ...]


class DeliveryDocument(Answer, kw_only=True):
    """A delivery of the report that was asked for after the job's end."""

    bucket: str
    prefix: str
    status: Literal["Waiting", "Delivered", "Failed"]
    asked_by: str
    asked_at: Time
    ended_at: Time | None
    failure: FailureDocument | None


class JobDocument(Answer, kw_only=True):
    """A job."""

    id: str
    version: str
    """Changes with anything in this document; also its ETag, in quotes."""
    status: JobStatus
    status_since: Time
    status_reason: str | None
    paused_by: PausedBy | None
    description: str | None
    priority: Priority
    operation: OperationDocument
    manifest: ManifestDocument
    report: ReportDocument | None
    role: str
    role_arn: str
    confirm: bool
    confirmed: bool
    dialect: Literal["s3control", "cos", "native"]
    """In whose words the job was created."""
    created_by: str
    created_at: Time
    suspended_at: Time | None
    ended_at: Time | None
    active_seconds: Annotated[float, Meta(ge=0)]
    """Time spent Active before `status_since`; while the job is Active, the time since then comes on top."""
    progress: ProgressDocument
    failure: FailureDocument | None
    waits: WaitsDocument | None
    """Why nothing gets done at present, because a store does not answer."""
    tags: dict[str, str]
    limits: LimitsDocument | None
    """null = as much as its stores allow."""
    delivery: DeliveryDocument | None
    """The last one that was asked for."""
    retry: RetriedDocument | None
    """null where the job's tasks are those of its manifest."""
    retried_by: tuple[str, ...]
    """Ids of the jobs that run its tasks again."""
    placements: tuple[PlacementDocument, ...]


class ListedJob(Answer, kw_only=True):
    """A job in a list."""

    id: str
    status: JobStatus
    description: str | None
    operation: str
    priority: Priority
    created_by: str
    created_at: Time
    ended_at: Time | None
    progress: ProgressDocument
    failure: FailureDocument | None
    tags: dict[str, str]
    retry_of: str | None


class JobList(Answer, kw_only=True):
    """A page of jobs, newest first."""

    jobs: tuple[ListedJob, ...]
    next: str | None
    """The `cursor` of the next page; null on the last one."""


class EventDocument(Answer, kw_only=True):
    """Something that happened to a job."""

    sequence: Annotated[int, Meta(ge=1)]
    """Counts from 1 in the order of commits; of a very long record the middle is dropped, which missing numbers show."""
    at: Time
    kind: str
    by: str | None
    """The user who asked for it; null = the server itself."""
    facts: dict[str, Any]


class EventList(Answer, kw_only=True):
    """A part of a job's record, oldest first."""

    events: tuple[EventDocument, ...]
    last: Annotated[int, Meta(ge=0, description="The `after` of the next call.")]
    ended: Annotated[bool, Meta(description="Whether the job has ended, so that it is no use to wait for more.")]


class ProgressMessage(Answer, kw_only=True):
    """The data of a `progress` message: the job as it is, without what never changes."""

    id: str
    version: str
    status: JobStatus
    status_since: Time
    paused_by: PausedBy | None
    priority: Priority
    active_seconds: Annotated[float, Meta(ge=0)]
    progress: ProgressDocument
    failure: FailureDocument | None
    waits: WaitsDocument | None


class EndDocument(Answer, kw_only=True):
    """The data of an `end` message."""

    status: JobStatus | None
    """null when the job was deleted."""


class Problem(Answer, kw_only=True):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    code: str
    """The same for the same situation in every version."""
    detail: str
    path: str | None
    """The offending member of the body, parameter of the query, or header."""
    request_id: str


# -- queries ---------------------------------------------------------------------------------------------------------------------

Wait = Annotated[int, Meta(ge=0, le=60, description="Seconds to wait for it, at most 60.")]


class NoQuery(Document, kw_only=True):
    """Nothing may be asked for."""


class ListQuery(Document, kw_only=True):
    """What narrows a list. Several of one name: any status or operation of them, but all of the tags."""

    status: tuple[JobStatus, ...] = ()
    operation: tuple[str, ...] = ()
    tag: Annotated[tuple[str, ...], Meta(max_length=10, description="KEY, or KEY=VALUE; a key may hold `=` too.")] = ()
    text: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=256,
                description="A part of the id or the description; A to Z in either case are the same.",
            ),
        ]
        | None
    ) = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    cursor: str | None = None


class JobQuery(Document, kw_only=True):
    """How long to wait, and for what."""

    wait: Wait = 0
    version: Annotated[str, Meta(description="Answer as soon as the job has another version.")] | None = None


class EventQuery(Document, kw_only=True):
    """Which part of the record, and how long to wait for it to grow."""

    after: Annotated[int, Meta(ge=0, le=2**53)] = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 1000
    wait: Wait = 0


class ProgressQuery(Document, kw_only=True):
    """From where on."""

    after: Annotated[int, Meta(ge=0, le=2**53, description="Begin behind this event; Last-Event-ID goes before it.")] = 0
