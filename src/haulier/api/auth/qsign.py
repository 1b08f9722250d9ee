"""The COS request signature (`q-sign-algorithm=sha1`) as a verifier (cos-batch.md §1.5, reliability.md §6).

It covers method, path, the listed parameters and headers, never the body: so all that could change a request's meaning must be
listed, and over plain HTTP a request that changes something needs a signed Content-MD5 or the operator's leave.
"""

import base64
import binascii
import email.utils
import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal
from urllib.parse import quote_from_bytes, unquote_to_bytes

import msgspec

from haulier.api.auth.request import READS, RawRequest, Verified
from haulier.api.auth.tokens import check_token
from haulier.core.accounts import Identity
from haulier.core.errors import (
    AccessRefused,
    BadDigest,
    BadSignature,
    ClockSkewed,
    InvalidDigest,
    RequestExpired,
    UnknownAccessKey,
)

HttpPolicy = Literal["loopback", "always", "never"]
"""Who may change things over plain HTTP without a signed Content-MD5: peers on this machine, everyone, no one."""

SKEW_SECONDS_MAX: Final = 900
CONTROL_HOST: Final = re.compile(rb"([0-9]+)\.cos-control\.([a-z0-9-]+)\.", re.ASCII | re.IGNORECASE)

_FIELDS: Final = ("q-sign-algorithm", "q-ak", "q-sign-time", "q-key-time", "q-header-list", "q-url-param-list", "q-signature")
_TOKEN: Final = b"x-cos-security-token"
_TIMES: Final = re.compile(r"([0-9]{1,10});([0-9]{1,10})")
_PORT: Final = re.compile(rb":[0-9]+\Z")
_FAR: Final = 1 << 40
"""Seconds. A zone of four hundred digits makes a date that no clock has."""
_HEX: Final = re.compile(r"[0-9a-f]{40}")
_DUMMY_SECRET: Final = "no such key"  # noqa: S105 - signs nothing: it makes unknown keys cost what known ones cost


class _Claim(msgspec.Struct, frozen=True):
    """What the request says about its own signature."""

    access_key: str
    key_time: str
    header_list: tuple[str, ...]
    parameter_list: tuple[str, ...]
    signature: bytes


def verify(
    request: RawRequest, lookup: Callable[[str], Identity | None], now: float, *, max_seconds: int, http_policy: HttpPolicy
) -> Verified:
    """Who signed the request. `now` is Unix time in seconds, `max_seconds` the longest validity that is accepted.

    Raises AccessRefused, UnknownAccessKey, BadSignature, RequestExpired, TokenExpired, ClockSkewed, InvalidDigest, BadDigest.
    """
    fields, parameters = _fields(request)
    claim = _claim(fields)
    _check_time(request, claim, now, max_seconds)
    headers = _check_coverage(request, claim, parameters)
    identity = lookup(claim.access_key)
    secret = identity.key.secret_key if identity is not None else _DUMMY_SECRET
    matches = _matches(request, claim, headers, parameters, secret)
    if identity is None:
        raise UnknownAccessKey("The access key is not known.")
    if not matches:
        raise BadSignature("The Signature you specified is invalid.")
    check_token(identity.key, _token(request), now)
    _check_body(request, claim, http_policy)
    host = CONTROL_HOST.match(request.needed(b"host"))
    return Verified(identity, host[2].decode("ascii").lower() if host else "")


def _token(request: RawRequest) -> bytes | None:
    """The session token: a header, or a parameter where the signature is in the query (cos-batch.md §1.6)."""
    sent = [value for name, value in request.query_pairs() if name.lower() == _TOKEN]
    header = request.one(_TOKEN)
    found = [*sent, *([] if header is None else [header])]
    if len(found) > 1:
        raise AccessRefused("The session token stands more than once.")
    return found[0] if found else None


def _encoded(text: bytes) -> str:
    return quote_from_bytes(text, safe="-_.~")


def _fields(request: RawRequest) -> tuple[Mapping[str, str], Sequence[tuple[str, str]]]:
    """The seven q-fields, and the other query parameters as they are signed: encoded, names in lower case."""
    parameters = [(_encoded(name).lower(), value) for name, value in request.query_pairs()]
    in_query = any(name.startswith("q-") for name, _ in parameters)
    authorization = request.one(b"authorization")
    if in_query and authorization is not None:
        raise AccessRefused("The request carries a signature both in the Authorization header and in the query.")
    if not in_query and not authorization:
        raise AccessRefused("Access Denied.")
    if authorization:
        pairs = [part.partition("=")[::2] for part in authorization.decode("latin-1").split("&")]
        others = parameters
    else:
        if request.method not in READS or request.body:
            raise AccessRefused("A request that is signed in its query can only read, and carries no body.")
        pairs = [(name, value.decode("latin-1")) for name, value in parameters if name in _FIELDS]
        others = [(name, value) for name, value in parameters if name not in (*_FIELDS, _TOKEN.decode())]
    if sorted(name for name, _ in pairs) != sorted(_FIELDS):
        raise AccessRefused(f"The signature must hold {', '.join(_FIELDS)}, each once.")
    return dict(pairs), [(name, _encoded(value)) for name, value in others]


