"""Requests as ASGI brings them: their bodies, within limits, and what a signature covers."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from starlette.requests import ClientDisconnect

from haulier.api.auth.request import RawRequest
from haulier.api.xmltree import BODY_BYTES_MAX
from haulier.core.errors import DocumentTooLarge

_DIGITS_MAX: Final = 15

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


def check_announced(scope: MutableMapping[str, Any], most: int) -> None:
    """Raises DocumentTooLarge for a client that waits for `100 Continue` to send more than `most` bytes.

    To be called before the first `receive`, which tells it to go on. One that sends without waiting reads no answer meanwhile:
    its body is read up to the limit.
    """
    headers = dict(scope["headers"])
    waits = headers.get(b"expect", b"").strip(b" \t").lower() == b"100-continue"
    announced = headers.get(b"content-length", b"").strip(b" \t").lstrip(b"0")  # the parser has let only digits pass
    if waits and (len(announced) > _DIGITS_MAX or int(announced or b"0") > most):  # int() raises on thousands of digits
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
