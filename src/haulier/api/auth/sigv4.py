"""AWS Signature Version 4 as a verifier (reliability.md §6, s3-batch-operations.md §1).

Everything signed is taken from the request as sent. What is not one of the two known forms (the Authorization header; the query,
for reads) is refused. The work is the same for a known and an unknown key.
"""

import calendar
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Collection
from typing import Final
from urllib.parse import quote_from_bytes

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

ALGORITHM: Final = b"AWS4-HMAC-SHA256"
SERVICE: Final = "s3"
SKEW_SECONDS_MAX: Final = 900
PRESIGNED_SECONDS_MAX: Final = 604_800
UNSIGNED: Final = b"UNSIGNED-PAYLOAD"

_SCOPE: Final = re.compile(r"([^/\s,=]{1,128})/([0-9]{8})/([a-z0-9-]{1,64})/([a-z0-9-]{1,32})/aws4_request")
_FIELDS: Final = re.compile(rb"Credential=([^,\s]+), *SignedHeaders=([^,\s]+), *Signature=([0-9a-f]{64})")
_DATE: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_HASH: Final = re.compile(rb"[0-9a-f]{64}")
_DEFAULT_PORT: Final = re.compile(rb":(?:80|443)\Z")
_DUMMY_SECRET: Final = "no such key"  # noqa: S105 - signs nothing: it makes unknown keys cost what known ones cost


class _Claim(msgspec.Struct, frozen=True):
    """What the request says about its own signature."""

    access_key: str
    day: str
    region: str
    date: str
    """As signed: `YYYYMMDDThhmmssZ`."""
    signed_headers: tuple[str, ...]
    signature: bytes
    payload_hash: bytes
    token: bytes | None
    """The session token."""
    expires_seconds: int | None = None
    """Only in the query form."""


def verify(
    request: RawRequest, lookup: Callable[[str], Identity | None], now: float, *, covered: Collection[str] = ()
) -> Verified:
    """Who signed the request. `now` is Unix time in seconds; `covered` are headers (names in lower case), besides those of AWS,
    that must be signed where they are present.

    Raises AccessRefused, UnknownAccessKey, BadSignature, RequestExpired, TokenExpired, ClockSkewed, InvalidDigest, BadDigest.
    """
    in_query = any(name.lower().startswith(b"x-amz-") for name, _ in request.query_pairs())
    in_header = bool(request.values(b"authorization"))
    if in_query and in_header:
        raise AccessRefused("The request carries credentials both in the Authorization header and in the query.")
    if not in_query and not in_header:
        raise AccessRefused("The request is not signed.")
    claim = _from_query(request) if in_query else _from_header(request)
    _check_time(claim, now)
    _check_coverage(request, claim, covered)
    identity = lookup(claim.access_key)
    matches = _matches(request, claim, identity.key.secret_key if identity is not None else _DUMMY_SECRET)
    if identity is None:
        raise UnknownAccessKey("The access key is not known.")
    if not matches:
        raise BadSignature("The signature does not match the request.")
    check_token(identity.key, claim.token, now)
    _check_body(request, claim)
    return Verified(identity, claim.region)


def signature_of(authorization: bytes) -> bytes | None:
    """The signature in a header that was verified: what stands around it can be written in many ways. None = another kind."""
    found = _FIELDS.search(authorization) if authorization.startswith(ALGORITHM) else None
    return None if found is None else found[3]


def _from_header(request: RawRequest) -> _Claim:
    authorization = request.needed(b"authorization")
    algorithm, _, fields = authorization.partition(b" ")
    found = _FIELDS.fullmatch(fields.strip(b" "))
    if algorithm != ALGORITHM or found is None:
        raise AccessRefused(
            "The Authorization header is not of the form AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…"
        )
    payload_hash = request.needed(b"x-amz-content-sha256")
    if not _HASH.fullmatch(payload_hash):
        raise InvalidDigest("x-amz-content-sha256 must be the SHA-256 of the body in lower-case hex; nothing else is accepted.")
    date, token = request.needed(b"x-amz-date"), request.one(b"x-amz-security-token")
    return _claim(found[1], found[2], found[3], date, payload_hash, token)


def _from_query(request: RawRequest) -> _Claim:
    if request.method not in READS or request.body:
        raise AccessRefused("A presigned request can only read, and carries no body.")
    found: dict[bytes, bytes] = {}
    for name, value in request.query_pairs():
        if name in found and name.lower().startswith(b"x-amz-"):
            raise AccessRefused(f"The query parameter {name.decode('latin-1')} stands more than once.")
        found[name] = value
    missing = [
        name for name in (b"X-Amz-Credential", b"X-Amz-SignedHeaders", b"X-Amz-Date", b"X-Amz-Expires") if name not in found
    ]
    expires = found.get(b"X-Amz-Expires", b"")
    signature = found.get(b"X-Amz-Signature", b"")
    if missing or found.get(b"X-Amz-Algorithm") != ALGORITHM or not _HASH.fullmatch(signature) or not _small_number(expires):
        raise AccessRefused("The query does not hold a complete AWS4-HMAC-SHA256 signature.")
    if not 1 <= int(expires) <= PRESIGNED_SECONDS_MAX:
        raise AccessRefused(f"X-Amz-Expires must be 1 to {PRESIGNED_SECONDS_MAX} seconds.")
    payload_hash = request.one(b"x-amz-content-sha256") or UNSIGNED
    if payload_hash != UNSIGNED and not _HASH.fullmatch(payload_hash):
        raise InvalidDigest("x-amz-content-sha256 must be the SHA-256 of the body in lower-case hex.")
    date, token = found[b"X-Amz-Date"], found.get(b"X-Amz-Security-Token")
    claim = _claim(found[b"X-Amz-Credential"], found[b"X-Amz-SignedHeaders"], signature, date, payload_hash, token)
    return msgspec.structs.replace(claim, expires_seconds=int(expires))