def _claim(fields: Mapping[str, str]) -> _Claim:
    if fields["q-sign-algorithm"] != "sha1":
        raise AccessRefused("q-sign-algorithm must be sha1.")
    if fields["q-sign-time"] != fields["q-key-time"] or not _TIMES.fullmatch(fields["q-key-time"]):
        raise AccessRefused("q-sign-time and q-key-time must be the same START;END in Unix seconds.")
    if not _HEX.fullmatch(fields["q-signature"]):
        raise AccessRefused("q-signature must be 40 lower-case hex digits.")
    lists = []
    for name in ("q-header-list", "q-url-param-list"):
        names = fields[name].split(";") if fields[name] else []
        known_once = name == "q-header-list"  # a parameter may be repeated: `_check_coverage`
        if names != sorted(set(names) if known_once else names) or any(one != one.lower() or not one.isascii() for one in names):
            raise AccessRefused(f"{name} must be lower-case and sorted{', without repetition' if known_once else ''}.")
        lists.append(tuple(names))
    return _Claim(fields["q-ak"], fields["q-key-time"], lists[0], lists[1], fields["q-signature"].encode("ascii"))


def _check_time(request: RawRequest, claim: _Claim, now: float, max_seconds: int) -> None:
    start, end = (int(part) for part in claim.key_time.split(";"))
    if not start < end or end - start > max_seconds:
        raise AccessRefused(f"The signature's time range must be positive and at most {max_seconds} seconds long.")
    if start > now + SKEW_SECONDS_MAX:
        raise ClockSkewed("The signature's time range begins more than 15 minutes from now.")
    date = _date(request)
    if date is not None and abs(date - now) > SKEW_SECONDS_MAX:
        raise ClockSkewed("The request's Date is more than 15 minutes from the server's time.")
    if now >= end:
        raise RequestExpired("Request has expired")


def _date(request: RawRequest) -> int | None:
    """The Date header in Unix seconds; None when there is none that can be read (nothing depends on its being there)."""
    text = request.one(b"date")
    try:
        parsed = email.utils.parsedate_tz(text.decode("latin-1")) if text else None
        date = email.utils.mktime_tz(parsed) if parsed is not None else None
    except (ValueError, OverflowError):
        return None
    return date if date is not None and abs(date) < _FAR else None


def _check_coverage(request: RawRequest, claim: _Claim, parameters: Sequence[tuple[str, str]]) -> dict[str, bytes]:
    """The signed headers' values, after checking that all that matters is signed and all that is signed is there."""
    present = {_encoded(name).lower(): name for name, _ in request.headers}
    # Tencent's Node SDK adds the session token after signing. It is compared with the key's own: no other can take its place.
    must = {"host"} | {name for name in present if name.startswith("x-cos-") and name != _TOKEN.decode()}
    if not must <= set(claim.header_list):
        raise AccessRefused(f"These headers must be signed too: {', '.join(sorted(must - set(claim.header_list)))}.")
    if absent := [name for name in claim.header_list if name not in present]:
        raise AccessRefused(f"These signed headers are not in the request: {', '.join(absent)}.")
    sent, listed = Counter(name for name, _ in parameters), Counter(claim.parameter_list)
    if sent.keys() != listed.keys():
        raise AccessRefused("q-url-param-list must name every query parameter of the request, and no other.")
    if wrong := sorted(name for name, times in listed.items() if times not in (1, sent[name])):
        raise AccessRefused(f"q-url-param-list must name a parameter once, or as often as it is sent: {', '.join(wrong)}.")
    return {name: request.needed(present[name]) for name in claim.header_list}


def _matches(
    request: RawRequest, claim: _Claim, headers: Mapping[str, bytes], parameters: Sequence[tuple[str, str]], secret: str
) -> bool:
    sign_key = hmac.digest(secret.encode("utf-8"), claim.key_time.encode("ascii"), "sha1").hex().encode("ascii")
    found = False
    # One SDK signs the host without its port although it sends one.
    for host in (headers["host"], _PORT.sub(b"", headers["host"])):
        http = _http_string(request, {**headers, "host": host}, parameters)
        text = f"sha1\n{claim.key_time}\n{hashlib.sha1(http, usedforsecurity=False).hexdigest()}\n"
        expected = hmac.digest(sign_key, text.encode("ascii"), "sha1").hex().encode("ascii")
        found |= hmac.compare_digest(expected, claim.signature)
    return found


def _http_string(request: RawRequest, headers: Mapping[str, bytes], parameters: Sequence[tuple[str, str]]) -> bytes:
    signed_parameters = "&".join(f"{name}={value}" for name, value in sorted(parameters))
    signed_headers = "&".join(f"{name}={_encoded(value)}" for name, value in sorted(headers.items()))
    lines = [request.method.lower().encode("ascii"), unquote_to_bytes(request.raw_path), signed_parameters.encode("ascii")]
    return b"\n".join([*lines, signed_headers.encode("ascii"), b""])


def _check_body(request: RawRequest, claim: _Claim, http_policy: HttpPolicy) -> None:
    announced = request.one(b"content-md5")
    if announced is not None:
        try:
            digest = base64.b64decode(announced, validate=True)
        except binascii.Error:
            digest = b""
        if len(digest) != 16:
            raise InvalidDigest("Content-MD5 is not the base64 of 16 bytes.")
        if not hmac.compare_digest(digest, hashlib.md5(request.body, usedforsecurity=False).digest()):
            raise BadDigest("The body's MD5 is not the one in Content-MD5.")
    covered = request.secure or (announced is not None and "content-md5" in claim.header_list)
    trusted = http_policy == "always" or (http_policy == "loopback" and request.peer_is_loopback)
    if request.method not in READS and not covered and not trusted:
        raise AccessRefused("Over plain HTTP this request needs a signed Content-MD5.")
