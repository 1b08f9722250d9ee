"""The store as a runner's driver sees it: requests that travel, are carried out or not, and come back or not.

Below the driver everything is a model (`S3Answers` over objects in memory); above it everything is real: signing, reading
answers, retries, throttle, breaker, operations.
"""

import random
from collections.abc import Callable, Iterable, Mapping
from email.utils import formatdate
from typing import Final, Literal
from urllib.parse import unquote_to_bytes

import msgspec

from haulier.core.effects import Answer, FileBody, Request
from haulier.core.errors import StoreError
from haulier.core.ports import Clock
from haulier.objectstore.driver import IDLE_SECONDS, Fiber
from haulier.objectstore.memory import MemoryObjectStore
from haulier.objectstore.xml import Document
from haulier.testing.s3answers import Reply, S3Answers, Seen, error_reply
from haulier.testing.simulation.crashpoints import CrashPoints
from haulier.testing.simulation.hub import Hub, Process
from haulier.testing.simulation.plan import StoreFault
from haulier.testing.simulation.strands import StrandPoller

ENDPOINT: Final = "http://store.test"
SILENT_SECONDS: Final = 20.0
"""How long a connection may be dead before anybody notices."""
Change = Literal["tag", "copy", "delete", "put"]


class SkewedClock:
    """The store's own clock."""

    def __init__(self, clock: Clock, ahead_ms: int) -> None:
        self._clock = clock
        self._ahead_ms = ahead_ms

    def now_ms(self) -> int:
        """See `Clock`."""
        return self._clock.now_ms() + self._ahead_ms

    def monotonic(self) -> float:
        """See `Clock`."""
        return self._clock.monotonic()


class Sent(msgspec.Struct, kw_only=True):
    """A request on its way."""

    runner: str
    at: float
    what: str
    """One of `crashpoints.REQUESTS`."""
    change: Change | None
    """What it is to do to its objects; None = it only reads."""
    bucket: str
    keys: tuple[tuple[bytes, bytes | None], ...]
    """With their versions; several of DeleteObjects."""
    batch: bool
    seen: Seen
    looked: bool
    """HEAD of an object."""
    effects: list[tuple[float, tuple[str, str, bytes]]] = []
    """What it has done, and when."""
    answered: int | None = None
    """The status that its runner got to see; 0 = no answer."""
    left: bool = True
    """False once it is known never to have reached the store."""


class Watch:
    """Is told of everything that passes between runners and the store; the oracle is one."""

    def sending(self, sent: Sent) -> None:
        """The runner lets the request go."""

    def carrying_out(self, sent: Sent) -> None:
        """The store begins to do it."""

    def carried_out(self, sent: Sent) -> None:
        """The store has done it."""

    def came_back(self, sent: Sent) -> None:
        """The runner has its answer, or knows that none will come."""


class ModelStore:
    """One store for all runners; `faults` may be emptied, and `away` set, at any time."""

    def __init__(
        self, hub: Hub, buckets: Iterable[str], versioned: Iterable[str], *, skew_ms: int, seconds: float, seed: str
    ) -> None:
        self.clock = SkewedClock(hub.clock, skew_ms)
        self.objects = MemoryObjectStore(self.clock, buckets, versioned)
        self.faults: Mapping[StoreFault, float] = {}
        self.away = False
        self.under_way: dict[int, Sent] = {}
        """Requests of runners that live, by a number."""
        self._answers = S3Answers(self.objects, self._expired)
        self._hub = hub
        self._seconds = seconds
        self.chance = random.Random(seed)
        self._count = 0
        self._date = (-1, b"")

    def _expired(self, seen: Seen) -> StoreError | None:
        """Session tokens of the simulation are the moment of their end, by our clock."""
        token = seen.headers.get("x-amz-security-token")
        if token is None or self._hub.clock.now_ms() < int(token):
            return None
        return StoreError(400, "ExpiredToken", "the token has expired")

    def travel(self) -> float:
        """Seconds one way, or what the store takes: mostly about the same, now and then much longer."""
        chance = self.chance
        seconds = chance.uniform(0.2, 1.0) * self._seconds / 2
        return seconds if chance.random() < 0.97 else seconds * chance.uniform(2.0, 20.0)

    def fault(self) -> StoreFault | None:
        """What happens to the next request."""
        draw = self.chance.random()
        for kind, share in self.faults.items():
            draw -= share
            if draw < 0:
                return kind
        return None

    def number(self) -> int:
        """A new one for a request."""
        self._count += 1
        return self._count

    def carry_out(self, sent: Sent, watch: Watch) -> Reply:
        """Do what the request asks for."""
        watch.carrying_out(sent)
        before = len(self.objects.log)
        reply = self._answers.carry_out(sent.seen)
        sent.effects += [(self._hub.now, effect) for effect in self.objects.log[before:]]
        watch.carried_out(sent)
        return reply

    def headers(self, reply: Reply, method: str) -> bytes:
        """The head of an answer."""
        second = self.clock.now_ms() // 1000
        if second != self._date[0]:
            self._date = second, f"Date: {formatdate(second, usegmt=True)}\r\nServer: model\r\n".encode()
        length = "" if "Content-Length" in reply.headers or method == "HEAD" else f"Content-Length: {len(reply.body)}\r\n"
        lines = "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
        return self._date[1] + (lines + length).encode("latin-1")


