"""A small S3 server on a real socket that fails as it is told to: one thread, objects in memory, a log of what it really did.

    with FaultyS3(buckets=("src", "dst")) as server:
        server.plan(Fault(RESET_AFTER))           # the next request is carried out, then the connection is reset
        ...
        assert server.effects == [("copy", "dst", b"key")]

It checks the payload's digests, not the signature.
"""

import contextlib
import heapq
import random
import selectors
import socket
import ssl
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from email.utils import formatdate
from http.client import responses
from types import TracebackType
from typing import Final, Self

import msgspec

from haulier.core.clock import SystemClock
from haulier.core.errors import StoreError
from haulier.core.ports import Clock
from haulier.objectstore.memory import MemoryObjectStore
from haulier.testing.s3answers import Reply, S3Answers, Seen, error_reply

SLOW_DOWN: Final = "slow down"
ERROR_IN_200: Final = "200 with <Error>"
EMPTY_200: Final = "200, empty"
CUT_200: Final = "200, cut XML"
ERROR_500: Final = "500 InternalError"
GATEWAY_502: Final = "502 of a gateway that cannot reach it"
RESET_BEFORE: Final = "reset before the effect"
RESET_AFTER: Final = "reset after the effect"
HALF_ANSWER: Final = "half of the answer, then closed"
CHUNKED: Final = "chunked"
CLOSE: Final = "answered without a length, then closed"
CLOSE_AFTER: Final = "answered in full, then closed without a word"
CONTINUE_100: Final = "100 Continue first"
DELAY: Final = "delay"
HOLD: Final = "held until released"
BY_BYTES: Final = "answered byte by byte"


class Fault(msgspec.Struct, frozen=True):
    """What happens to one request. `kind` is one of this module's constants, `seconds` belongs to DELAY."""

    kind: str
    seconds: float = 0.0


class _Connection:
    __slots__ = ("closing", "handshaken", "inbox", "outbox", "socket", "waiting")

    def __init__(self, sock: socket.socket, *, tls: bool) -> None:
        self.socket = sock
        self.inbox = bytearray()
        self.outbox = bytearray()
        self.closing = False
        self.waiting = False
        """A request is being dealt with; the next one waits."""
        self.handshaken = not tls


