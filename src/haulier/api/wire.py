"""One way through for every request of a wire: authenticate, route, authorise, validate, act, answer; one way out for errors.

A wire is a table of routes, a table of errors and its own headers; the dialects' `routes.py` fill it in. Everything here is
synchronous and runs in a worker thread; `server.py` does the reading and writing.
"""

import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

import msgspec
import structlog

from haulier.api.auth import Authenticator, RawRequest
from haulier.core.accounts import Caller
from haulier.core.calls import Call
from haulier.core.errors import AccessRefused, InvalidRequest, RequestError, Unavailable
from haulier.core.job import Job
from haulier.core.ports import Audit
from haulier.service import Service

_log: Final = structlog.get_logger()

Headers = Sequence[tuple[str, str]]


class UnknownPath(RequestError):
    """Nothing is served at the path."""

    def __init__(self, path: str) -> None:
        super().__init__(f"There is nothing at {path!r}.")


class WrongMethod(RequestError):
    """The path is served, but not to this method."""

    def __init__(self, method: str, allowed: Sequence[str]) -> None:
        super().__init__(f"{method} is not allowed here; {' or '.join(allowed)} is.")
        self.allowed = allowed


class HeadTooLarge(RequestError):
    """Target and headers are too large, or the headers too many."""


class RequestLate(RequestError):
    """The request did not arrive in time."""


class UnknownEncoding(RequestError):
    """The body comes in a form that nobody here understands."""


class WireError(msgspec.Struct, frozen=True):
    """An error as a wire tells it: its code and the HTTP status."""

    code: str
    status: int


class ErrorTable:
    """Exception classes → what the wire answers; `special` holds what one API of the wire answers differently."""

    def __init__(
        self,
        answers: Mapping[type[RequestError], WireError],
        special: Mapping[tuple[str, type[RequestError]], WireError],
        internal: WireError,
    ) -> None:
        self.answers = answers
        self.special = special
        self.internal = internal

    def find(self, operation: str | None, error: Exception) -> WireError:
        """The answer to an error of the API; the wire's internal error for what is no RequestError."""
        for kind in type(error).__mro__:
            found = self.special.get((operation or "", kind)) or self.answers.get(kind)
            if found is not None:
                return found
        return self.internal


def query_text(request: RawRequest) -> list[tuple[str, str]]:
    """The query's parameters, decoded as the signature check decodes them. Raises InvalidRequest for what is not UTF-8."""
    try:
        return [(name.decode("utf-8"), value.decode("utf-8")) for name, value in request.query_pairs()]
    except UnicodeDecodeError:
        raise InvalidRequest("The query is not UTF-8.") from None


MESSAGE_CHARACTERS_MAX: Final = 1024


