"""What must be checked below ASGI: an application sees a request only after the server has accepted and changed it.

A subclass of uvicorn's httptools protocol (0.54; raw-socket tests in `tests/wire` guard the pin) that sees to it that

* no more connections are open than there may be, in all and from one address; others are answered 503, in the words of the wire
  that their head names, and closed;
* exactly one Host header came, not both Content-Length and Transfer-Encoding, at most 100 headers and 16 KiB of head;
* the head came within 10 s, the body within 30 s and without standing still for 10 s (how it is read besides: `pacing`);
* the target is a path, or absolute for one of the two wires with the authority of the Host header: that is what a client sends
  whose HTTP_PROXY is this port. Nothing is ever forwarded: CONNECT is answered 405, other proxied traffic 403.

The application finds the target as it was sent in `scope["haulier.raw_target"]`; path, raw path and query are those behind the
authority. Configure uvicorn with `ws="none"`, `proxy_headers=False` (a forwarded address must not become the peer) and
`access_log=False` (a query may hold a signature).
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import ClassVar, Final, NamedTuple, Protocol, runtime_checkable

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from haulier.api.auth.request import RawRequest
from haulier.api.heads import HEAD_BYTES_MAX, HEADERS_MAX, Refused, check_headers, check_target, split_target
from haulier.api.pacing import Held, PacedProtocol

EXTRA_CONNECTIONS: Final = 64
"""Beyond the limit, of which a head is read, so that the refusal is in the words of the wire."""
EXTRA_SECONDS: Final = 1.0
BODY_BYTES_MIN: Final = 16 * 1024
"""Of a body, or the rest of it, in the time that its sender may stand still."""
SHUTDOWN_SECONDS: Final = 2.0
"""For what is still on its way when the server ends."""


def _too_many() -> Refused:
    return Refused(503, "More connections are open than this server allows. Please try again later.")


class Answer(NamedTuple):
    """An answer to a request that no application sees; Content-Length and Connection are added."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes


@runtime_checkable
class Refuser(Protocol):
    """An application that also words the refusals of requests that it never sees."""

    def refusal(self, refused: Refused, request: RawRequest) -> Answer:
        """What to say; of the request as much is there as was read before the refusal, maybe nothing."""


