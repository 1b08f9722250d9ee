"""What must be checked below ASGI: an application sees a request only after the server has accepted and changed it.

A subclass of uvicorn's httptools protocol (0.54; raw-socket tests in `tests/wire` guard the pin) that sees to it that

* no more connections are open than there may be, in all and from one address; others are answered 503 and closed;
* exactly one Host header came, not both Content-Length and Transfer-Encoding, at most 100 headers and 16 KiB of head;
* the head came within 10 s, the body within 30 s;
* the target is a path, or absolute for one of the two wires with the authority of the Host header: that is what a client sends
  whose HTTP_PROXY is this port. Nothing is ever forwarded: CONNECT is answered 405, other proxied traffic 403.

The application finds the target as it was sent in `scope["haulier.raw_target"]`; path, raw path and query are those behind the
authority. Configure uvicorn with `ws="none"`, `proxy_headers=False` (a forwarded address must not become the peer) and
`access_log=False` (a query may hold a signature).
"""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, ClassVar, Final
from urllib.parse import unquote_to_bytes

from starlette.requests import ClientDisconnect
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from haulier.api.auth.request import RawRequest
from haulier.api.xmltree import BODY_BYTES_MAX
from haulier.core.errors import DocumentTooLarge

HEAD_BYTES_MAX: Final = 16 * 1024
HEADERS_MAX: Final = 100
SHUTDOWN_BODY_SECONDS: Final = 2.0
_PROXIED: Final = re.compile(rb"/jobs(?:[/?].*)?|(?:/[^?]*)?/v20180820(?:[/?].*)?", re.DOTALL)
"""The two wires' paths, that of S3 also behind the base path of an endpoint URL."""

