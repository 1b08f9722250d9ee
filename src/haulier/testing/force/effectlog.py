"""A proxy before a real store that keeps every request with what became of it, and can cut connections around the store's work.

    with EffectLog(store.endpoint, processes=lambda: [...]) as log:
        ...                                    # a server whose store is log.endpoint
        log.entries[-1].acknowledged           # the store has said that it was done

Bytes go through as they are, on one thread with a loop of its own; a request is passed on once it is there in full, and so is
an answer. So what the log says of a request is the truth, whatever became of the process that sent it.
"""

import asyncio
import contextlib
import os
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Self, cast
from urllib.parse import parse_qsl, unquote_to_bytes, urlsplit

import uvloop

from haulier.testing.force.entry import CUTS, Cut, Entry, Trap
from haulier.testing.stores import free_ports

_DOWN_SECONDS: Final = 20.0
BACK_SECONDS: Final = 0.02
"""How often a store that is away is tried."""


class EffectLog:
    """See above. `entries` grow in the order in which requests were passed on."""

    def __init__(self, endpoint: str, *, processes: Callable[[], Iterable[int]] = tuple) -> None:
        """`processes` are those that may connect, to tell which of them did."""
        where = urlsplit(endpoint)
        assert where.hostname is not None
        self.entries: list[Entry] = []
        self.trap: Trap | None = None
        self._store = (where.hostname, where.port or 80)
        self._processes = processes
        self._cuts: tuple[random.Random, float] = (random.Random(0), 0.0)
        self._loop = uvloop.new_event_loop()
        self._open: set[_Client] = set()
        self._server: asyncio.AbstractServer | None = None
        self._listens = threading.Event()
        self._back: asyncio.Task[None] | None = None
        self.port = free_ports(1)[0]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._run, name="effect-log", daemon=True)

    def cut(self, seed: str, share: float) -> None:
        """From now on cut the connections of that share of requests, each in one of the three ways."""
        self._cuts = random.Random(seed), share

    def drained(self, seconds: float = 10.0) -> bool:
        """Wait until the store works on nothing any more; whether that came to be."""
        end = time.monotonic() + seconds
        while any(entry.fate == "under way" for entry in self.entries[-2000:]):
            if time.monotonic() > end:
                return False
            time.sleep(0.005)
        return True

    def __enter__(self) -> Self:
        self._thread.start()
        self._listens.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._listen())
        self._listens.set()
        self._loop.run_forever()
        if self._server is not None:
            self._server.close()
        for client in tuple(self._open):
            client.end()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    # -- on the loop's thread

    async def _listen(self) -> None:
        self._server = await self._loop.create_server(lambda: _Client(self), "127.0.0.1", self.port, reuse_address=True)

    def store_is_away(self) -> None:
        """As long as the store's port refuses connections, so does ours: who asks must see what would be seen without us."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for client in tuple(self._open):
            client.store_is_away()
        self._back = self._loop.create_task(self._listen_again())

    async def _listen_again(self) -> None:
        while True:
            await asyncio.sleep(BACK_SECONDS)
            with contextlib.suppress(OSError):
                _, probe = await self._loop.create_connection(lambda: _Upstream(None), *self._store)
                probe.close()
                await self._listen()
                return

    def fate_of(self) -> Cut | None:
        """What happens to the next request's connection."""
        chance, share = self._cuts
        return chance.choice(CUTS) if share and chance.random() < share else None

    def sprung(self, entry: Entry, stage: str) -> bool:
        """Whether the trap has closed over the request."""
        trap = self.trap
        if trap is None or trap.stage != stage or not trap.fits(entry):
            return False
        trap.passing -= 1
        if trap.passing > 0:
            return False
        self.trap = None
        trap.spring(entry)
        return True

    def process_of(self, port: int) -> int:
        """The process at the other end of a connection from a port of this machine; 0 = nobody knows."""
        local, remote = f"0100007F:{port:04X}", f"0100007F:{self.port:04X}"
        lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
        inode = next((fields[9] for fields in lines if fields[1] == local and fields[2] == remote), None)
        wanted = f"socket:[{inode}]"
        for pid in self._processes():
            with contextlib.suppress(OSError):
                folder = Path(f"/proc/{pid}/fd")
                for name in os.listdir(folder):  # noqa: PTH208 - a path object for each of hundreds of names is slow
                    with contextlib.suppress(OSError):
                        if os.readlink(folder / name) == wanted:  # noqa: PTH115 - as above
                            return pid
        return 0

    async def connect(self, client: "_Client") -> "_Upstream":
        """A connection to the store. Raises OSError."""
        _, upstream = await self._loop.create_connection(lambda: _Upstream(client), *self._store)
        return upstream

    def opened(self, client: "_Client") -> None:
        """Remember the connection until it is closed."""
        self._open.add(client)

    def closed(self, client: "_Client") -> None:
        """It is."""
        self._open.discard(client)

    def task(self, client: "_Client", entry: Entry, raw: bytes) -> asyncio.Task[None]:
        """Pass the request on."""
        return self._loop.create_task(client.pass_on(entry, raw))


