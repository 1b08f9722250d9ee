"""Every situation a caller may treat differently has its class here; facts are attributes, not text to parse.

A task that fails is an `Outcome`, never an exception that leaves the runner: exceptions are for requests, jobs and
processes. Each dialect's `errors.py` maps these classes to its wire codes.
"""

from collections.abc import Sequence

from haulier.core.task import Outcome


class HaulierError(Exception):
    """Base of all errors that Haulier raises on purpose. The text is safe to show: it never holds a secret."""


# -- settings and start-up ------------------------------------------------------------------------------------------------


class SettingsError(HaulierError):
    """The settings cannot be used; `path` names the offending key (`accounts.acme.roles[0].stores`)."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path = path
        self.problem = problem


class AuditBroken(HaulierError):
    """The audit log is not what was written, so nothing may be added to it."""


class PolicyError(HaulierError):
    """A policy document cannot be used; `path` names the offending element (`Statement[1].Condition.Bool`)."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path = path
        self.problem = problem


class DataDirectoryBusy(HaulierError):
    """Another server holds the data directory."""


# -- secrets at rest --------------------------------------------------------------------------------------------------------


class SecretsError(HaulierError):
    """Secrets cannot be sealed or opened."""


class MasterKeyMissing(SecretsError):
    """There is no master key of that version."""

    def __init__(self, version: int) -> None:
        super().__init__(f"there is no master key of version {version}")
        self.version = version


class SealBroken(SecretsError):
    """A sealed secret does not open: it is not what was sealed for that place by that master key."""


class WrongMasterKey(SecretsError):
    """The master key of that version is not the one that sealed what is stored."""

    def __init__(self, version: int) -> None:
        super().__init__(f"the master key of version {version} is another one than that which sealed the stored secrets")
        self.version = version


# -- commands of the operator -----------------------------------------------------------------------------------------------


class CommandRefused(HaulierError):
    """A command is refused and changed nothing."""


class NotDefined(CommandRefused):
    """What the command names is not there."""


class AlreadyDefined(CommandRefused):
    """What the command would make is there already."""


class DefinedInSettings(CommandRefused):
    """The settings define it, so no command changes it; `place` names the key."""

    def __init__(self, what: str, place: str) -> None:
        super().__init__(f"{what} is defined in the settings ({place}): change it there and send SIGHUP to the server")
        self.place = place


# -- requests ---------------------------------------------------------------------------------------------------------------


class RequestError(HaulierError):
    """A request that is refused and changed nothing."""


class MalformedDocument(RequestError):
    """The body is not the XML or the structure that was asked for; `path` names the offending element."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path = path
        self.problem = problem


class InvalidField(RequestError):
    """A well-formed field with a value that is not allowed; `path` names it."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


class InvalidRequest(RequestError):
    """The request contradicts itself or cannot be served in this form."""


class InvalidListToken(RequestError):
    """A list token that this server did not make, or that was made for another list."""


class DocumentTooLarge(RequestError):
    """The body or the XML in it goes beyond a stated limit."""


class NotImplementedHere(RequestError):
    """A member of the protocol that no code implements yet; refused at creation rather than failed late."""

    def __init__(self, path: str, problem: str = "is part of the protocol, but this version does not implement it") -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path


class JobNotFound(RequestError):
    """No such job in the caller's account."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"There is no job {job_id!r}.")
        self.job_id = job_id


class TokenReused(RequestError):
    """The ClientRequestToken names another job; what to answer differs by dialect."""

    def __init__(self, token: str, job_id: str, *, deleted: bool = False) -> None:
        since = ", which was deleted; a new job needs a new token" if deleted else ""
        super().__init__(f"ClientRequestToken {token!r} was already used for job {job_id}{since}.")
        self.token = token
        self.job_id = job_id


class IllegalTransition(RequestError):
    """The job's state does not allow the change."""

    def __init__(self, job_id: str, status: str, event: str) -> None:
        super().__init__(f"Job {job_id} is {status}; {event} is not possible from there.")
        self.job_id = job_id
        self.status = status
        self.event = event


class TooManyRequests(RequestError):
    """The account sends more requests than it may; the same one may succeed in a moment."""


class NothingToRetry(RequestError):
    """No task of the job failed, or was left undone, in the way that was chosen."""


class OutcomesGone(RequestError):
    """The rows and outcomes of the job are no longer kept."""