_ABSOLUTE: Final = re.compile(rb"https?://([^/?#]*)([^#]*)", re.IGNORECASE)
_HOST: Final = re.compile(rb"[A-Za-z0-9._-]+(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?")

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class _Refused(Exception):
    """Raised inside parser callbacks; the parser hands it on as a parse error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class HaulierHttpProtocol(HttpToolsProtocol):
    """One connection. Pass the class as uvicorn's `http=`."""

    head_seconds: ClassVar[float] = 10.0
    body_seconds: ClassVar[float] = 30.0
    connections_max: ClassVar[int] = 8_000
    connections_per_peer_max: ClassVar[int] = 2_000
    connected: ClassVar[Counter[str]] = Counter()
    """Open connections by the peer's address."""

    secured: Callable[[], None] | None = None
    """Called when the connection has become this protocol's: whoever counted it until then does so no longer."""

    _refused: _Refused | None = None
    _head_received = 0
    """Bytes since the head began, which the parser may still be holding; exact but for heads behind others in one read."""
    _head_parsed = 0
    """Bytes of target and headers that it has handed on."""
    _begun = 0
    """Requests that began in the current read."""
    _in_head = False
    _in_body = False
    _deadline: asyncio.TimerHandle | None = None

    # -- deadlines

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As above it; the first head is due from here."""
        if self.secured is not None:
            self.secured()
        super().connection_made(transport)
        peer = "" if self.client is None else self.client[0]
        self.connected[peer] += 1
        if self.full(peer):
            self._refused = _Refused(503, "More connections are open than this server allows.")
            self.send_400_response("")
            return
        self._expect(self.head_seconds, "head")

    def connection_lost(self, exc: Exception | None) -> None:
        """As above it."""
        self._expect(None)
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

    def _expect(self, seconds: float | None, part: str = "") -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self._overdue, part)

    def _overdue(self, part: str) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self._refused = _Refused(408, f"The request's {part} did not arrive in time.")
            self.send_400_response("")

    def data_received(self, data: bytes) -> None:
        """As above it, with the head's size and time watched also while the parser has not seen a whole header."""
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
            self._refused = _Refused(431, f"The request's head is larger than {HEAD_BYTES_MAX:,} bytes.")
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
        self._refused = _Refused(status, message)
        raise self._refused

    def on_headers_complete(self) -> None:
        """Checks the head as a whole, then goes on as above it."""
        self._in_head = False
        self._expect(None)
        target = self.url
        host = self._check_headers()
        self._check_target(host)
        self.scope["haulier.raw_target"] = target  # type: ignore[typeddict-unknown-key]
        super().on_headers_complete()
        self._in_body = True
        if not self.pipeline:  # a queued request is not read on until its turn: that is not the client's fault
            self._expect(self.body_seconds, "body")

    def on_message_complete(self) -> None:
        """As above it."""
        self._in_body = False
        self._expect(None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """As above it; a queued request's body is due from here."""
        queued = bool(self.pipeline)
        super().on_response_complete()
        if queued and self._in_body and not self.transport.is_closing():
            self._expect(self.body_seconds, "body")

    def shutdown(self) -> None:
        """As above it; a body that is still coming gets little more time, for the server waits for it."""
        super().shutdown()
        if self._in_body and not self.transport.is_closing():
            self._expect(min(self.body_seconds, SHUTDOWN_BODY_SECONDS), "body")

    def _check_headers(self) -> bytes:
        """The Host."""
        found: dict[bytes, list[bytes]] = {}
        for name, value in self.headers:
            found.setdefault(name, []).append(value)
        hosts = found.get(b"host", [])
        if len(hosts) != 1 or not _HOST.fullmatch(hosts[0].strip(b" \t")):
            self._refuse(400, "The request must have exactly one Host header, and it must name a host.")
        encodings = found.get(b"transfer-encoding", [])
        if encodings and b"content-length" in found:
            self._refuse(400, "The request has both Content-Length and Transfer-Encoding.")
        if encodings and self.parser.get_http_version() != "1.1":
            self._refuse(400, "HTTP/1.0 knows no Transfer-Encoding.")
        if encodings and [encoding.strip(b" \t").lower() for encoding in encodings] != [b"chunked"]:
            self._refuse(501, "The only Transfer-Encoding that is understood is chunked.")
        return hosts[0].strip(b" \t")

    def _check_target(self, host: bytes) -> None:
        """Leaves path and query in `self.url`."""
        if self.parser.get_method() == b"CONNECT":
            self._refuse(405, "This server is no proxy.")
        if self.url.startswith(b"/"):
            if b"#" in self.url:
                self._refuse(400, "The request's target must not hold a fragment.")
            return
        found = _ABSOLUTE.fullmatch(self.url)
        if found is None:
            self._refuse(403 if b"://" in self.url else 400, "The request's target must be a path.")
            return
        path = found[2] if found[2].startswith(b"/") else b"/" + found[2]
        if not _PROXIED.fullmatch(path) or unquote_to_bytes(path).startswith(b"/api/"):
            self._refuse(403, "This server is no proxy.")
        if found[1].lower() != host.lower():
            self._refuse(400, "The request's target and its Host header name different hosts.")
        self.url = path

    def send_400_response(self, msg: str) -> None:
        """The answer to a request that does not reach the application; then the connection ends."""
        refused = self._refused or _Refused(400, msg)
        self._expect(None)
        self._unset_keepalive_if_required()
        if not self._unanswered() or (self._in_body and not self.pipeline and not self.cycle.response_started):
            self.transport.write(self._plain_response(refused))
        # else: the client would take it for the answer to an earlier request, or for a part of one
        if self._unanswered():
            self.cycle.disconnected = True  # whoever waits for the rest of the request is told that it will not come
            self.cycle.message_event.set()
        self.transport.close()

    def _unanswered(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _plain_response(self, refused: _Refused) -> bytes:
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
    return type("LimitedHttpProtocol", (HaulierHttpProtocol,), {"connected": Counter()})


def check_announced(scope: MutableMapping[str, Any], most: int) -> None:
    """Raises DocumentTooLarge for a client that waits for `100 Continue` to send more than `most` bytes.

    To be called before the first `receive`, which tells it to go on. One that sends without waiting reads no answer meanwhile:
    its body is read up to the limit.
    """
    headers = dict(scope["headers"])
    waits = headers.get(b"expect", b"").strip(b" \t").lower() == b"100-continue"
    if waits and int(headers.get(b"content-length", b"0")) > most:  # the parser has let only digits pass
        raise DocumentTooLarge(f"the body is larger than {most:,} bytes")


async def read_body(receive: Receive, most: int = BODY_BYTES_MAX, take: Callable[[int], None] = lambda _size: None) -> bytes:
    """The whole body; `take` is told the size of each part before it is kept, and may raise. Raises DocumentTooLarge as soon as
    it is longer than `most` bytes, ClientDisconnect when the rest will not come."""
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            raise DocumentTooLarge(f"the body is larger than {most:,} bytes")
        take(len(part))
        parts.append(part)
        more = message.get("more_body", False)
    return b"".join(parts)


def raw_request(scope: MutableMapping[str, Any], body: bytes) -> RawRequest:
    """The request as the verifiers want it, from an ASGI scope of `HaulierHttpProtocol`."""
    client = scope.get("client")
    return RawRequest(
        method=scope["method"],
        raw_path=scope["raw_path"],
        raw_query=scope["query_string"],
        headers=list(scope["headers"]),
        body=body,
        secure=scope["scheme"] == "https",
        peer="" if client is None else client[0],
    )
