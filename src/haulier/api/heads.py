"""What a request's head must be before an application sees the request; pure."""

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote_to_bytes

HEAD_BYTES_MAX: Final = 16 * 1024
HEADERS_MAX: Final = 100
PARAMETERS_MAX: Final = 200
"""Of a query: each is decoded and sorted before it is known whose the request is, and none of ours has half as many."""

_PROXIED: Final = re.compile(rb"/jobs(?:[/?].*)?|(?:/[^?]*)?/v20180820(?:[/?].*)?", re.DOTALL)
"""The two wires' paths, that of S3 also behind the base path of an endpoint URL."""

_ABSOLUTE: Final = re.compile(rb"(https?)://([^/?#]*)([^#]*)", re.IGNORECASE)
_HOST: Final = re.compile(rb"[A-Za-z0-9._-]+(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?")


class Refused(Exception):
    """The request is answered below the application, and its connection ends."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def check_headers(headers: Sequence[tuple[bytes, bytes]], version: str) -> bytes:
    """The Host. `version` is HTTP's. Raises Refused."""
    found: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        found.setdefault(name, []).append(value)
    hosts = found.get(b"host", [])
    if len(hosts) != 1 or not _HOST.fullmatch(hosts[0].strip(b" \t")):
        raise Refused(400, "The request must have exactly one Host header, and it must name a host.")
    encodings = found.get(b"transfer-encoding", [])
    if encodings and b"content-length" in found:
        raise Refused(400, "The request has both Content-Length and Transfer-Encoding.")
    if encodings and version != "1.1":
        raise Refused(400, "HTTP/1.0 knows no Transfer-Encoding.")
    if encodings and [encoding.strip(b" \t").lower() for encoding in encodings] != [b"chunked"]:
        raise Refused(501, "The only Transfer-Encoding that is understood is chunked.")
    if b"upgrade" in found and (encodings or any(size.strip(b" \t0") for size in found.get(b"content-length", []))):
        # The parser takes such a request for one without a body, and what follows for the next request.
        raise Refused(
            400,
            "A request with a body must not offer another protocol here: send it without the Upgrade header"
            " (curl --http1.1; HttpClient.Version.HTTP_1_1 in Java).",
        )
    return hosts[0].strip(b" \t")


def check_target(method: bytes, target: bytes, host: bytes) -> bytes:
    """Path and query of the target. Raises Refused for what is neither a path nor absolute for one of the wires, and for a query
    of too many parameters."""
    if target.count(b"&") >= PARAMETERS_MAX:
        raise Refused(400, f"The request's query has more than {PARAMETERS_MAX} parameters.")
    if method == b"CONNECT":
        raise Refused(405, "This server is no proxy.")
    if target.startswith(b"/"):
        if b"#" in target:
            raise Refused(400, "The request's target must not hold a fragment.")
        return target
    found = _ABSOLUTE.fullmatch(target)
    if found is None:
        raise Refused(403 if b"://" in target else 400, "The request's target must be a path.")
    path = found[3] if found[3].startswith(b"/") else b"/" + found[3]
    if not _PROXIED.fullmatch(path) or unquote_to_bytes(path).startswith(b"/api/"):
        raise Refused(403, "This server is no proxy.")
    if _bare(found[2], found[1]) != _bare(host, found[1]):
        raise Refused(400, "The request's target and its Host header name different hosts.")
    return path


def split_target(target: bytes) -> tuple[bytes, bytes]:
    """Path and query of a target that may be broken off, or not one that is served."""
    found = _ABSOLUTE.match(target)
    path, _, query = (found[3] if found else target).partition(b"?")
    return path, query


def _bare(authority: bytes, scheme: bytes) -> bytes:
    """In lower case, without the scheme's own port: to name it is to say nothing (RFC 9110, 4.2.3)."""
    return authority.lower().removesuffix(b":443" if scheme.lower() == b"https" else b":80")
