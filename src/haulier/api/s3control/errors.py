"""The S3 wire's errors: one table from our exceptions to its codes (s3-batch-operations.md §2.1)."""

from typing import Final

from haulier.api.wire import ErrorTable, HeadTooLarge, RequestLate, UnknownEncoding, UnknownPath, WireError, WrongMethod
from haulier.core import errors as core

_BAD_REQUEST: Final = WireError("BadRequestException", 400)
_INVALID_REQUEST: Final = WireError("InvalidRequestException", 400)
_ACCESS_DENIED: Final = WireError("AccessDenied", 403)

ERRORS: Final = ErrorTable(
    {
        core.RequestError: _BAD_REQUEST,
        core.MalformedDocument: _BAD_REQUEST,
        core.InvalidField: _BAD_REQUEST,
        core.InvalidRequest: _BAD_REQUEST,
        core.DocumentTooLarge: _BAD_REQUEST,
        core.NotImplementedHere: _BAD_REQUEST,
        core.InvalidListToken: WireError("InvalidNextTokenException", 400),
        core.JobNotFound: WireError("NotFoundException", 400),
        core.TokenReused: WireError("IdempotencyException", 400),
        core.IllegalTransition: WireError("JobStatusException", 400),
        core.NothingToRetry: _BAD_REQUEST,
        core.OutcomesGone: _BAD_REQUEST,
        core.TooManyRequests: WireError("TooManyRequestsException", 400),
        core.TooManyJobs: WireError("TooManyRequestsException", 400),
        core.TooManyTags: WireError("TooManyTagsException", 400),
        core.Unavailable: WireError("ServiceUnavailable", 503),
        core.Overloaded: WireError("SlowDown", 503),
        core.TooManyWaiting: WireError("SlowDown", 503),
        core.AccessRefused: _ACCESS_DENIED,
        core.UnknownAccessKey: WireError("InvalidAccessKeyId", 403),
        core.BadSignature: WireError("SignatureDoesNotMatch", 403),
        core.RequestExpired: _ACCESS_DENIED,
        core.TokenExpired: WireError("ExpiredToken", 400),
        core.ClockSkewed: WireError("RequestTimeTooSkewed", 403),
        core.BadDigest: WireError("XAmzContentSHA256Mismatch", 400),
        core.InvalidDigest: WireError("InvalidDigest", 400),
        HeadTooLarge: WireError("RequestHeaderSectionTooLarge", 400),
        RequestLate: WireError("RequestTimeout", 400),
        UnknownEncoding: WireError("NotImplemented", 501),
        UnknownPath: WireError("InvalidURI", 400),
        WrongMethod: WireError("MethodNotAllowed", 405),
    },
    {
        ("ListJobs", core.InvalidField): _INVALID_REQUEST,  # ListJobs's model has no BadRequestException
        ("ListJobs", core.InvalidRequest): _INVALID_REQUEST,
        ("ListJobs", core.TooManyRequests): WireError("SlowDown", 503),  # whose model has no TooManyRequestsException
        ("CreateJob", core.TooManyTags): _BAD_REQUEST,  # CreateJob's model has no TooManyTagsException
        ("UpdateJobPriority", core.IllegalTransition): _BAD_REQUEST,  # nor UpdateJobPriority's a JobStatusException
    },
    internal=WireError("InternalServiceException", 500),
)
