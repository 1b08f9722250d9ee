"""The native API's calls: the same way through as on the wires (`api.wire`), the same service underneath.

A call that waits answers with `Waiting` or `Stream` instead of its document: the rest happens on the event loop (`streams`).
"""

import hashlib
import re
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar, Final

import msgspec

from haulier.api.auth import Authenticator, RawRequest
from haulier.api.auth.sigv4 import signature_of
from haulier.api.native import documents as d
from haulier.api.native import jsonbody, mapping, queries
from haulier.api.native.apis import APIS, ROOT, Api
from haulier.api.native.errors import ERRORS, RETRY_SECONDS, NotAuthenticated, VersionMismatch, WrongHost, problem
from haulier.api.wire import Asked, ErrorTable, Headers, Reply, Route, Target, UnknownPath, Wire, WireError, noted_job
from haulier.core.accounts import Caller
from haulier.core.errors import AccessRefused, BadSignature, IllegalTransition, InvalidRequest, UnknownAccessKey
from haulier.core.job import Job
from haulier.core.lifecycle import TERMINAL, JobStatus
from haulier.core.ports import Audit, Written
from haulier.service import Service

LOOPBACK_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_PORT: Final = re.compile(r":[0-9]+\Z")


Look = Callable[[Caller, bool], Reply | None]


class Waiting(Reply, frozen=True, kw_only=True):
    """No answer yet: look again when something was written about the job, until there is one."""

    caller: Caller
    job_id: str
    seconds: int
    wakes: Callable[[Written], bool]
    """Whether it is worth looking again; on the event loop, so quick."""
    look: Look
    """The answer to the caller as it is by then; None = go on waiting, but not when called with True, at the end of the time."""


class Stream(Reply, frozen=True, kw_only=True):
    """A stream of a job's events and progress, behind the event numbered `after`."""

    caller: Caller
    job_id: str
    after: int


class Given(msgspec.Struct, frozen=True):
    """What a call was given: read, but for the body of a new job."""

    asked: Asked
    query: Any
    body: Any

    @property
    def caller(self) -> Caller:
        """Who asks."""
        return self.asked.caller

    @property
    def job_id(self) -> str:
        """About which job."""
        return self.asked.job_id

    def header(self, name: str) -> bytes | None:
        """A header's only value."""
        return self.asked.request.one(name.lower().encode("ascii"))


