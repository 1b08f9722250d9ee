"""The S3 wire's error codes, held against what the model says each API may answer."""

import botocore.loaders
import pytest

from haulier.api.s3control.errors import ERRORS
from haulier.api.wire import UnknownPath, WrongMethod
from haulier.core import errors as core

SERVICE = botocore.loaders.Loader().load_service_model("s3control", "service-2")
JOB_APIS = {
    name: {error["shape"] for error in operation["errors"]}
    for name, operation in SERVICE["operations"].items()
    if operation["http"]["requestUri"].startswith("/v20180820/jobs")
}

BAD = (core.MalformedDocument, core.InvalidField, core.InvalidRequest)
POSSIBLE = {
    "CreateJob": (*BAD, core.NotImplementedHere, core.DocumentTooLarge, core.TokenReused, core.TooManyJobs, core.TooManyTags),
    "DescribeJob": (core.InvalidField, core.InvalidRequest, core.JobNotFound),
    "ListJobs": (core.InvalidField, core.InvalidRequest, core.InvalidListToken),
    "UpdateJobPriority": (*BAD, core.JobNotFound, core.IllegalTransition),
    "UpdateJobStatus": (*BAD, core.JobNotFound, core.IllegalTransition),
    "PutJobTagging": (core.JobNotFound, core.TooManyTags),
    "GetJobTagging": (core.JobNotFound,),
    "DeleteJobTagging": (core.JobNotFound,),
}
"""What each API raises that its model has a code for; a body that is no PutJobTaggingRequest has none there."""


@pytest.mark.parametrize("api", JOB_APIS)
def test_an_api_answers_with_codes_of_its_own_model(api: str) -> None:
    for kind in POSSIBLE[api]:
        found = ERRORS.find(api, kind.__new__(kind))
        assert found.code in JOB_APIS[api], kind
        assert found.status == 400, kind
    internal = ERRORS.find(api, ValueError())
    assert internal.code in JOB_APIS[api]
    assert internal.status == 500


def test_what_no_model_has_is_answered_as_s3_does() -> None:
    codes = {
        core.AccessRefused: ("AccessDenied", 403),
        core.UnknownAccessKey: ("InvalidAccessKeyId", 403),
        core.BadSignature: ("SignatureDoesNotMatch", 403),
        core.ClockSkewed: ("RequestTimeTooSkewed", 403),
        core.Overloaded: ("SlowDown", 503),
        core.Unavailable: ("ServiceUnavailable", 503),
        UnknownPath: ("InvalidURI", 400),
        WrongMethod: ("MethodNotAllowed", 405),
    }
    for kind, answer in codes.items():
        found = ERRORS.find("DescribeJob", kind.__new__(kind))
        assert (found.code, found.status) == answer
