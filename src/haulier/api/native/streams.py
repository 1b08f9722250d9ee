"""What goes on after a request was let in: long polls, and server-sent events of a job's progress. All on the event loop.

A stream carries three kinds of messages: `event` (an entry of the job's record: each once, in order), `progress` (the job as it
is, at most twice a second, whatever happens) and `end`. The id of each message is the number of the last entry before it, so a
client that comes back with Last-Event-ID misses no entry and reads none twice.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from time import monotonic
from typing import Final, TypeVar

import msgspec
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.types import Receive, Send

from haulier.api.auth import RawRequest
from haulier.api.native import mapping
from haulier.api.native.documents import EndDocument
from haulier.api.native.errors import NotAuthenticated
from haulier.api.native.routes import NativeWire, Stream, Waiting
from haulier.api.native.watching import Waiter, Watching
from haulier.api.wire import Reply
from haulier.core.accounts import Caller
from haulier.core.errors import JobNotFound, RequestError
from haulier.core.history import RecordedEvent
from haulier.core.job import Job
from haulier.core.lifecycle import TERMINAL, JobStatus

T = TypeVar("T")

KEY_SECONDS: Final = 3.0
"""How often it is asked whether the caller's key is still good: what it began has to end within 5 s (decisions §2)."""
HEARTBEAT_SECONDS: Final = 10.0
"""A stream says something at least so often, so that nothing between takes it for dead."""
PROGRESS_SECONDS: Final = 0.5
PHASES: Final = 16
"""So many different intervals between PROGRESS_SECONDS and half as much again: or a thousand streams of one job would all speak
in the same turn of the loop."""
SEND_SECONDS: Final = 5.0
"""A client that takes nothing for so long is taken for gone."""
EVENTS_AT_A_TIME: Final = 100
THREADS: Final = 4
"""That read for those who were woken; apart from other requests, so that a thousand who wake at once keep nobody out."""
_RENDERED_MAX: Final = 1_000


class Streams:
    """Serves those who wait."""

    def __init__(self, wire: NativeWire, watching: Watching) -> None:
        self._wire = wire
        self._watching = watching
        self._limiter = CapacityLimiter(THREADS)
        self._rendered: dict[str, tuple[Job, bytes]] = {}
        self._begun = 0

    async def _read(self, read: Callable[[], T]) -> T:
        return await run_sync(read, limiter=self._limiter)

    def _still(self, caller: Caller) -> Caller:
        """The caller as it is by now. Raises NotAuthenticated when its key is no longer good."""
        found = self._wire.authenticator.again(caller)
        if found is None:
            raise NotAuthenticated("The key that the request came in with is no longer good.")
        return found

    # -- long polls

    async def wait(self, waiting: Waiting, request: RawRequest, receive: Receive) -> Reply | None:
        """The answer, once there is one; None when the client has hung up."""
        try:
            reply = await self._answer(waiting, receive)
        except Exception as error:  # noqa: BLE001 - whatever happens, the client gets the API's own error
            return self._wire.refuse(request, error)
        if reply is None:
            return None
        content = [("content-type", self._wire.content_type)] if reply.body else []
        return msgspec.structs.replace(reply, headers=[*waiting.headers, *content, *reply.headers])

    async def _answer(self, waiting: Waiting, receive: Receive) -> Reply | None:
        until = monotonic() + waiting.seconds
        with self._watching.of(waiting.caller.account.name, waiting.job_id) as waiter:
            async with _leaving(receive, waiter):
                caller = waiting.caller
                looks = True  # something may have been written between the first look and now
                while True:
                    last = monotonic() >= until or self._watching.closing
                    if looks or last:
                        reply = await self._read(partial(waiting.look, caller, last))
                        if reply is not None:
                            return reply
                    written = await waiter.news(min(KEY_SECONDS, until - monotonic()))
                    if waiter.gone:
                        return None
                    caller = self._still(caller)
                    looks = written is not None and waiting.wakes(written)

    # -- streams

    async def follow(self, stream: Stream, request: RawRequest, receive: Receive, send: Send) -> Reply | None:
        """Stream until the job has ended. A refusal is returned; None when all has been sent."""
        service, caller = self._wire.service, stream.caller
        try:
            with self._watching.of(caller.account.name, stream.job_id) as waiter:
                job = await self._read(lambda: service.describe(caller, stream.job_id))
                async with _leaving(receive, waiter):
                    self._begun += 1
                    interval = PROGRESS_SECONDS * (1 + self._begun % PHASES / (2 * PHASES))
                    await self._stream(_Client(stream, send, interval), waiter, job)
        except RequestError as error:
            return self._wire.refuse(request, error)
        except TimeoutError:  # the client takes nothing
            return None
        return None

    async def _stream(self, client: "_Client", waiter: Waiter, job: Job) -> None:
        await client.begin()
        checked = monotonic()
        recorded, shown = True, False
        try:
            while not (waiter.gone or self._watching.closing):
                if recorded:
                    recorded = await self._send_events(client)
                    continue
                if not shown and (_ended(job) or client.progress_due <= monotonic()):
                    await client.tell("progress", self._progress(job))
                    client.progress_due = monotonic() + client.interval
                    shown = True
                if _ended(job):
                    await client.tell("end", msgspec.json.encode(EndDocument(status=JobStatus(job.status))))
                    break
                await client.beat()
                now = monotonic()
                if now - checked >= KEY_SECONDS:
                    client.caller = self._still(client.caller)
                    self._wire.service.check_sight(client.caller, job)
                    checked = now
                due = [client.beat_due, checked + KEY_SECONDS, *([] if shown else [client.progress_due])]
                written = await waiter.news(min(due) - now)
                if written is not None:
                    job, recorded, shown = written.job, written.recorded, False
        except JobNotFound:
            await client.tell("end", msgspec.json.encode(EndDocument(status=None)))
        except RequestError:
            pass  # it may see the job no longer, or the store cannot be read: the client comes back and is told
        await client.end()

    async def _send_events(self, client: "_Client") -> bool:
        """Send what the record has that the client has not; whether there may be more."""
        service = self._wire.service
        events = await self._read(lambda: service.events(client.caller, client.job_id, after=client.last, limit=EVENTS_AT_A_TIME))
        await client.tell_events(list(events))
        return len(events) == EVENTS_AT_A_TIME

    def _progress(self, job: Job) -> bytes:
        """The job as all its streams show it: written once."""
        rendered = self._rendered.get(job.id)
        if rendered is None or rendered[0] is not job:
            if len(self._rendered) >= _RENDERED_MAX:
                self._rendered.clear()
            rendered = self._rendered[job.id] = job, msgspec.json.encode(mapping.progress_message(job))
        return rendered[1]