class ModelTransport:
    """`objectstore.driver.Transport` of one runner."""

    def __init__(self, process: Process, store: ModelStore, poller: StrandPoller, points: CrashPoints, watch: Watch) -> None:
        self._process = process
        self._store = store
        self._poller = poller
        self._points = points
        self._watch = watch
        self._begun: list[tuple[Request, Fiber]] = []
        self._ended: list[tuple[Fiber, Request, Answer]] = []
        self._closed = False
        self._numbers: set[int] = set()

    # -- what the driver calls

    def begin(self, request: Request, fiber: Fiber) -> None:
        """See `Transport`."""
        self._begun.append((request, fiber))

    def flush(self, now: float) -> None:
        """See `Transport`."""
        begun, self._begun = self._begun, []
        for request, fiber in begun:
            self._send(request, fiber, now)

    def ready(self, descriptor: int, mask: int) -> None:  # noqa: ARG002 - the port's signature
        """There are no sockets."""
        raise AssertionError

    def finished(self) -> Iterable[tuple[Fiber, Request, Answer]]:
        """See `Transport`."""
        ended, self._ended = self._ended, []
        return ended

    def wait_seconds(self, now: float) -> float:  # noqa: ARG002 - the port's signature
        """See `Transport`."""
        return IDLE_SECONDS

    def close(self) -> None:
        """See `Transport`."""
        self._closed = True
        for number in self._numbers:
            self._store.under_way.pop(number, None)

    # -- on the way

    def _send(self, request: Request, fiber: Fiber, now: float) -> None:
        sent = _sent(self._process.name, request, now)
        self._points.reach(f"{sent.what}: before sending", self._process)
        self._watch.sending(sent)
        store, number = self._store, self._store.number()
        store.under_way[number] = sent
        self._numbers.add(number)
        travelling = True

        def back(answer: Answer) -> None:
            """The answer arrives, once."""
            nonlocal travelling
            store.under_way.pop(number, None)
            if self._closed or not travelling:
                return
            travelling = False
            sent.answered, sent.left = answer.status, answer.sent
            self._watch.came_back(sent)
            self._points.reach(f"{sent.what}: answered", self._process)
            self._ended.append((fiber, request, answer))
            self._poller.wake()

        def return_to(answer: Answer, seconds: float) -> None:
            self._process.later(seconds, lambda: back(answer))

        def arrive() -> None:
            if self._process.dead and store.fault() is None and number % 2:
                return  # what was still in the sender's buffers is lost with it
            self._deal(sent, return_to)

        self._process.later(request.timeout_seconds, lambda: back(Answer(0, failure="no answer in time")))
        self._process.hub.later(store.travel(), arrive)
        self._points.reach(f"{sent.what}: sent", self._process)

    def _deal(self, sent: Sent, answer: Callable[[Answer, float], None]) -> None:
        """The request has arrived: what the store, or what lies before it, makes of it."""
        store = self._store
        fault = store.fault()
        if store.away:
            answer(Answer(0, failure="connection refused", sent=False), store.travel())
        elif fault == "reset before the effect":
            answer(Answer(0, failure="connection reset"), store.travel())
        elif fault == "slow down":
            self._reply(sent, error_reply(503, "SlowDown", "please reduce your request rate"), answer)
        elif fault == "500":
            self._reply(sent, error_reply(500, "InternalError", "something broke"), answer)
        else:
            seconds = store.travel() * (25.0 if fault == "slow" else 1.0)
            self._process.hub.later(seconds, lambda: self._do(sent, fault, answer))

    def _do(self, sent: Sent, fault: StoreFault | None, answer: Callable[[Answer, float], None]) -> None:
        store = self._store
        reply = store.carry_out(sent, self._watch)
        if self._points.due(f"{sent.what}: carried out") and not self._process.dead:
            self._process.kill()
        if fault == "carried out twice" and not sent.seen.headers.get("if-none-match") and sent.change in ("tag", "put"):
            store.carry_out(sent, self._watch)  # what a proxy, or curl on a kept connection, repeats by itself
        if fault == "reset after the effect":
            answer(Answer(0, failure="connection reset"), store.travel())
        elif fault == "no answer":
            answer(Answer(0, failure="connection lost"), self._store.travel() + SILENT_SECONDS * self._store.chance.random())
        elif fault == "500 after the effect":
            self._reply(sent, error_reply(500, "InternalError", "something broke afterwards"), answer)
        elif fault == "504 after the effect":
            self._reply(sent, Reply(504, b"<html>Gateway Timeout</html>"), answer)
        elif fault == "200 with <Error>" and reply.status == 200 and sent.change is not None:
            self._reply(sent, Reply(200, error_reply(500, "InternalError", "something broke later").body), answer)
        elif fault == "200, empty" and reply.status == 200 and reply.body:
            self._reply(sent, Reply(200), answer)
        elif fault == "200, cut XML" and reply.status == 200 and reply.body and sent.change is not None:
            self._reply(sent, Reply(200, reply.body[: len(reply.body) // 2]), answer)
        else:
            self._reply(sent, reply, answer)

    def _reply(self, sent: Sent, reply: Reply, answer: Callable[[Answer, float], None]) -> None:
        method = sent.seen.method
        body = b"" if method == "HEAD" else reply.body
        answer(Answer(reply.status, self._store.headers(reply, method), body), self._store.travel())


def _sent(runner: str, request: Request, now: float) -> Sent:
    target = request.url.removeprefix(ENDPOINT)
    path, _, query = target.partition("?")
    bucket, _, name = path[1:].partition("/")
    key = unquote_to_bytes(name)
    headers = {"host": "store.test"}
    for line in request.headers:
        header, _, value = line.partition(": ")
        headers[header] = value
    body = request.body
    content = b"" if body is None else body.path.read_bytes() if isinstance(body, FileBody) else body
    seen = Seen(request.method, target, headers, content, now)
    version = query.rpartition("versionId=")[2].encode() if "versionId=" in query else None
    keys: tuple[tuple[bytes, bytes | None], ...] = ((key, version),)
    batch = request.method == "POST"
    change: Change | None = None
    if batch:
        change = "delete"
        objects = Document(content).each("Object")
        keys = tuple((one["Key"].encode(), one["VersionId"].encode() if "VersionId" in one else None) for one in objects)
    elif request.method == "DELETE":
        change = "delete"
    elif request.method == "PUT":
        change = "tag" if query.startswith("tagging") else "copy" if "x-amz-copy-source" in headers else "put"
    return Sent(
        runner=runner,
        at=now,
        what=_purpose(request.method, bucket, key, query, change),
        change=change,
        bucket=bucket,
        keys=keys,
        batch=batch,
        seen=seen,
        looked=request.method == "HEAD",
    )


def _purpose(method: str, bucket: str, key: bytes, query: str, change: Change | None) -> str:
    if bucket == "lists":
        if method == "GET" and key.endswith(b".csv") and b"results/" not in key:
            return "manifest read"
        if method == "PUT" and b"manifest.json" in key:
            return "report's manifest"
        if method == "PUT" and b"results/" in key:
            return "report part"
        return "other request"
    if bucket == "scratch":
        return "other request"
    if change is not None:
        return "task"
    return "look back" if method == "HEAD" and not query.startswith("tagging") else "other request"