class NativeWire(Wire):
    """Answers requests below `/api/v1/`."""

    errors: ClassVar[ErrorTable] = ERRORS
    content_type: ClassVar[str] = "application/json"
    error_content_type: ClassVar[str] = "application/problem+json"

    def __init__(self, service: Service, authenticator: Authenticator, audit: Audit, hosts: Collection[str]) -> None:
        """`hosts` are the names, in lower case and without ports, that the API answers for besides those of loopback."""
        super().__init__(service, authenticator, audit)
        self._hosts = frozenset(hosts) | LOOPBACK_HOSTS

    def table(self) -> Mapping[Target, Sequence[Route]]:
        """As `apis` has it."""
        table: dict[Target, list[Route]] = {}
        for api in APIS:
            table.setdefault(api.parts, []).append(Route(api.method, api.name, api.call, self._handler(api)))
        return table

    def _handler(self, api: Api) -> Callable[[Asked], Reply]:
        work: Callable[[Given], Reply] = getattr(self, f"_{api.name}")

        def handle(asked: Asked) -> Reply:
            query = queries.query(asked.query, api.query)
            return work(Given(asked, query, self._body(api, asked.body)))

        return handle

    @staticmethod
    def _body(api: Api, body: bytes) -> Any:
        if api.body is None:
            if body:
                raise InvalidRequest("The call takes no body.")
            return None
        if api.body_optional and not body:
            return api.body()
        value = jsonbody.read(body)
        return value if api.name == "create" else jsonbody.convert(value, api.body)

    def parts(self, request: RawRequest) -> tuple[str, ...]:
        """The raw path's parts; an escape in it stays what it is and so names nothing."""
        if not request.path.startswith(ROOT):
            raise UnknownPath(request.path)
        return tuple(request.path.removeprefix(ROOT).split("/"))

    def authenticate(self, request: RawRequest) -> Caller:
        """By signature or token; under a listed name only, so that no page of another site can be given ours (DNS rebinding)."""
        host = request.needed(b"host").decode("latin-1")
        if not self.serves(host):
            raise WrongHost(f"The host {host!r} is not served here; the settings list it in server.hosts if it should be.")
        try:
            return self.authenticator.authenticate_native(request)
        except (UnknownAccessKey, BadSignature) as error:  # which of the two it was is nobody's business
            raise NotAuthenticated("The key is not known, or the signature does not match the request.") from error
        except AccessRefused as error:
            if type(error) is AccessRefused:  # the kin have codes of their own
                raise NotAuthenticated(str(error)) from error
            raise

    def serves(self, host: str) -> bool:
        """Whether it answers under this Host."""
        return _PORT.sub("", host).lower() in self._hosts

    def new_ids(self) -> tuple[str, str]:
        """x-request-id, and nothing."""
        return secrets.token_hex(8), ""

    def headers(self, ids: tuple[str, str], *, failed: bool) -> Headers:  # noqa: ARG002 - the same for both
        """The request's id; and no answer is to be kept by anybody on the way."""
        return [("x-request-id", ids[0]), ("cache-control", "no-store"), ("x-content-type-options", "nosniff")]

    def error_document(
        self,
        error: WireError,
        message: str,
        path: str,  # noqa: ARG002
        ids: tuple[str, str],
        cause: Exception,
    ) -> bytes:
        """RFC 9457."""
        return problem(error, message, ids[0], cause)

    def error_headers(self, error: WireError) -> Headers:
        """How to come in, or when to come back."""
        if error.status == 401:
            return [("www-authenticate", 'AWS4-HMAC-SHA256 service="s3", Bearer')]
        return [("retry-after", str(RETRY_SECONDS))] if error.status in (429, 503) else []

    # -- jobs

    def _create(self, given: Given) -> Reply:
        key = queries.idempotency_key(given.header("Idempotency-Key"))
        own = _token_without_key(given)
        wanted = mapping.create_job(given.body, key, given.caller, otherwise=own, extensions=self.service.extensions)
        job = self.service.create(given.caller, wanted)
        return _new_job_reply(job, noted_job(job))

    def _retry(self, given: Given) -> Reply:
        token = queries.idempotency_key(given.header("Idempotency-Key")) or _token_without_key(given)
        job = self.service.retry(given.caller, given.job_id, mapping.retry_job(given.body, given.job_id, token))
        return _new_job_reply(job, {**noted_job(job), "retry_of": given.job_id})

    def _list(self, given: Given) -> Reply:
        query: d.ListQuery = given.query
        page = self.service.list(
            given.caller,
            statuses=frozenset(query.status),
            operations=frozenset(query.operation),
            tags=query.tag,
            text=query.text,
            limit=query.limit,
            token=query.cursor,
        )
        return _reply(d.JobList(jobs=tuple(mapping.listed(job) for job in page.jobs), next=page.next_token))

    def _get(self, given: Given) -> Reply:
        query: d.JobQuery = given.query
        known = queries.etags(given.header("If-None-Match"), "If-None-Match", weak=True)
        seen = known if query.version is None else frozenset({query.version})

        def look(caller: Caller, last: bool) -> Reply | None:
            job = self.service.describe(caller, given.job_id)
            document = mapping.job_document(job)
            changed = seen is not None and not seen & {"*", document.version}
            return _unless_known(_job_reply(job), known) if last or changed or _ended(job) else None

        def wakes(written: Written) -> bool:
            return seen is not None or _ended(written.job)

        return self._waiting(given, query.wait, wakes, look)

    def _waiting(self, given: Given, seconds: int, wakes: Callable[[Written], bool], look: Look) -> Reply:
        """The answer, if there is one at once."""
        reply = look(given.caller, not seconds)
        if reply is not None:
            return reply
        return Waiting(200, caller=given.caller, job_id=given.job_id, seconds=seconds, wakes=wakes, look=look)

    def _events(self, given: Given) -> Reply:
        query: d.EventQuery = given.query

        def look(caller: Caller, last: bool) -> Reply | None:
            ended = _ended(self.service.describe(caller, given.job_id))  # before the events: none is missed then
            events = self.service.events(caller, given.job_id, after=query.after, limit=query.limit)
            if not (events or last or ended):
                return None
            told = tuple(mapping.event_document(event) for event in events)
            return _reply(d.EventList(events=told, last=told[-1].sequence if told else query.after, ended=ended))

        return self._waiting(given, query.wait, lambda written: written.recorded or _ended(written.job), look)

    def _failures(self, given: Given) -> Reply:
        classes = self.service.failures(given.caller, given.job_id)
        return _reply(d.FailureList(failures=tuple(mapping.failure_class(each) for each in classes)))

    def _progress(self, given: Given) -> Reply:
        query: d.ProgressQuery = given.query
        last = queries.event_number(given.header("Last-Event-ID"))
        job = self.service.describe(given.caller, given.job_id)
        if last and not self.service.events(given.caller, job.id, after=last - 1, limit=1):
            last = None  # not of this record: an older backup was restored since, say
        after = query.after if last is None else last
        if last is not None and _ended(job) and not self.service.events(given.caller, job.id, after=after, limit=1):
            return Reply(204)  # the only answer after which a browser does not ask again
        return Stream(200, caller=given.caller, job_id=job.id, after=after)

    def _delete(self, given: Given) -> Reply:
        self.service.delete(given.caller, given.job_id, precondition=_holds(given, _job_version))
        return Reply(204)

    # -- changes

    def _confirm(self, given: Given) -> Reply:
        return self._to(given, "Ready", "a confirmation", may_be=lambda job: job.paused_by is None)

    def _pause(self, given: Given) -> Reply:
        return self._to(given, "Paused", "a pause")

    def _resume(self, given: Given) -> Reply:
        return self._to(given, "Ready", "resuming", may_be=lambda job: job.paused_by is not None)

    def _cancel(self, given: Given) -> Reply:
        return self._to(given, "Cancelled", "a cancellation")

    def _to(self, given: Given, requested: str, what: str, *, may_be: Callable[[Job], bool] = lambda _: True) -> Reply:
        holds = _holds(given, _job_version)

        def precondition(job: Job) -> None:
            holds(job)
            if not may_be(job):
                raise IllegalTransition(job.id, job.status, what)

        reason = mapping.text_of(given.body.reason, "reason")
        job = self.service.set_status(given.caller, given.job_id, requested, reason, precondition=precondition).job
        return _job_reply(job, noted={"requested": requested, "became": str(job.status), "why": reason})

    def _deliver_report(self, given: Given) -> Reply:
        to = mapping.place(given.body)
        job = self.service.deliver_report(given.caller, given.job_id, to, precondition=_holds(given, _job_version))
        noted = {} if to is None else {"to": f"s3://{to.bucket}/{to.prefix}"}
        return _job_reply(job, status=202, noted=noted)

    def _set_priority(self, given: Given) -> Reply:
        holds = _holds(given, _job_version)
        job = self.service.set_priority(given.caller, given.job_id, given.body.priority, precondition=holds)
        return _job_reply(job, noted={"priority": job.priority})

    def _set_limits(self, given: Given) -> Reply:
        limits = mapping.limits(given.body)
        job = self.service.set_limits(given.caller, given.job_id, limits, precondition=_holds(given, _job_version))
        noted = {} if limits is None else {name: value for name, value in msgspec.structs.asdict(limits).items() if value}
        return _job_reply(job, noted={"limits": noted})

    # -- tags

    def _get_tags(self, given: Given) -> Reply:
        reply = _tags_reply(self.service.get_tags(given.caller, given.job_id))
        return _unless_known(reply, queries.etags(given.header("If-None-Match"), "If-None-Match", weak=True))

    def _put_tags(self, given: Given) -> Reply:
        tags = mapping.job_tags(given.body.tags)
        self.service.put_tags(given.caller, given.job_id, tags, precondition=_holds(given, _tags_version))
        return _tags_reply(tags)

    def _delete_tags(self, given: Given) -> Reply:
        self.service.delete_tags(given.caller, given.job_id, precondition=_holds(given, _tags_version))
        return Reply(204)


