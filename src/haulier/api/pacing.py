"""How fast a connection is read and has to read: uvicorn's httptools protocol (0.54) with bounds on both.

* Pipelined requests are parsed and read only as far as their turn is near: what is sent ahead stays with its sender.
* A client that takes nothing of its answer for 30 s is hung up on.

And an answer's head goes out with the beginning of its body.
"""

import asyncio
from collections.abc import Callable
from typing import ClassVar, Final

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

PIECE_BYTES: Final = 512
"""Parsed at a time, and nothing while a request waits for its turn: so no more than twenty can wait on a connection."""
HELD_BYTES_MAX: Final = 32 * 1024 * 1024
"""Read, but not parsed yet, of all connections together; one that would add to it is ended."""
CONTINUE: Final = b"HTTP/1.1 100 "
TAKEN_BYTES_MIN: Final = 16 * 1024
"""Of an answer, in the time that a client has to read on. Only what is above the kernel's buffers is counted: see `listening`."""


class _Flow(FlowControl):
    """uvicorn reads on after each answer and whenever a body is asked for; here not while we are behind with what was read."""

    def __init__(self, transport: asyncio.Transport, behind: Callable[[], bool]) -> None:
        super().__init__(transport)
        self._behind = behind

    def resume_reading(self) -> None:
        """As above it, unless we are behind."""
        if not self._behind():
            super().resume_reading()


class HeadWithBody:
    """What a request's answer is written to: its head waits for what comes next, and both go out in one write.

    A server that dies between the two would leave a head alone, which botocore takes for a success that says nothing.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head: bytes | None = None
        self._begun = False

    def write(self, data: bytes) -> None:
        """The head first, `100 Continue` aside; then parts of the body."""
        if not self._begun and not data.startswith(CONTINUE):
            self._head, self._begun = data, True
            return
        if self._head is not None:
            data, self._head = self._head + data, None
        self._transport.write(data)

    def is_closing(self) -> bool:
        """Of the transport."""
        return self._transport.is_closing()

    def close(self) -> None:
        """A head that no body has followed stays unsaid."""
        self._transport.close()


class Held:
    """What was read but not parsed yet, of all connections."""

    def __init__(self) -> None:
        self.bytes = 0


class PacedProtocol(HttpToolsProtocol):
    """One connection."""

    taking_seconds: ClassVar[float] = 30.0
    """Within which a client takes TAKEN_BYTES_MIN of an answer, or what is left of it."""
    all_held: ClassVar[Held] = Held()

    _held = b""
    """Read, but not parsed yet: a request before it waits for its turn."""
    _in_turn: RequestResponseCycle | None = None
    """The request that is being answered, or was last."""
    _taking: asyncio.TimerHandle | None = None
    _untaken = 0
    """Bytes of answers that the client had still to take when that timer was set."""

    # -- for whoever builds on it

    def parse(self, data: bytes) -> None:
        """Hand a piece to the parser."""
        super().data_received(data)

    def fell_behind(self) -> None:
        """Nothing is read for now: nothing can be late."""

    def caught_up(self) -> None:
        """All that was read is parsed, and more is read."""

    def unanswered(self) -> bool:
        """Whether the newest request has not been answered in full."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def close(self) -> None:
        """When what has been written is sent; whoever waits for the rest of a request is told that it will not come."""
        self._dismiss()
        self.transport.close()
        self._watch_taking()

    # -- reading

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As above it."""
        super().connection_made(transport)
        self.flow = _Flow(transport, self._behind)

    def connection_lost(self, exc: Exception | None) -> None:
        """As above it."""
        self._hold(b"")
        if self._taking is not None:
            self._taking.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """As above it, piece by piece, until a request has to wait for its turn."""
        if self._held:
            self._hold(self._held + data)
        else:
            self._read_on(data)

    def _read_on(self, data: bytes) -> None:
        position = 0
        while position < len(data) and not self.pipeline and not self.transport.is_closing():
            self.parse(data[position : position + PIECE_BYTES])
            position += PIECE_BYTES
        self._hold(b"" if self.transport.is_closing() else data[position:])
        if self._behind():
            self.fell_behind()
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

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """As above it."""
        self._in_turn = cycle
        if cycle.scope["method"] != "HEAD":
            cycle.transport = HeadWithBody(self.transport)  # type: ignore[assignment]  # all that a cycle does with it
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """As above it; then what was sent behind a request whose turn has come may be read on."""
        queued = bool(self.pipeline)
        super().on_response_complete()
        if self.transport.is_closing():
            self._watch_taking()
        elif queued and not self.pipeline:
            data = self._held
            self._hold(b"")
            self._read_on(data)
            if not self._behind() and not self.transport.is_closing():
                self.flow.resume_reading()
                self.caught_up()

    # -- being read

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

    def _hang_up(self) -> None:
        """At once, whatever is still to be sent."""
        self._dismiss()
        self.transport.abort()

    def _dismiss(self) -> None:
        for cycle in (self._in_turn, self.cycle):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
