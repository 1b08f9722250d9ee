"""What must be checked below ASGI: an application sees a request only after the server has accepted and changed it.

A subclass of uvicorn's httptools protocol (0.54; raw-socket tests in `tests/wire` guard the pin) that sees to it that

* no more connections are open than there may be, in all and from one address; others are answered 503 and closed;
* exactly one Host header came, not both Content-Length and Transfer-Encoding, at most 100 headers and 16 KiB of head;
* the head came within 10 s, the body within 30 s and without standing still for 10 s; a client that takes nothing of its answer
  for 30 s is hung up on;
* pipelined requests are parsed and read only as far as their turn is near: what is sent ahead stays with its sender;
* the target is a path, or absolute for one of the two wires with the authority of the Host header: that is what a client sends
  whose HTTP_PROXY is this port. Nothing is ever forwarded: CONNECT is answered 405, other proxied traffic 403.

The application finds the target as it was sent in `scope["haulier.raw_target"]`; path, raw path and query are those behind the
authority. Configure uvicorn with `ws="none"`, `proxy_headers=False` (a forwarded address must not become the peer) and
`access_log=False` (a query may hold a signature).
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import ClassVar, Final

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from haulier.api.heads import HEAD_BYTES_MAX, HEADERS_MAX, Refused, check_headers, check_target

PIECE_BYTES: Final = 512
"""Parsed at a time, and nothing while a request waits for its turn: so no more than twenty can wait on a connection."""
HELD_BYTES_MAX: Final = 32 * 1024 * 1024
"""Read, but not parsed yet, of all connections together; one that would add to it is ended."""
TAKEN_BYTES_MIN: Final = 16 * 1024
"""Of an answer, in the time that a client has to read on."""
BODY_BYTES_MIN: Final = 16 * 1024
"""Of a body, or the rest of it, in the time that its sender may stand still."""
SHUTDOWN_BODY_SECONDS: Final = 2.0


class _Flow(FlowControl):
    """uvicorn reads on after each answer and whenever a body is asked for; here not while we are behind with what was read."""

    def __init__(self, transport: asyncio.Transport, behind: Callable[[], bool]) -> None:
        super().__init__(transport)
        self._behind = behind

    def resume_reading(self) -> None:
        """As above it, unless we are behind."""
        if not self._behind():
            super().resume_reading()


class _Held:
    """What was read but not parsed yet, of all connections."""

    def __init__(self) -> None:
        self.bytes = 0


class HaulierHttpProtocol(HttpToolsProtocol):
    """One connection. Pass the class as uvicorn's `http=`."""

    head_seconds: ClassVar[float] = 10.0
    body_seconds: ClassVar[float] = 30.0
    still_seconds: ClassVar[float] = 10.0
    """Within which BODY_BYTES_MIN of a body come."""
    taking_seconds: ClassVar[float] = 30.0
    """Within which a client takes TAKEN_BYTES_MIN of an answer, or what is left of it."""
    connections_max: ClassVar[int] = 8_000
    connections_per_peer_max: ClassVar[int] = 2_000
    connected: ClassVar[Counter[str]] = Counter()
    """Open connections by the peer's address."""
    all_held: ClassVar[_Held] = _Held()

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
    _held = b""
    """Read, but not parsed yet: a request before it waits for its turn."""
    _in_turn: RequestResponseCycle | None = None
    """The request that is being answered, or was last."""
    _taking: asyncio.TimerHandle | None = None
    _untaken = 0
    """Bytes of answers that the client had still to take when that timer was set."""

    # -- connections

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As above it; the first head is due from here."""
        if self.secured is not None:
            self.secured()
        super().connection_made(transport)
        self.flow = _Flow(transport, self._behind)
        peer = "" if self.client is None else self.client[0]
        self.connected[peer] += 1
        if self.full(peer):
            self._refused = Refused(503, "More connections are open than this server allows.")
            self.send_400_response("")
            return
        self._expect(self.head_seconds, "head")

    def connection_lost(self, exc: Exception | None) -> None:
        """As above it."""
        self._expect(None)
        self._hold(b"")
        if self._taking is not None:
            self._taking.cancel()
        peer = "" if self.client is None else self.client[0]
        self.uncount(peer)
        super().connection_lost(exc)

    def full(self, peer: str) -> bool:
        """Whether, with this one, more connections are open than may be."""
        return len(self.connections) > self.connections_max or self.connected[peer] > self.connections_per_peer_max

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
        self._refused = Refused(408, f"The request's {part} did not arrive in time.")
        self.send_400_response("")

    def pause_writing(self) -> None:
        """As above it; the client has to read on."""
        super().pause_writing()
        self._watch_taking()

    def resume_writing(self) -> None:
        """As above it."""
        super().resume_writing()
        if self._taking is not None and not self.transport.is_closing():
            self._taking.cancel()
            self._taking = None

    def timeout_keep_alive_handler(self) -> None:
        """As above it; a transport that is closed stays until the last answer was taken."""
        super().timeout_keep_alive_handler()
        self._watch_taking()

    def _watch_taking(self) -> None:
        if self._taking is None:
            self._untaken = self.transport.get_write_buffer_size()
            self._taking = self.loop.call_later(self.taking_seconds, self._check_taking)

    def _check_taking(self) -> None:
        self._taking = None
        left = self.transport.get_write_buffer_size()
        if left > max(0, self._untaken - TAKEN_BYTES_MIN):
            self._hang_up()
        else:
            self._watch_taking()

    # -- what is read

    def data_received(self, data: bytes) -> None:
        """As above it, piece by piece, until a request has to wait for its turn."""
        if self._held:
            self._hold(self._held + data)
        else:
            self._read_on(data)

    def _read_on(self, data: bytes) -> None:
        position = 0
        while position < len(data) and not self.pipeline and not self.transport.is_closing():
            self._parse(data[position : position + PIECE_BYTES])
            position += PIECE_BYTES
        self._hold(b"" if self.transport.is_closing() else data[position:])
        if self._behind():
            self._expect(None)  # it is not the client that keeps us waiting
            self.flow.pause_reading()

    def _hold(self, data: bytes) -> None:
        more = len(data) - len(self._held)
        if more > 0 and self.all_held.bytes + more > HELD_BYTES_MAX:
            self._hang_up()
            return
        self.all_held.bytes += more
        self._held = data

    def _behind(self) -> bool:
        return bool(self.pipeline or self._held)

    def _catch_up(self) -> None:
        """A request's turn has come: what was sent behind it may be read on."""
        data, still = self._held, bool(self.pipeline)
        if still or self.transport.is_closing():
            return
        self._hold(b"")
        self._read_on(data)
        if self._behind() or self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self._deadline is None and self._in_head:
            self._expect(self.head_seconds, "head")

    def _parse(self, data: bytes) -> None:
        """Hands it to the parser, with the head's size and time watched also while the parser has not seen a whole header."""
        between = not self._in_head and not self._in_body
        self._begun = 0
        self._head_received += len(data)
        super().data_received(data)
        if between and self._begun == 1:
            self._head_received = len(data)
        if self.transport.is_closing() or self._in_body:
            return
        if self._deadline is None and not self._unanswered():
            self._expect(self.head_seconds, "head")  # bytes that begin no request would otherwise keep the connection for ever
        if self._in_head and self._head_received > HEAD_BYTES_MAX:
            self._refused = Refused(431, f"The request's head is larger than {HEAD_BYTES_MAX:,} bytes.")
            self.send_400_response("")

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
        self._in_head = False
        self._expect(None)
        target = self.url
        try:
            host = check_headers(self.headers, self.parser.get_http_version())
            self.url = check_target(self.parser.get_method(), target, host)
        except Refused as refused:
            self._refused = refused
            raise
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

    def on_response_complete(self) -> None:
        """As above it; a queued request's body is due from here."""
        queued = bool(self.pipeline)
        super().on_response_complete()
        if self.transport.is_closing():
            self._watch_taking()
        elif queued:
            if self._in_body:
                self._expect_body(self.body_seconds)
            self._catch_up()

    def shutdown(self) -> None:
        """As above it; a body that is still coming gets little more time, for the server waits for it."""
        super().shutdown()
        if self._in_body and not self.transport.is_closing():
            self._expect_body(min(self.body_seconds, SHUTDOWN_BODY_SECONDS))

    def send_400_response(self, msg: str) -> None:
        """The answer to a request that does not reach the application; then the connection ends."""
        refused = self._refused or Refused(400, msg)
        self._expect(None)
        self._unset_keepalive_if_required()
        if not self._unanswered() or (self._in_body and not self.pipeline and not self.cycle.response_started):
            self.transport.write(self._plain_response(refused))
        # else: the client would take it for the answer to an earlier request, or for a part of one
        self._dismiss()
        self.transport.close()
        self._watch_taking()

    def _hang_up(self) -> None:
        """At once, whatever is still to be sent."""
        self._expect(None)
        self._dismiss()
        self.transport.abort()

    def _dismiss(self) -> None:
        """Whoever waits for the rest of a request, or has an answer to it, is told that the client is gone."""
        for cycle in (self._in_turn, self.cycle):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """As above it."""
        self._in_turn = cycle
        super()._start_asgi_task(cycle, app)

    def _unanswered(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _plain_response(self, refused: Refused) -> bytes:
        body = refused.message.encode("utf-8")
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        if refused.status == 405:
            headers.append((b"allow", b"GET, HEAD, POST, PUT, DELETE"))
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        return STATUS_LINE[refused.status] + lines + b"\r\n" + body


def protocol() -> type[HaulierHttpProtocol]:
    """A class of its own, with limits that can be set and its own count of connections."""
    return type("LimitedHttpProtocol", (HaulierHttpProtocol,), {"connected": Counter(), "all_held": _Held()})