class _Client:
    """The other end of a stream."""

    def __init__(self, stream: Stream, send: Send, interval: float) -> None:
        """`interval` is in seconds, between two messages of progress."""
        self.interval = interval
        self.caller = stream.caller
        self.job_id = stream.job_id
        self.last = stream.after
        """The number of the last event that was sent."""
        self.progress_due = 0.0
        self.beat_due = 0.0
        self._headers = stream.headers
        self._send_message = send

    async def _send(self, body: bytes, *, more: bool = True) -> None:
        async with asyncio.timeout(SEND_SECONDS):
            await self._send_message({"type": "http.response.body", "body": body, "more_body": more})
        self.beat_due = monotonic() + HEARTBEAT_SECONDS

    async def begin(self) -> None:
        """Status and headers, and how soon to come back after an interruption."""
        headers = [("content-type", "text/event-stream; charset=utf-8"), ("x-accel-buffering", "no"), *self._headers]
        encoded = [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers]
        await self._send_message({"type": "http.response.start", "status": 200, "headers": encoded})
        await self._send(b"retry: 2000\n\n")

    async def tell(self, kind: str, data: bytes) -> None:
        """A message; the data is one line."""
        await self._send(b"id: %d\nevent: %s\ndata: %s\n\n" % (self.last, kind.encode("ascii"), data))

    async def tell_events(self, events: list[RecordedEvent]) -> None:
        """Entries of the record."""
        for event in events:
            self.last = event.sequence
            await self.tell("event", msgspec.json.encode(mapping.event_document(event)))

    async def beat(self) -> None:
        """A comment, where nothing was said for long."""
        if monotonic() >= self.beat_due:
            await self._send(b": still here\n\n")

    async def end(self) -> None:
        """No more."""
        await self._send(b"", more=False)


@contextlib.asynccontextmanager
async def _leaving(receive: Receive, waiter: Waiter) -> AsyncIterator[None]:
    """Meanwhile the waiter is told when the client hangs up."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        waiter.leave()

    task = asyncio.create_task(watch())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _ended(job: Job) -> bool:
    return JobStatus(job.status) in TERMINAL
