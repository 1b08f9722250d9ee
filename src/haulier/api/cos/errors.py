"""The COS wire's errors: one table from our exceptions to its codes (cos-batch.md §1.5, §2.7)."""

from typing import Final

from haulier.api.wire import ErrorTable, HeadTooLarge, RequestLate, UnknownEncoding, UnknownPath, WireError, WrongMethod
from haulier.core import errors as core

_INVALID_ARGUMENT: Final = WireError("InvalidArgument", 400)
_INVALID_REQUEST: Final = WireError("InvalidRequest", 400)
_ACCESS_DENIED: Final = WireError("AccessDenied", 403)
_NO_SUCH_JOB: Final = WireError("NoSuchJob", 404)

ERRORS: Final = ErrorTable(
    {
        core.RequestError: _INVALID_REQUEST,
        core.MalformedDocument: WireError("MalformedXML", 400),
        core.InvalidField: _INVALID_ARGUMENT,
        core.InvalidRequest: _INVALID_REQUEST,
        core.InvalidListToken: _INVALID_ARGUMENT,
        core.DocumentTooLarge: WireError("XMLSizeLimit", 400),
        core.NotImplementedHere: _INVALID_REQUEST,
        core.JobNotFound: _NO_SUCH_JOB,
        core.TokenReused: _INVALID_REQUEST,
        core.IllegalTransition: _INVALID_REQUEST,
        core.NothingToRetry: _INVALID_REQUEST,
        core.OutcomesGone: _INVALID_REQUEST,
        core.TooManyRequests: WireError("SlowDown", 503),
        core.TooManyJobs: WireError("TooManyJobs", 500),
        core.TooManyTags: _INVALID_ARGUMENT,
        core.Unavailable: WireError("ServiceUnavailable", 500),  # the batch pages say 500 where the general table says 503
        core.Overloaded: WireError("SlowDown", 503),
        core.TooManyWaiting: WireError("SlowDown", 503),
        core.AccessRefused: _ACCESS_DENIED,
        core.UnknownAccessKey: WireError("InvalidAccessKeyId", 403),
        core.BadSignature: WireError("SignatureDoesNotMatch", 403),
        core.RequestExpired: _ACCESS_DENIED,
        core.TokenExpired: WireError("ExpiredToken", 400),  # the table of 2023; that of 2020 said 403
        core.ClockSkewed: WireError("RequestTimeTooSkewed", 403),
        core.BadDigest: WireError("BadDigest", 400),
        core.InvalidDigest: WireError("InvalidDigest", 400),
        HeadTooLarge: _INVALID_REQUEST,
        RequestLate: WireError("RequestTimeOut", 400),
        UnknownEncoding: WireError("NotImplemented", 501),
        UnknownPath: WireError("InvalidURI", 400),
        WrongMethod: WireError("MethodNotAllowed", 405),
    },
    {
        ("UpdateJobPriority", core.IllegalTransition): _NO_SUCH_JOB,  # "no such job, or the job has already finished"
    },
    internal=WireError("InternalError", 500),
)