def _small_number(text: bytes) -> bool:
    return text.isdigit() and len(text) <= 7


def _claim(
    credential: bytes, signed_headers: bytes, signature: bytes, date: bytes, payload_hash: bytes, token: bytes | None
) -> _Claim:
    try:
        scope = _SCOPE.fullmatch(credential.decode("ascii"))
        names = tuple(signed_headers.decode("ascii").split(";"))
        stamp = date.decode("ascii")
    except UnicodeDecodeError:
        raise AccessRefused("The credential, the signed headers and the date must be ASCII.") from None
    if scope is None or scope[4] != SERVICE:
        raise AccessRefused(f"The credential's scope must be KEY/YYYYMMDD/REGION/{SERVICE}/aws4_request.")
    if list(names) != sorted(set(names)) or any(name != name.lower() for name in names):
        raise AccessRefused("SignedHeaders must be lower-case, sorted and without repetition.")
    if not _DATE.fullmatch(stamp) or stamp[:8] != scope[2]:
        raise AccessRefused("x-amz-date must be YYYYMMDDThhmmssZ, on the day of the credential's scope.")
    return _Claim(scope[1], scope[2], scope[3], stamp, names, signature, payload_hash, token)


def _check_time(claim: _Claim, now: float) -> None:
    try:
        signed_at = calendar.timegm(time.strptime(claim.date, "%Y%m%dT%H%M%SZ"))
    except ValueError:
        raise AccessRefused("x-amz-date is not a time.") from None
    if claim.expires_seconds is None:
        if abs(now - signed_at) > SKEW_SECONDS_MAX:
            raise ClockSkewed("The difference between the request time and the server's time is too large.")
        return
    if signed_at > now + SKEW_SECONDS_MAX:
        raise ClockSkewed("The request was signed for a time that is still to come.")
    if now > signed_at + claim.expires_seconds:
        raise RequestExpired("Request has expired")


def _check_coverage(request: RawRequest, claim: _Claim, covered: Collection[str]) -> None:
    request.needed(b"host")
    present = {name.decode("latin-1") for name, _ in request.headers}
    signed = set(claim.signed_headers)
    must = {"host"} | {name for name in present if name.startswith("x-amz-") or name in covered}
    if not must <= signed:
        raise AccessRefused(f"These headers must be signed too: {', '.join(sorted(must - signed))}.")
    if not signed <= present:
        raise AccessRefused(f"These signed headers are not in the request: {', '.join(sorted(signed - present))}.")


def _matches(request: RawRequest, claim: _Claim, secret: str) -> bool:
    host = request.needed(b"host")
    if hmac.compare_digest(_signature(request, claim, secret, host), claim.signature):
        return True
    bare = _DEFAULT_PORT.sub(b"", host)  # the AWS CLI sends the port of an endpoint that names it, and signs none
    return bare != host and hmac.compare_digest(_signature(request, claim, secret, bare), claim.signature)


def _signature(request: RawRequest, claim: _Claim, secret: str, host: bytes) -> bytes:
    scope = f"{claim.day}/{claim.region}/{SERVICE}/aws4_request"
    digest = hashlib.sha256(_canonical(request, claim, host)).hexdigest()
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode("ascii"), "sha256")
    text = f"{ALGORITHM.decode()}\n{claim.date}\n{scope}\n{digest}"
    return hmac.digest(key, text.encode("ascii"), "sha256").hex().encode("ascii")


def _canonical(request: RawRequest, claim: _Claim, host: bytes) -> bytes:
    query = sorted(
        (quote_from_bytes(name, safe="-_.~"), quote_from_bytes(value, safe="-_.~"))
        for name, value in request.query_pairs()
        if claim.expires_seconds is None or name != b"X-Amz-Signature"
    )
    headers = b"".join(
        name.encode("ascii")
        + b":"
        + b",".join(b" ".join(value.split()) for value in ([host] if name == "host" else request.values(name.encode("ascii"))))
        + b"\n"
        for name in claim.signed_headers
    )
    return b"\n".join(
        [
            request.method.encode("ascii"),
            request.raw_path or b"/",
            "&".join(f"{name}={value}" for name, value in query).encode("ascii"),
            headers,
            ";".join(claim.signed_headers).encode("ascii"),
            claim.payload_hash,
        ]
    )


def _check_body(request: RawRequest, claim: _Claim) -> None:
    if claim.payload_hash == UNSIGNED:  # only a presigned read gets here with it, and that has no body
        return
    if not hmac.compare_digest(hashlib.sha256(request.body).hexdigest().encode("ascii"), claim.payload_hash):
        raise BadDigest("The body's SHA-256 is not the one in x-amz-content-sha256.")