class _Client(asyncio.Protocol):
    """A connection of a runner: one request after the other."""

    def __init__(self, log: EffectLog) -> None:
        self._log = log
        self._inbox = bytearray()
        self._transport: asyncio.Transport | None = None
        self._upstream: _Upstream | None = None
        self._pid = 0
        self._busy: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # of uvloop, which subclasses nothing
        self._log.opened(self)
        self._pid = self._log.process_of(self._transport.get_extra_info("peername")[1])

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        self._transport = None
        self._log.closed(self)
        if self._busy is None:
            self.end()

    def data_received(self, data: bytes) -> None:
        self._inbox += data
        self._next()

    def store_is_away(self) -> None:
        """Close the connection, as the store's end would have done; a request that is under way sees that by itself."""
        if self._busy is None:
            self.end()

    def end(self, *, reset: bool = False) -> None:
        """Close both sides."""
        if self._upstream is not None:
            self._upstream.close()
            self._upstream = None
        if self._transport is not None:
            if reset:
                sock = self._transport.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()

    def _next(self) -> None:
        if self._busy is not None:
            return
        end = self._inbox.find(b"\r\n\r\n")
        if end < 0:
            return
        first, headers = _head(self._inbox[:end])
        assert "transfer-encoding" not in headers, "the data plane sends no chunked bodies"
        size = end + 4 + int(headers.get("content-length", "0"))
        if len(self._inbox) < size:
            return
        raw = bytes(self._inbox[:size])
        del self._inbox[:size]
        method, target, _ = first.split(" ")
        path, _, query = target.partition("?")
        bucket, _, key = path.removeprefix("/").partition("/")
        entry = Entry(
            at=time.monotonic(),
            pid=self._pid,
            method=method,
            bucket=bucket,
            key=unquote_to_bytes(key),
            query=dict(parse_qsl(query, keep_blank_values=True)),
            headers=headers,
            body=raw[end + 4 :] if method == "POST" or "tagging" in query else b"",
        )
        self._log.entries.append(entry)
        self._busy = self._log.task(self, entry, raw)

    async def pass_on(self, entry: Entry, raw: bytes) -> None:
        """The request to the store, and its answer back."""
        try:
            await self._pass_on(entry, raw)
        finally:
            self._busy = None
        if self._transport is None:
            self.end()
        else:
            self._next()

    async def _pass_on(self, entry: Entry, raw: bytes) -> None:
        cut = self._log.fate_of()
        if cut == "before the store" or self._log.sprung(entry, "sent"):
            entry.fate = "dropped"
            self.end(reset=True)
            return
        try:
            if self._upstream is None or self._upstream.gone:
                self._upstream = await self._log.connect(self)
        except OSError:
            entry.fate = "dropped"
            self.end(reset=True)
            self._log.store_is_away()
            return
        answer = await self._upstream.ask(raw, entry.method)
        entry.answered_at = time.monotonic()
        if answer is None:
            entry.fate = "no answer"
            self.end(reset=True)
            return
        head, body = answer
        entry.status = int(head[9:12])
        if entry.changes:
            entry.answer = _joined(body) if b"\r\ntransfer-encoding: chunked" in head.lower() else body
        if cut is not None or self._log.sprung(entry, "carried out"):
            entry.fate = "withheld"
            if cut == "within the answer" and self._transport is not None:
                whole = head + body
                self._transport.write(whole[: max(1, len(whole) - 7)])
                self._transport.close()
            else:
                self.end(reset=True)
        elif self._transport is None or self._transport.is_closing():
            entry.fate = "withheld"
        else:
            entry.fate = "answered"
            self._transport.write(head + body)


class _Upstream(asyncio.Protocol):
    """A connection to the store: one answer after the other."""

    def __init__(self, client: _Client | None) -> None:
        self._client = client
        self._inbox = bytearray()
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[tuple[bytes, bytes] | None] | None = None
        self._method = ""
        self.gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        self.gone = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
        elif self._client is not None:
            self._client.store_is_away()

    def close(self) -> None:
        """No more of it."""
        self.gone = True
        if self._transport is not None:
            self._transport.abort()

    async def ask(self, raw: bytes, method: str) -> tuple[bytes, bytes] | None:
        """Head and body of the answer, as they came; None when the connection broke before its end."""
        assert self._transport is not None
        self._method = method
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(raw)
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(self._waiting, _DOWN_SECONDS)
        self.close()
        return None

    def data_received(self, data: bytes) -> None:
        self._inbox += data
        while True:
            end = self._inbox.find(b"\r\n\r\n") + 4
            if end < 4:
                return
            first, headers = _head(self._inbox[: end - 4])
            status = int(first[9:12])
            if status < 200:
                del self._inbox[:end]
                continue
            size = self._size(end, status, headers)
            if size is not None and self._waiting is not None and not self._waiting.done():
                self._waiting.set_result((bytes(self._inbox[:end]), bytes(self._inbox[end:size])))
                del self._inbox[:size]
            return

    def _size(self, end: int, status: int, headers: dict[str, str]) -> int | None:
        """Where the answer ends; None while not all of it is there."""
        if self._method == "HEAD" or status in (204, 304):
            return end
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return _end_of_chunks(self._inbox, end)
        assert "content-length" in headers, "the store closes its connection to end an answer"
        size = end + int(headers["content-length"])
        return size if len(self._inbox) >= size else None


def _head(raw: bytes | bytearray) -> tuple[str, dict[str, str]]:
    first, *lines = raw.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return first, {name.strip().lower(): value.strip() for name, _, value in pairs}


def _end_of_chunks(data: bytes | bytearray, begin: int) -> int | None:
    """Where a chunked body without trailers ends; None while not all of it is there."""
    at = begin
    while True:
        line = data.find(b"\r\n", at)
        if line < 0:
            return None
        size = int(data[at:line].partition(b";")[0], 16)
        at = line + 2 + size + 2
        if len(data) < at:
            return None
        if size == 0:
            return at


def _joined(body: bytes) -> bytes:
    """The content of a chunked body."""
    parts, at = [], 0
    while at < len(body):
        line = body.find(b"\r\n", at)
        size = int(body[at:line].partition(b";")[0], 16)
        parts.append(body[line + 2 : line + 2 + size])
        at = line + 2 + size + 2
    return b"".join(parts)