class HaulierHttpProtocol(PacedProtocol):
    """One connection. Pass the class as uvicorn's `http=`."""

    head_seconds: ClassVar[float] = 10.0
    body_seconds: ClassVar[float] = 30.0
    still_seconds: ClassVar[float] = 10.0
    """Within which BODY_BYTES_MIN of a body come."""
    connections_max: ClassVar[int] = 8_000
    connections_per_peer_max: ClassVar[int] = 2_000
    connected: ClassVar[Counter[str]] = Counter()
    """Open connections by the peer's address, but for extra ones."""
    extra: ClassVar[set["HaulierHttpProtocol"]] = set()
    """Connections beyond the limit."""

    secured: Callable[[], None] | None = None
    """Called when the connection has become this protocol's: whoever counted it until then does so no longer."""

    _refused: Refused | None = None
    _head_received = 0
    """Bytes since the head began, which the parser may still be holding; exact but for heads behind others in one read."""
    _head_parsed = 0
    """Bytes of target and headers that it has handed on."""
    _begun = 0
    """Requests that began in the current read."""
    _in_head = False
    _in_body = False
    _deadline: asyncio.TimerHandle | None = None
    _body_due = 0.0
    _body_received = 0
    """Bytes since that deadline was set."""

    # -- connections

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As above it; the first head is due from here."""
        if self.secured is not None:
            self.secured()
        super().connection_made(transport)
        peer = self._peer
        self.connected[peer] += 1
        if not self.full(peer):
            self._expect(self.head_seconds, "head")
            return
        self.uncount(peer)
        self.extra.add(self)
        if len(self.extra) > EXTRA_CONNECTIONS:
            self._end(_too_many())
        else:
            self._expect(EXTRA_SECONDS, "head")

    def connection_lost(self, exc: Exception | None) -> None:
        """As above it."""
        self._expect(None)
        if self in self.extra:
            self.extra.remove(self)
        else:
            self.uncount(self._peer)
        super().connection_lost(exc)

    @property
    def _peer(self) -> str:
        return "" if self.client is None else self.client[0]

    def full(self, peer: str) -> bool:
        """Whether, with this one, more connections are open than may be."""
        return (
            len(self.connections) - len(self.extra) > self.connections_max or self.connected[peer] > self.connections_per_peer_max
        )

    def uncount(self, peer: str) -> None:
        """A connection of this address has ended."""
        self.connected[peer] -= 1
        if not self.connected[peer]:
            del self.connected[peer]

    # -- deadlines

    def _expect(self, seconds: float | None, part: str = "") -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self._overdue, part)

    def _expect_body(self, seconds: float) -> None:
        self._body_due = self.loop.time() + seconds
        self._body_received = 0
        self._expect(min(seconds, self.still_seconds), "body")

    def _overdue(self, part: str) -> None:
        self._deadline = None
        if self.transport.is_closing():
            return
        left = self._body_due - self.loop.time()
        if part == "body" and left > 0 and self._body_received >= BODY_BYTES_MIN:
            self._expect_body(left)
            return
        self._end(_too_many() if self in self.extra else Refused(408, f"The request's {part} did not arrive in time."))

    def fell_behind(self) -> None:
        """It is not the client that keeps us waiting."""
        self._expect(None)

    def caught_up(self) -> None:
        """The rest of a head that has begun, or of a body, is due from here."""
        if self._deadline is None and self._in_head:
            self._expect(self.head_seconds, "head")
        elif self._deadline is None and self._in_body:
            self._expect_body(self.body_seconds)

    # -- what is read

    def parse(self, data: bytes) -> None:
        """As above it to the parser, with the head's size and time watched also while the parser has not seen a whole header."""
        between = not self._in_head and not self._in_body
        self._begun = 0
        self._head_received += len(data)
        super().parse(data)
        if between and self._begun == 1:
            self._head_received = len(data)
        if self.transport.is_closing() or self._in_body:
            return
        if self._deadline is None and not self.unanswered():
            self._expect(self.head_seconds, "head")  # bytes that begin no request would otherwise keep the connection for ever
        if self._in_head and self._head_received > HEAD_BYTES_MAX:
            self._end(Refused(431, f"The request's head is larger than {HEAD_BYTES_MAX:,} bytes."))

    # -- the parser's events

    def on_message_begin(self) -> None:
        """As above it."""
        super().on_message_begin()
        self._in_head = True
        self._begun += 1
        self._head_received = self._head_parsed = 0
        if self._deadline is None:
            self._expect(self.head_seconds, "head")

    def on_url(self, url: bytes) -> None:
        """As above it, up to the head's limit."""
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """As above it, up to the head's limits. Trailers, which the parser hands on too, would escape the checks of the head."""
        if self._in_body:
            self._refuse(400, "Fields after a chunked body are not understood.")
        super().on_header(name, value)
        self._count(len(name) + len(value) + 4)

    def _count(self, size: int) -> None:
        self._head_parsed += size
        if self._head_parsed > HEAD_BYTES_MAX or len(self.headers) > HEADERS_MAX:
            self._refuse(431, f"The request has more than {HEADERS_MAX} headers or more than {HEAD_BYTES_MAX:,} bytes of them.")

    def _refuse(self, status: int, message: str) -> None:
        self._refused = Refused(status, message)
        raise self._refused

    def on_headers_complete(self) -> None:
        """Checks the head as a whole, then goes on as above it."""
        self._expect(None)
        target = self.url
        try:
            if self in self.extra:
                raise _too_many()
            host = check_headers(self.headers, self.parser.get_http_version())
            self.url = check_target(self.parser.get_method(), target, host)
        except Refused as refused:
            self._refused = refused
            raise
        self._in_head = False
        self.scope["haulier.raw_target"] = target  # type: ignore[typeddict-unknown-key]
        super().on_headers_complete()
        self._in_body = True
        if not self.pipeline:  # a queued request is not read on until its turn: that is not the client's fault
            self._expect_body(self.body_seconds)

    def on_body(self, body: bytes) -> None:
        """As above it."""
        self._body_received += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """As above it."""
        self._in_body = False
        self._expect(None)
        super().on_message_complete()

    def shutdown(self) -> None:
        """As above it; a body that is still coming, or an end of TLS, gets little more time, for the server waits for it."""
        super().shutdown()
        if self.transport.is_closing():
            self.loop.call_later(SHUTDOWN_SECONDS, self.transport.abort)
        elif self._in_body:
            self._expect_body(min(self.body_seconds, SHUTDOWN_SECONDS))

    def send_400_response(self, msg: str) -> None:
        """The answer to a request that the parser, or a check in one of its events, refused."""
        self._end(self._refused or Refused(400, msg))

    def _end(self, refused: Refused) -> None:
        """Answer a request that does not reach the application, and end the connection."""
        self._expect(None)
        self._unset_keepalive_if_required()
        if not self.unanswered() or (self._in_body and not self.pipeline and not self.cycle.response_started):
            self.transport.write(self._worded(refused))
        # else: the client would take it for the answer to an earlier request, or for a part of one
        self.close()

    def _worded(self, refused: Refused) -> bytes:
        app: object = self.config.app
        if isinstance(app, Refuser):
            answer = app.refusal(refused, self._seen())
        else:
            answer = Answer(refused.status, [("content-type", "text/plain; charset=utf-8")], refused.message.encode("utf-8"))
        headers = [*answer.headers, ("content-length", str(len(answer.body))), ("connection", "close")]
        if refused.status == 405:
            headers.append(("allow", "GET, HEAD, POST, PUT, DELETE"))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        return STATUS_LINE[answer.status] + lines.encode("latin-1") + b"\r\n" + answer.body

    def _seen(self) -> RawRequest:
        """As much of the request as was read."""
        begun = self._in_head or self._in_body
        path, query = split_target(self.url if begun else b"")
        headers = list(self.headers) if begun else []
        return RawRequest("", path, query, headers, b"", secure=self.scheme == "https", peer=self._peer)


def protocol() -> type[HaulierHttpProtocol]:
    """A class of its own, with limits that can be set and its own count of connections."""
    return type("LimitedHttpProtocol", (HaulierHttpProtocol,), {"connected": Counter(), "extra": set(), "all_held": Held()})