_NOTHING: Final[Mapping[str, Any]] = {}


def _reply(document: msgspec.Struct, *, status: int = 200, etag: str | None = None) -> Reply:
    headers = [] if etag is None else [("etag", f'"{etag}"')]
    return Reply(status, msgspec.json.encode(document), headers)


def _job_reply(job: Job, *, status: int = 200, noted: Mapping[str, Any] = _NOTHING) -> Reply:
    document = mapping.job_document(job)
    return msgspec.structs.replace(_reply(document, status=status, etag=document.version), noted=noted)


def _new_job_reply(job: Job, noted: Mapping[str, Any]) -> Reply:
    reply = _job_reply(job, status=201, noted=noted)
    return msgspec.structs.replace(reply, headers=[*reply.headers, ("location", f"{ROOT}jobs/{job.id}")])


def _tags_reply(tags: Mapping[str, str]) -> Reply:
    return _reply(d.TagsDocument(tags=dict(tags)), etag=mapping.version_of(tags))


def _unless_known(reply: Reply, known: frozenset[str] | None) -> Reply:
    """The reply, or 304 where its ETag is one of those of If-None-Match."""
    etag = dict(reply.headers)["etag"].strip('"')
    return Reply(304, headers=reply.headers) if known is not None and known & {"*", etag} else reply


def _token_without_key(given: Given) -> str:
    """For a signed request without a key, one that its copies share, so that whoever replays it makes no second job. A new one
    for a bearer token, which is the same in every request."""
    signature = signature_of(given.header("Authorization") or b"")
    return secrets.token_hex(16) if signature is None else hashlib.sha256(signature).hexdigest()


def _ended(job: Job) -> bool:
    return JobStatus(job.status) in TERMINAL


def _job_version(job: Job) -> str:
    return mapping.job_document(job).version


def _tags_version(job: Job) -> str:
    return mapping.version_of(job.tags)


def _holds(given: Given, version: Callable[[Job], str]) -> Callable[[Job], None]:
    """Raises VersionMismatch for a job whose version is none of those that If-Match names."""
    wanted = queries.etags(given.header("If-Match"), "If-Match", weak=False)

    def check(job: Job) -> None:
        if wanted is not None and not wanted & {"*", version(job)}:
            raise VersionMismatch("If-Match: the job has changed since; get it again and look at what it is now.")

    return check
