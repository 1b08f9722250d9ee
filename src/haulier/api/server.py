"""The ASGI app: health for the operator, the two wires and the native API. Reading, writing and waiting happen on the event
loop, all else in threads.

What must be checked below ASGI (raw target, Host, header limits, deadlines) is checked in `http.py`. Run the server with its own
Date and Server headers off: every answer here carries its own.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from email.utils import formatdate
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from haulier.api.admission import Admission, BodyRoom
from haulier.api.auth import Authenticator, RawRequest
from haulier.api.bodies import check_announced, raw_request, read_body
from haulier.api.cos.routes import CosWire
from haulier.api.heads import Refused
from haulier.api.http import Answer
from haulier.api.native.openapi import openapi_json
from haulier.api.native.routes import NativeWire, Stream, Waiting
from haulier.api.native.streams import Streams
from haulier.api.native.watching import Watching
from haulier.api.s3control.routes import ROOT as S3_ROOT
from haulier.api.s3control.routes import S3ControlWire
from haulier.api.wire import HeadTooLarge, Reply, RequestLate, UnknownEncoding, Wire
from haulier.api.xmltree import BODY_BYTES_MAX
from haulier.core.errors import AccessRefused, DocumentTooLarge, InvalidRequest, Overloaded, RequestError
from haulier.core.ports import Audit, Clock
from haulier.service import Service


def create_app(
    service: Service,
    authenticator: Authenticator,
    audit: Audit,
    *,
    ready: Callable[[], bool | str],
    body_bytes_max: Callable[[], int] = lambda: BODY_BYTES_MAX,
    admission: Admission | None = None,
    watching: Watching | None = None,
    hosts: Collection[str] = (),
) -> "App":
    """The app. `ready()` says True, or False or the reason why this process can do no work now; it must not block.

    A body may have `body_bytes_max()` bytes; it is asked for every request. The native API answers under loopback's names and
    `hosts`; `watching` is what to close when the server ends.
    """

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        state = ready()
        if state is True:
            return JSONResponse({"ready": True})
        return JSONResponse({"ready": False, "reason": state or "not ready"}, 503)

    async def openapi(request: Request) -> Response:
        if not native.serves(request.headers.get("host", "")):
            return PlainTextResponse("The settings do not list this host in server.hosts.\n", 421)
        return Response(openapi_json(extensions=service.extensions), media_type="application/json")

    native = NativeWire(service, authenticator, audit, hosts)
    streams = Streams(native, watching or Watching(service))
    wires = _Wires(service, authenticator, audit, body_bytes_max, admission or Admission(), native, streams)
    routes = [Route("/healthz", healthz), Route("/readyz", readyz), Route("/api/v1/openapi.json", openapi)]
    app = Starlette(routes=[*routes, Mount("/", app=wires)])
    return App(app, wires, service.clock)


UNSIGNED_BODY_BYTES_MAX: Final = 16 * 1024
"""Of a request that names no key that is known: read so that the refusal gets through, not to be understood."""


class App:
    """Puts the Date on every answer, also to what is refused before it: COS clients set their clocks by it after a skew error."""

    def __init__(self, app: ASGIApp, wires: "_Wires", clock: Clock) -> None:
        self._app = app
        self._wires = wires
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""

        async def send_dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["date"] = self._date()
            await send(message)

        await self._app(scope, receive, send_dated)

    def refusal(self, refused: Refused, request: RawRequest) -> Answer:
        """As the protocol wants it: in the words of the wire, as far as what was read tells which."""
        reply = self._wires.refuse(refused, request)
        return Answer(reply.status, [*reply.headers, ("date", self._date())], reply.body)

    def _date(self) -> str:
        return formatdate(self._clock.now_ms() // 1000, usegmt=True)


_NOTHING_HERE: Final = "There is nothing here: COS Batch is at /jobs, S3 Batch at /v20180820/jobs, the JSON API at /api/v1/jobs."
_REFUSALS: Final[Mapping[int, type[RequestError]]] = {
    403: AccessRefused,
    408: RequestLate,
    431: HeadTooLarge,
    501: UnknownEncoding,
    503: Overloaded,
}
"""What the statuses of refusals mean; all others are InvalidRequest."""


class _Wires:
    """Gives a request to the wire it was written for."""

    def __init__(
        self,
        service: Service,
        authenticator: Authenticator,
        audit: Audit,
        body_bytes_max: Callable[[], int],
        admission: Admission,
        native: NativeWire,
        streams: Streams,
    ) -> None:
        self._authenticator = authenticator
        self._s3 = S3ControlWire(service, authenticator, audit)
        self._cos = CosWire(service, authenticator, audit)
        self._native = native
        self._streams = streams
        self._body_bytes_max = body_bytes_max
        self._admission = admission
        self._body_room = BodyRoom()
        self._strangers = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        head = raw_request(scope, b"")
        wire = self._wire(head)
        if wire is None:
            await _answer(self._in_text(404, _NOTHING_HERE), scope, receive, send)
            return
        key = self._authenticator.named(head)
        with self._body_room.hold(head.peer, key) as take:
            await self._serve(wire, head, key, scope, receive, send, take)

    async def _serve(
        self,
        wire: Wire,
        head: RawRequest,
        key: str | None,
        scope: Scope,
        receive: Receive,
        send: Send,
        take: Callable[[int], None],
    ) -> None:
        most = self._body_bytes_max() if key is not None else UNSIGNED_BODY_BYTES_MAX
        try:
            check_announced(scope, most)
            body = await read_body(receive, most, take)
        except ClientDisconnect:
            return
        except DocumentTooLarge as error:
            refusal = await self._turn_down(wire, head) if key is None else None
            await _answer(refusal or wire.refuse(head, error), scope, receive, send, last=True)
            return
        except Overloaded as error:
            await _answer(wire.turn_away(head, error), scope, receive, send, last=True)
            return
        except Exception as error:  # noqa: BLE001 - a fault of ours, which the client is told in its wire's words
            await _answer(wire.refuse(head, error), scope, receive, send, last=True)
            return
        request = msgspec.structs.replace(head, body=body)
        stranger = await self._turn_down(wire, request) if key is None else None
        if stranger is not None:
            await _answer(stranger, scope, receive, send)
            return
        try:
            reply = await self._admission.run((head.peer, key), wire.answer, request)
        except Overloaded as error:
            reply = wire.turn_away(request, error)
        answer: Reply | None = reply
        if isinstance(reply, Waiting):
            answer = await self._streams.wait(reply, request, receive)
        elif isinstance(reply, Stream):
            answer = await self._streams.follow(reply, request, receive, send)
        if answer is not None:
            await _answer(answer, scope, receive, send)

    async def _turn_down(self, wire: Wire, request: RawRequest) -> Reply | None:
        """One in a turn of the loop: however many strangers there are, everybody else has the rest of it."""
        async with self._strangers:
            await asyncio.sleep(0)
            return wire.turn_down(request)

    def refuse(self, refused: Refused, request: RawRequest) -> Reply:
        """The answer to a request that is not let through to the app, of which there may be little."""
        wire = self._wire(request)
        if wire is None:
            return self._in_text(refused.status, refused.message)
        return wire.turn_away(request, _REFUSALS.get(refused.status, InvalidRequest)(refused.message))

    def _in_text(self, status: int, message: str) -> Reply:
        """Where no wire is named: with the ids of both, without which one SDK takes the answer for none at all."""
        ids = [("x-amz-request-id", self._s3.new_ids()[0]), ("x-cos-request-id", self._cos.new_ids()[0])]
        headers = [("content-type", "text/plain; charset=utf-8"), ("server", "haulier"), *ids]
        return Reply(status, f"{message}\n".encode(), headers)

    def _wire(self, request: RawRequest) -> Wire | None:
        """By the path; by the header that names the tenant where the path says nothing, or could be another wire's: a base path
        of the S3 wire may begin as one (docs/decisions/0016)."""
        path = unquote_to_bytes(request.raw_path)
        names = {name for name, _ in request.headers}
        for_s3, of_s3 = S3_ROOT.encode() in path, b"x-amz-account-id" in names
        if for_s3 and of_s3:
            return self._s3
        if path.startswith(b"/api/"):
            return self._native
        if path == b"/jobs" or path.startswith(b"/jobs/"):
            return self._cos
        if for_s3 or of_s3:
            return self._s3
        return self._cos if b"x-cos-appid" in names else None


async def _answer(reply: Reply, scope: Scope, receive: Receive, send: Send, *, last: bool = False) -> None:
    """Send the reply; `last` ends the connection, on which an unread body may still be coming."""
    response = Response(reply.body, reply.status)
    for name, value in [*reply.headers, *([("connection", "close")] if last else [])]:
        response.headers.append(name, value)
    await response(scope, receive, send)