def _printable(text: str) -> str:
    """Text that any XML can carry: messages quote what came in, and errors must get out whatever that was."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text[:MESSAGE_CHARACTERS_MAX])


class Asked(msgspec.Struct, frozen=True):
    """A request that was let in: who asks, about which job, and what came with it."""

    caller: Caller
    job_id: str
    """Empty where the path names none."""
    query: Sequence[tuple[str, str]]
    """Decoded names and values."""
    body: bytes
    request: RawRequest


class Reply(msgspec.Struct, frozen=True):
    """An answer to be sent; `body` is a document of the wire, or empty."""

    status: int
    body: bytes = b""
    headers: Headers = ()
    noted: Mapping[str, Any] = {}
    """What the audit log tells besides who asked for what: facts that are not in the path."""


def noted_job(job: Job) -> Mapping[str, Any]:
    """What the audit log tells of a job that was created."""
    return {"job": job.id, "role": job.role, "does": job.operation.name, "priority": job.priority}


class Route(msgspec.Struct, frozen=True):
    """One API of a wire."""

    method: str
    operation: str
    """Its name in the model."""
    call: Call
    handle: Callable[[Asked], Reply]

    @property
    def changes(self) -> bool:
        """Whether it may change something."""
        return self.method != "GET"


Target = tuple[str, ...]
"""A path by its parts, `{}` where a job id stands: `("jobs", "{}", "status")`."""


class Wire(ABC):
    """A dialect's wire: answers any request under its paths, and never raises."""

    errors: ClassVar[ErrorTable]
    content_type: ClassVar[str] = "application/xml"
    error_content_type: ClassVar[str] = "application/xml"

    def __init__(self, service: Service, authenticator: Authenticator, audit: Audit) -> None:
        self.service = service
        self.authenticator = authenticator
        self.audit = audit
        self.routes = self.table()

    @abstractmethod
    def table(self) -> Mapping[Target, Sequence[Route]]:
        """The APIs by path."""

    @abstractmethod
    def parts(self, request: RawRequest) -> tuple[str, ...]:
        """The path as routed: its parts behind the dialect's root. Raises UnknownPath."""

    def check_job_id(self, job_id: str) -> None:  # noqa: B027 - a wire may have no rule of its own
        """Raises InvalidField where the wire has a form for job ids that this is not."""

    @abstractmethod
    def authenticate(self, request: RawRequest) -> Caller:
        """Who signed the request. Raises AccessRefused and its kin."""

    @abstractmethod
    def new_ids(self) -> tuple[str, str]:
        """Request id and a second id (host id, trace id), fresh for each request."""

    @abstractmethod
    def headers(self, ids: tuple[str, str], *, failed: bool) -> Headers:
        """The headers that every answer of the wire carries."""

    @abstractmethod
    def error_document(self, error: WireError, message: str, path: str, ids: tuple[str, str], cause: Exception) -> bytes:
        """The body of an error answer: `path` is the request's, `cause` what went wrong."""

    def error_headers(self, error: WireError) -> Headers:  # noqa: ARG002 - a wire may have none
        """Headers of an error answer besides."""
        return ()

    def answer(self, request: RawRequest) -> Reply:
        """What to answer to the request, errors included. What changes something is in the audit log before it is done."""
        seen = _Seen(request, self.new_ids())
        try:
            seen.caller = self.authenticate(request)
            seen.route, seen.job_id = self._route(request)
            self.service.admit(seen.caller, seen.route.call)
            if seen.job_id:
                self.check_job_id(seen.job_id)
            if seen.route.changes:
                self._announce(seen)
            reply = seen.route.handle(Asked(seen.caller, seen.job_id, query_text(request), request.body, request))
        except Exception as error:  # noqa: BLE001 - whatever happens, the client gets the wire's own error
            return self._refusal(seen, error)
        operation = seen.route.operation
        _log.info("request answered", operation=operation, status=reply.status, request_id=seen.ids[0], **seen.who())
        self.audit.record({**seen.entry(), "allowed": True, "status": reply.status, **reply.noted})
        content = [("content-type", self.content_type)] if reply.body else []
        return msgspec.structs.replace(reply, headers=[*self.headers(seen.ids, failed=False), *content, *reply.headers])

    def _announce(self, seen: "_Seen") -> None:
        """Nothing is changed that the audit log does not tell: what is about to be done is on disk first. Raises Unavailable."""
        if self.audit.problem is None and self.audit.record({**seen.entry(), "kind": "intent"}, durable=True):
            return
        raise Unavailable(f"Nothing can be changed now: {self.audit.problem}.")

    def refuse(self, request: RawRequest, error: Exception) -> Reply:
        """The answer to a request that could not even be read."""
        return self._refusal(_Seen(request, self.new_ids()), error)

    def turn_down(self, request: RawRequest) -> Reply | None:
        """The answer to a request that names no key that is known: the same, after the same work, as if it had been let this far.
        None where it turns out to be somebody's after all. Reads nothing but the request, so it needs no thread."""
        try:
            self.authenticate(request)
        except Exception as error:  # noqa: BLE001 - as in `answer`
            return self.refuse(request, error)
        return None

    def turn_away(self, request: RawRequest, error: RequestError) -> Reply:
        """The answer while too much is under way, and to what became no whole request. Only the client is told: to write each
        down would add to the load."""
        return self._told(_Seen(request, self.new_ids()), self.errors.find(None, error), str(error), error)

    def _route(self, request: RawRequest) -> tuple[Route, str]:
        parts = self.parts(request)
        found = self.routes.get((*parts[:1], "{}", *parts[2:]) if len(parts) > 1 else parts)
        if found is None:
            raise UnknownPath(request.path)
        if len(parts) > 1 and not parts[1].strip():
            raise InvalidRequest("The path names no job id.")
        for route in found:
            if route.method == request.method:
                return route, parts[1] if len(parts) > 1 else ""
        raise WrongMethod(request.method, [route.method for route in found])

    def _refusal(self, seen: "_Seen", error: Exception) -> Reply:
        operation, request_id = seen.operation, seen.ids[0]
        found = self.errors.find(operation, error)
        known = isinstance(error, RequestError)
        message = str(error) if known else "We encountered an internal error. Please try again."
        listed = self.audit.record(
            {
                **seen.entry(),
                "allowed": seen.caller is not None and not isinstance(error, AccessRefused),
                "status": found.status,
                "code": found.code,
                "reason": message,
            }
        )
        if not known:
            # As text of our own making: a renderer that shows the frames' variables would show secret keys.
            stack = "".join(traceback.format_exception(error))
            _log.error("request failed", operation=operation, code=found.code, request_id=request_id, stack=stack)
        elif listed or seen.caller is not None:  # of strangers no more than the audit log takes: they must not fill a disk
            kind = "request refused" if isinstance(error, AccessRefused) else "request in error"
            _log.info(kind, operation=operation, code=found.code, status=found.status, message=message, request_id=request_id)
        return self._told(seen, found, message, error)

    def _told(self, seen: "_Seen", found: WireError, message: str, error: Exception) -> Reply:
        headers = [
            *self.headers(seen.ids, failed=True),
            ("content-type", self.error_content_type),
            *self.error_headers(found),
        ]
        if isinstance(error, WrongMethod):
            headers.append(("allow", ", ".join(error.allowed)))
        path = _printable(seen.request.path)
        return Reply(found.status, self.error_document(found, _printable(message), path, seen.ids, error), headers)


class _Seen:
    """What is known of a request while it is dealt with."""

    def __init__(self, request: RawRequest, ids: tuple[str, str]) -> None:
        self.request = request
        self.ids = ids
        self.caller: Caller | None = None
        self.route: Route | None = None
        self.job_id = ""

    @property
    def operation(self) -> str | None:
        """The API's name; None where the request named none, or its sender is not known."""
        return None if self.route is None else self.route.operation

    def who(self) -> dict[str, str]:
        """The caller, once known."""
        return {} if self.caller is None else {"account": self.caller.account.name, "user": self.caller.user.name}

    def entry(self) -> dict[str, Any]:
        """The beginning of the request's entry in the audit log."""
        return {
            "kind": "request",
            "request_id": self.ids[0],
            "peer": self.request.peer or None,
            **self.who(),
            "dialect": None if self.caller is None else self.caller.dialect,
            "key": None if self.caller is None or self.caller.key is None else self.caller.key.id,
            "method": self.request.method,
            "path": self.request.path,
            "operation": self.operation,
            "job": self.job_id or None,
        }