class FaultyS3:
    """The server. `effects` is what it did, `requests` what it was asked; both grow in order."""

    def __init__(
        self,
        buckets: Iterable[str] = ("src", "dst"),
        *,
        versioned: Iterable[str] = (),
        clock: Clock | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.store = MemoryObjectStore(clock or SystemClock(), buckets, versioned)
        self._answers = S3Answers(self.store, lambda seen: self.guard(seen))  # noqa: PLW0108 - a test may replace it at any time
        self.requests: list[Seen] = []
        self.connections = 0
        """Accepted so far."""
        self.busiest = 0
        """How many requests were being dealt with at the same time, at most."""
        self.guard: Callable[[Seen], StoreError | None] = lambda _: None
        """Says why a request may not be carried out."""
        self.retry_after: str | None = None
        """Sent along with SlowDown."""
        self._clock = clock or SystemClock()
        self._tls = tls
        self._planned: deque[Fault | None] = deque()
        self._share: Callable[[Seen], Fault | None] = lambda _: None
        self._held: list[tuple[_Connection, Seen]] = []
        self._changed = threading.Condition()
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._calls: deque[Callable[[], None]] = deque()
        self._count = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._listener.setblocking(False)
        self._port: int = self._listener.getsockname()[1]
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="faulty-s3", daemon=True)
        self._stopping = False
        self._open: set[_Connection] = set()

    # -- what tests use -------------------------------------------------------------------------------------------------------

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://127.0.0.1:{self._port}"

    @property
    def effects(self) -> list[tuple[str, str, bytes]]:
        """Every change that was made: verb, bucket, key."""
        return self.store.log

    def plan(self, *faults: Fault | None) -> None:
        """What happens to the next requests, in order; None = nothing special."""
        self._planned.extend(faults)

    def share(self, seed: int, shares: dict[str, float]) -> None:
        """From now on each request meets a fault of a kind with the probability given for it."""
        source = random.Random(seed)

        def choose(_: Seen) -> Fault | None:
            draw = source.random()
            for kind, part in shares.items():
                draw -= part
                if draw < 0:
                    return Fault(kind)
            return None

        self._share = choose

    def choose(self, fault: Callable[[Seen], Fault | None]) -> None:
        """From now on each request meets the fault that the function finds for it; None = nothing special."""
        self._share = fault

    def release(self) -> None:
        """Deal with the requests that are held."""
        self._call(self._release)

    def go_away(self) -> None:
        """Reset every connection, and refuse new ones until `come_back`."""

        def leave() -> None:
            self._selector.unregister(self._listener)
            self._listener.close()
            for connection in tuple(self._open):
                self._close(connection, reset=True)

        self._call(leave)

    def come_back(self) -> None:
        """Listen again, at the same address."""

        def listen() -> None:
            self._listener = socket.create_server(("127.0.0.1", self._port), backlog=4096)
            self._listener.setblocking(False)
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)

        self._call(listen)

    def close_idle(self) -> None:
        """Close every connection that has no request, and wait until that is done."""
        done = threading.Event()

        def close() -> None:
            for connection in tuple(self._open):
                if not connection.waiting and not connection.outbox:
                    self._close(connection)
            done.set()

        self._call(close)
        done.wait(10)

    def wait_for(self, condition: Callable[["FaultyS3"], bool], seconds: float = 20.0) -> None:
        """Block until the condition holds; it is looked at after every request. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: condition(self), seconds):
                raise TimeoutError("the condition did not come true")

    @property
    def open_connections(self) -> int:
        """Connections open now."""
        return len(self._open)

    @property
    def held(self) -> int:
        """Requests held now."""
        return len(self._held)

    def verbs(self) -> Counter[str]:
        """How often each method was asked for."""
        return Counter(seen.method for seen in self.requests)

    def __enter__(self) -> Self:
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._wake_in, selectors.EVENT_READ, lambda: self._wake_in.recv(4096))
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopping = True
        self._call(lambda: None)
        self._thread.join(10)
        for connection in tuple(self._open):
            self._close(connection)
        self._selector.close()
        for sock in (self._listener, self._wake_in, self._wake_out):
            sock.close()

    # -- the loop -------------------------------------------------------------------------------------------------------------

    def _call(self, function: Callable[[], None]) -> None:
        self._calls.append(function)
        self._wake_out.send(b"!")

    def _later(self, seconds: float, function: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._timers, (time.monotonic() + seconds, self._count, function))

    def _run(self) -> None:
        while not self._stopping:
            wait = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
            for key, _ in self._selector.select(wait):
                key.data()
            while self._timers and self._timers[0][0] <= time.monotonic():
                heapq.heappop(self._timers)[2]()
            while self._calls:
                self._calls.popleft()()
            with self._changed:
                self._changed.notify_all()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            connection = _Connection(sock, tls=self._tls is not None)
            self.connections += 1
            self._open.add(connection)
            self._watch(connection)

    def _watch(self, connection: _Connection) -> None:
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.outbox else 0)
        try:
            self._selector.modify(connection.socket, events, lambda: self._step(connection))
        except KeyError:
            self._selector.register(connection.socket, events, lambda: self._step(connection))

    def _close(self, connection: _Connection, *, reset: bool = False) -> None:
        if connection not in self._open:
            return
        self._open.discard(connection)
        self._selector.unregister(connection.socket)
        if reset:
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif isinstance(connection.socket, ssl.SSLSocket):
            with contextlib.suppress(OSError):  # the goodbye is sent; nobody waits for the other's
                connection.socket.unwrap()
        connection.socket.close()

    def _step(self, connection: _Connection) -> None:
        try:
            if not connection.handshaken:
                assert isinstance(connection.socket, ssl.SSLSocket)
                connection.socket.do_handshake()
                connection.handshaken = True
            self._write(connection)
            self._read(connection)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError:
            self._close(connection)

    def _read(self, connection: _Connection) -> None:
        while connection in self._open:
            data = connection.socket.recv(1 << 18)
            if not data:
                self._close(connection)
                return
            connection.inbox += data
            self._parse(connection)

    def _write(self, connection: _Connection) -> None:
        while connection.outbox:
            sent = connection.socket.send(connection.outbox)
            del connection.outbox[:sent]
        if connection.closing and not connection.waiting:
            self._close(connection)
        elif connection in self._open:
            self._watch(connection)

    def _send(self, connection: _Connection, data: bytes) -> None:
        if connection not in self._open:
            return
        connection.outbox += data
        try:
            self._write(connection)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            self._watch(connection)
        except OSError:
            self._close(connection)

    # -- HTTP -----------------------------------------------------------------------------------------------------------------

    def _parse(self, connection: _Connection) -> None:
        if connection.waiting:
            return
        end = connection.inbox.find(b"\r\n\r\n")
        if end < 0:
            return
        first, *lines = connection.inbox[:end].decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        size = int(headers.get("content-length", "0"))
        if len(connection.inbox) < end + 4 + size:
            return
        seen = Seen(method, target, headers, bytes(connection.inbox[end + 4 : end + 4 + size]), time.monotonic())
        del connection.inbox[: end + 4 + size]
        connection.waiting = True
        self.busiest = max(self.busiest, sum(each.waiting for each in self._open))
        self.requests.append(seen)
        fault = self._planned.popleft() if self._planned else self._share(seen)
        self._deal(connection, seen, fault)

    def _release(self) -> None:
        held, self._held = self._held, []
        for connection, seen in held:
            self._deal(connection, seen, None)

    def _deal(self, connection: _Connection, seen: Seen, fault: Fault | None) -> None:
        kind = fault.kind if fault is not None else None
        if kind == HOLD:
            self._held.append((connection, seen))
        elif kind == RESET_BEFORE:
            self._close(connection, reset=True)
        elif fault is not None and kind == DELAY:
            self._later(fault.seconds, lambda: self._deal(connection, seen, None))
        else:
            self._answer(connection, seen, kind)

    def _answer(self, connection: _Connection, seen: Seen, kind: str | None) -> None:
        if kind == SLOW_DOWN:
            reply = error_reply(503, "SlowDown", "please reduce your request rate")
            if self.retry_after is not None:
                reply.headers["retry-after"] = self.retry_after
        elif kind == ERROR_500:
            reply = error_reply(500, "InternalError", "something broke")
        elif kind == GATEWAY_502:
            reply = Reply(502, b"<html><body>Bad Gateway</body></html>")
        else:
            reply = self._answers.carry_out(seen)
        if kind == RESET_AFTER:
            self._close(connection, reset=True)
            return
        if kind == ERROR_IN_200:
            reply = Reply(200, error_reply(500, "InternalError", "something broke later").body)
        elif kind == EMPTY_200:
            reply = Reply(200)
        elif kind == CUT_200:
            reply = Reply(200, reply.body[: len(reply.body) // 2])
        head, body = self._wire(seen, reply, kind)
        connection.waiting = False
        if kind == HALF_ANSWER:
            connection.closing = True
            whole = head + body
            self._send(connection, whole[: max(len(head) + 1, len(whole) - 5)] if body else whole[:-5])
        elif kind == BY_BYTES:
            connection.waiting = True
            self._by_bytes(connection, head + body)
        else:
            connection.closing = kind in (CLOSE, CLOSE_AFTER)
            self._send(connection, (b"HTTP/1.1 100 Continue\r\n\r\n" if kind == CONTINUE_100 else b"") + head + body)
            self._parse(connection)

    def _by_bytes(self, connection: _Connection, rest: bytes) -> None:
        if len(rest) == 1:
            connection.waiting = False
        self._send(connection, rest[:1])
        if len(rest) > 1:
            self._later(0, lambda: self._by_bytes(connection, rest[1:]))

    def _wire(self, seen: Seen, reply: Reply, kind: str | None) -> tuple[bytes, bytes]:
        body = b"" if seen.method == "HEAD" else reply.body
        headers = {"Date": formatdate(self._clock.now_ms() / 1000, usegmt=True), "x-amz-request-id": f"R{len(self.requests)}"}
        headers |= reply.headers
        if kind == CHUNKED and seen.method != "HEAD":
            headers["Transfer-Encoding"] = "chunked"
            middle = len(body) // 2
            parts = [part for part in (body[:middle], body[middle:]) if part]
            body = b"".join(b"%x;note=1\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\nx-trailer: yes\r\n\r\n"
        elif kind == CLOSE:
            headers["Connection"] = "close"
        elif reply.status != 204:
            headers.setdefault("Content-Length", str(len(body)))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {reply.status} {responses.get(reply.status, '')}\r\n{lines}\r\n".encode("latin-1"), body