class TooManyJobs(RequestError):
    """The account's quota of unfinished jobs is used up."""


class TooManyTags(RequestError):
    """More than 50 job tags."""


class Unavailable(RequestError):
    """The service cannot store anything now; the same request may succeed later."""


class Overloaded(RequestError):
    """More requests are under way than can be answered soon; the same request should be sent again after a while."""


class TooManyWaiting(RequestError):
    """More clients hold a connection open to be told of changes than the server allows."""


# -- who may ------------------------------------------------------------------------------------------------------------------


class AccessRefused(RequestError):
    """Authentication or authorisation failed. Subclasses exist only where a dialect has a code of its own."""


class UnknownAccessKey(AccessRefused):
    """The key id is not known (answered after the same work as a known one)."""


class BadSignature(AccessRefused):
    """The signature does not match the request."""


class TokenExpired(AccessRefused):
    """The temporary key and its session token are over."""


class RequestExpired(AccessRefused):
    """The signed time range is over."""


class ClockSkewed(AccessRefused):
    """The request's time is more than 15 minutes from the server's."""


class BadDigest(RequestError):
    """The body's digest does not match the header that announced it."""


class InvalidDigest(RequestError):
    """A digest header that is not a digest."""


# -- jobs -------------------------------------------------------------------------------------------------------------------


class JobFailure(HaulierError):
    """Ends the job Failed. `code` goes to FailureCode (64 bytes at most), the text to FailureReason.

    Codes: cos-batch.md §4.5 and decisions §1, §3, §4 (`ManifestNotFound`, `ManifestETagMismatch`, `InvalidManifest`,
    `ManifestAccessDenied`, `EmptyManifest`, `TooManyObjects`, `SpoolQuotaExceeded`, `FailureThresholdExceeded`,
    `ReportDeliveryFailed`, `ConfirmationTimeout`, `InternalError`, `UnknownBucket`, `RoleNotAllowed`, `ProtectedObject`,
    `ManifestConflict`, `StoreUnproven`, `StoreCannot`, `OutcomesGone`, `NothingToRetry`).
    """

    def __init__(self, code: str, reason: str, *, passing: bool = False) -> None:
        """`passing`: only for now; what was to be done may succeed later."""
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason
        self.passing = passing


# -- stores -------------------------------------------------------------------------------------------------------------------


class StoreError(HaulierError):
    """A store's final refusal of one request.

    `status` is the HTTP status (0 when no answer came), `code` the store's error code or one of ours for empty error bodies,
    `unknown` is true when the request may have been carried out although no answer says so; `since_ms` is then the earliest
    moment it can have been, by our clock. `request_id` is the store's own name of the request, which its operator can look up.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        unknown: bool = False,
        since_ms: int | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.unknown = unknown
        self.since_ms = since_ms
        self.request_id = request_id

    @property
    def passing(self) -> bool:
        """Whether the store was in trouble, so that the same request may succeed later."""
        return self.unknown or self.status in (0, 408, 429) or (self.status >= 500 and self.status != 501)

    def outcome(self, *, code: str = "", message: str = "") -> Outcome:
        """The failure of a task that ends by it, with another code or message where these are given."""
        return Outcome(self.status, code or self.code or "InternalError", message or self.message, self.request_id)


class BatchInDoubt(StoreError):
    """A request for many objects of which some may have been carried out without an answer: `outcomes` has None for those, in the
    order of the tasks, and what is decided for the others."""

    def __init__(self, error: StoreError, outcomes: Sequence[Outcome | None]) -> None:
        """`error` is how the request ended whose fate is not known."""
        super().__init__(
            error.status, error.code, error.message, unknown=True, since_ms=error.since_ms, request_id=error.request_id
        )
        self.outcomes = outcomes


class Superseded(HaulierError):
    """Another coordinator has taken over: this one must stop writing at once."""


class SpoolError(HaulierError):
    """A staged file is missing or not what was written."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.name = name
        self.problem = problem


class SpoolUnavailable(SpoolError):
    """The spool cannot be written or read now (a full disk, an I/O error): the same may succeed later."""


def samples(values: Sequence[str], most: int = 3) -> str:
    """At most `most` values for a message, and how many more there are."""
    shown = "; ".join(values[:most])
    return shown if len(values) <= most else f"{shown}; and {len(values) - most} more"
