"""The native API's errors: one table from our exceptions to codes that stay, and the document that tells them (RFC 9457)."""

from http import HTTPStatus
from typing import Final

import msgspec

from haulier.api.native.documents import Problem
from haulier.api.wire import ErrorTable, HeadTooLarge, RequestLate, UnknownEncoding, UnknownPath, WireError, WrongMethod
from haulier.core import errors as core


class NotAuthenticated(core.AccessRefused):
    """Nobody's request, as far as can be proven: the same for unknown keys and for bad signatures."""


class VersionMismatch(core.RequestError):
    """If-Match names a version that the job, or its tags, no longer has."""


class WrongHost(core.RequestError):
    """The Host is none of those that the API answers for."""


_NOT_AUTHENTICATED: Final = WireError("NotAuthenticated", 401)

ERRORS: Final = ErrorTable(
    {
        core.RequestError: WireError("InvalidRequest", 400),
        core.MalformedDocument: WireError("MalformedDocument", 400),
        core.InvalidField: WireError("InvalidField", 400),
        core.InvalidRequest: WireError("InvalidRequest", 400),
        core.DocumentTooLarge: WireError("DocumentTooLarge", 413),
        core.NotImplementedHere: WireError("NotImplemented", 400),
        core.InvalidListToken: WireError("InvalidCursor", 400),
        core.JobNotFound: WireError("JobNotFound", 404),
        core.TokenReused: WireError("IdempotencyKeyReused", 409),
        core.IllegalTransition: WireError("IllegalTransition", 409),
        core.TooManyRequests: WireError("TooManyRequests", 429),
        core.NothingToRetry: WireError("NothingToRetry", 409),
        core.OutcomesGone: WireError("OutcomesGone", 410),
        core.TooManyJobs: WireError("TooManyJobs", 429),
        core.TooManyTags: WireError("TooManyTags", 400),
        core.TooManyWaiting: WireError("TooManyWaiting", 429),
        core.Unavailable: WireError("Unavailable", 503),
        core.Overloaded: WireError("SlowDown", 503),
        core.AccessRefused: WireError("AccessDenied", 403),
        NotAuthenticated: _NOT_AUTHENTICATED,
        core.UnknownAccessKey: _NOT_AUTHENTICATED,
        core.BadSignature: _NOT_AUTHENTICATED,
        core.RequestExpired: WireError("RequestExpired", 401),
        core.TokenExpired: WireError("TokenExpired", 401),
        core.ClockSkewed: WireError("ClockSkewed", 401),
        core.BadDigest: WireError("BadDigest", 400),
        core.InvalidDigest: WireError("InvalidDigest", 400),
        VersionMismatch: WireError("VersionMismatch", 412),
        WrongHost: WireError("WrongHost", 421),
        HeadTooLarge: WireError("HeadTooLarge", 431),
        RequestLate: WireError("RequestTimeout", 408),
        UnknownEncoding: WireError("UnknownTransferEncoding", 501),
        UnknownPath: WireError("UnknownPath", 404),
        WrongMethod: WireError("MethodNotAllowed", 405),
    },
    {},
    internal=WireError("InternalError", 500),
)

RETRY_SECONDS: Final = 1
"""What Retry-After says with 429 and 503."""


def problem(error: WireError, message: str, request_id: str, cause: Exception) -> bytes:
    """The body of an error answer."""
    told = Problem(
        type=f"urn:haulier:problem:{error.code}",
        title=HTTPStatus(error.status).phrase,
        status=error.status,
        code=error.code,
        detail=message,
        path=getattr(cause, "path", None) or None,
        request_id=request_id,
    )
    return msgspec.json.encode(told)
