"""The 13 states on the S3 wire: DescribeJob's whole answer in each, and what a status request does in each."""

from collections.abc import Iterator
from typing import Any

import botocore.loaders
import botocore.model
import botocore.parsers
import msgspec
import pytest
from botocore.exceptions import ClientError

from haulier.api.restxml import Model
from haulier.api.s3control import mapping
from haulier.core.accounts import Account, Caller, User
from haulier.core.job import Failure, Job
from haulier.core.lifecycle import JobEvent as E
from haulier.core.lifecycle import JobStatus, advance
from unit.values import a_job
from wire.goldens import as_kept
from wire.serving import A_JOB, AWS_ACCOUNT_ID, WAYS, Serving

STOCK = botocore.model.ServiceModel(botocore.loaders.Loader().load_service_model("s3control", "service-2"))
ACCOUNT = Account(name="acme", aws_account_id=AWS_ACCOUNT_ID, cos_uin="100000000001", cos_appid="1250000000")
USER = User(account="acme", name="admin", policy="admin")
CREATED_MS = 1_795_600_000_123
REQUEST = (
    '<CreateJobRequest xmlns="http://awss3control.amazonaws.com/doc/2018-08-20/"><Operation><S3PutObjectTagging><TagSet><member>'
    "<Key>Größe</Key><Value/></member></TagSet></S3PutObjectTagging></Operation><Report><Bucket>arn:aws:s3:::reports</Bucket>"
    "<Prefix>a &amp; b</Prefix><Format>Report_CSV_20180820</Format><Enabled>true</Enabled><ReportScope>AllTasks</ReportScope>"
    "</Report><ClientRequestToken>t</ClientRequestToken><Manifest><Spec><Format>S3BatchOperations_CSV_20180820</Format><Fields>"
    "<member>Bucket</member><member>Key</member></Fields></Spec><Location><ObjectArn>arn:aws:s3:::lists/m.csv</ObjectArn>"
    '<ETag>"60e4"</ETag></Location></Manifest><Description>tag &lt;all&gt; of 界</Description><Priority>10</Priority>'
    "<RoleArn>arn:aws:iam::123456789012:role/batch</RoleArn></CreateJobRequest>"
)
FACTS: dict[E, dict[str, Any]] = {
    E.PREPARED: {"total": 42},
    E.CONFIRMATION_DUE: {"total": 42},
    E.CANCEL_REQUESTED: {"reason": "no longer needed"},
    E.FAILED: {"failure": Failure("FailureThresholdExceeded", "more than 50 % of 1,000 tasks failed: 界 & <others>")},
}
COUNTED = ("Active", "Pausing", "Paused", "Cancelling", "Cancelled", "Failing", "Failed")


def a_new_job() -> Job:
    model = Model.s3control()
    request, echo = model.checked("CreateJob", REQUEST.encode())
    asked = mapping.create_job(request, dict(echo), Caller(ACCOUNT, USER, "s3control", "us-east-1"), extensions=True)
    return a_job(
        **{name: getattr(asked, name) for name in ("manifest", "operation", "report", "role_arn", "region", "description")},
        **{name: getattr(asked, name) for name in ("as_sent", "priority", "confirmation_required")},
        created_ms=CREATED_MS,
        status_since_ms=CREATED_MS,
    )


def job_in(status: str) -> Job:
    job = a_new_job()
    for number, event in enumerate(WAYS[status], 1):
        job = advance(job, event, now_ms=CREATED_MS + number * 61_001, **FACTS.get(event, {}))
    if status in COUNTED:
        return msgspec.structs.replace(job, succeeded=30, failed=2, failures={"NoSuchKey": 1, "AccessDenied": 1})
    if status in ("Completing", "Complete"):
        return msgspec.structs.replace(job, succeeded=41, failed=1, failures={"NoSuchKey": 1})
    return job


@pytest.mark.parametrize("status", [str(status) for status in JobStatus])
def test_describe_job_answers_as_kept(status: str) -> None:
    described = mapping.describe(job_in(status), ACCOUNT, CREATED_MS + 600_000)
    answer = Model.s3control().serialize("DescribeJob", {"Job": described})
    as_kept(f"s3control/{status}", answer)
    shape = STOCK.operation_model("DescribeJob").output_shape
    job = botocore.parsers.create_parser("rest-xml").parse({"body": answer, "headers": {}, "status_code": 200}, shape)["Job"]
    assert job["Status"] == status
    known = STOCK.shape_for("JobDescriptor").members
    assert set(job) <= set(known)
    assert job["ProgressSummary"]["TotalNumberOfTasks"] in (0, 42)
    assert ("TerminationDate" in job) is (status in ("Complete", "Cancelled", "Failed"))
    assert ("SuspendedDate" in job) is (status == "Suspended")
    assert bool(job["FailureReasons"]) is (status in ("Failing", "Failed"))


@pytest.fixture(scope="module")
def client(served: Serving) -> Iterator[Any]:
    made = served.s3()
    yield made
    made.close()


ANSWERS = {
    "Ready": {"Suspended": "Ready"},
    "Cancelled": {
        "New": "Cancelling",
        "Preparing": "Cancelling",
        "Suspended": "Cancelled",
        "Ready": "Cancelling",
        "Active": "Cancelling",
        "Pausing": "Cancelling",
        "Paused": "Cancelling",
        "Cancelling": "Cancelling",
    },
    "Paused": {"Ready": "Paused", "Active": "Pausing", "Pausing": "Pausing", "Paused": "Paused"},
}
"""Requested status → state of the job → status in the answer (s3-batch-operations.md §5.3); what is absent is refused."""


@pytest.mark.parametrize("status", [str(status) for status in JobStatus])
@pytest.mark.parametrize("requested", ANSWERS)
def test_a_status_request_does_what_the_table_says(served: Serving, client: Any, requested: str, status: str) -> None:
    job_id = client.create_job(**A_JOB)["JobId"]
    if WAYS[status]:
        served.move(job_id, *WAYS[status], total=0, **({"paused_by": "priority"} if status in ("Pausing", "Paused") else {}))
    expected = ANSWERS[requested].get(status)
    if expected is None:
        with pytest.raises(ClientError) as refused:
            client.update_job_status(JobId=job_id, RequestedJobStatus=requested)
        assert refused.value.response["Error"]["Code"] == "JobStatusException"
        assert client.describe_job(JobId=job_id)["Job"]["Status"] == status
    else:
        answer = client.update_job_status(JobId=job_id, RequestedJobStatus=requested, StatusUpdateReason="why")
        assert (answer["Status"], answer["StatusUpdateReason"]) == (expected, "why")
        assert client.describe_job(JobId=job_id)["Job"]["Status"] == expected
