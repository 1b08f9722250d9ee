"""The COS wire, judged by documents written out by hand and by Tencent's own Python SDK."""

import base64
import re
import time
import uuid

import pytest

from haulier.core.job import Failure
from haulier.core.lifecycle import JobEvent as E
from haulier.testing.cosclient import CosAnswer
from wire.serving import AWS_ACCOUNT_ID, Serving

MANIFEST = (
    '<Manifest><Location><ETag>"9b2cf535"</ETag>'
    "<ObjectArn>qcs::cos:ap-chengdu:uid/1250000000:lists-1250000000/2026/logs.csv</ObjectArn></Location>"
    "<Spec><Fields><member>Bucket</member><member>Key</member></Fields><Format>COSBatchOperations_CSV_V1</Format></Spec></Manifest>"
)
OPERATION = (
    "<Operation><COSPutObjectCopy><PrefixReplace>true</PrefixReplace><ResourcesPrefix>logs/</ResourcesPrefix>"
    "<TargetKeyPrefix>archive/logs/</TargetKeyPrefix>"
    "<TargetResource>qcs::cos:ap-chengdu:uid/1250000000:cold-1250000000</TargetResource></COSPutObjectCopy></Operation>"
)
REPORT = (
    "<Report><Bucket>qcs::cos:ap-chengdu:uid/1250000000:lists-1250000000</Bucket><Enabled>true</Enabled>"
    "<Format>Report_CSV_V1</Format><Prefix>reports</Prefix><ReportScope>AllTasks</ReportScope></Report>"
)
ROLE = "<RoleArn>qcs::cam::uin/100000000001:roleName/batch</RoleArn>"
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'


def a_body(
    token: str | None = None,
    *,
    operation: str = OPERATION,
    report: str = REPORT,
    manifest: str = MANIFEST,
    priority: str = " 10 ",
    extra: str = "",
) -> str:
    token = token or str(uuid.uuid4())
    return (
        f"<CreateJobRequest><ClientRequestToken>{token}</ClientRequestToken>{extra}{manifest}{operation}"
        f"<Priority>{priority}</Priority>{report}{ROLE}</CreateJobRequest>"
    )


def utc(milliseconds: int | None) -> str:
    assert milliseconds is not None
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(milliseconds // 1000))


def refusal(answer: CosAnswer) -> tuple[int, str | None]:
    return answer.status, answer.text("Code")


CONFIRM = "<ConfirmationRequired>true</ConfirmationRequired><Description>move logs &amp; more</Description>"


def test_a_new_job_is_described_in_the_documented_order_as_it_was_sent(served: Serving) -> None:
    served.clock.fixed_ms = int(time.time()) * 1000 + 987
    client = served.cos()
    token = str(uuid.uuid4())
    created = client.call("POST", "/jobs", a_body(token, extra=CONFIRM))
    job_id = created.text("JobId")
    assert created.body.decode() == f"{DECLARATION}<CreateJobResult><JobId>{job_id}</JobId></CreateJobResult>"
    assert client.describe_job(job_id or "").body.decode() == (
        f"{DECLARATION}<DescribeJobResult><Job><ClientRequestToken>{token}</ClientRequestToken>"
        "<ConfirmationRequired>true</ConfirmationRequired>"
        f"<CreationTime>{utc(served.clock.fixed_ms)}</CreationTime><Description>move logs &amp; more</Description>"
        "<FailureReasons><JobFailure><FailureCode/><FailureReason/></JobFailure></FailureReasons>"
        f"<JobId>{job_id}</JobId>{MANIFEST}{OPERATION}<Priority>10</Priority>"
        "<ProgressSummary><NumberOfTasksFailed>0</NumberOfTasksFailed><NumberOfTasksSucceeded>0</NumberOfTasksSucceeded>"
        "<TotalNumberOfTasks>0</TotalNumberOfTasks></ProgressSummary>"
        f"{REPORT}{ROLE}<Status>New</Status></Job></DescribeJobResult>"
    )
    served.clock.fixed_ms = None


def test_a_finished_job_is_described_with_its_dates_and_reasons(served: Serving) -> None:
    client = served.cos()
    token = str(uuid.uuid4())
    job_id = client.create_job(a_body(token, extra=CONFIRM))
    suspended = served.move(job_id, E.PICKED_UP, E.CONFIRMATION_DUE, total=0)
    assert client.confirm_job(job_id, "looks right, 确认").body.decode() == (
        f"{DECLARATION}<UpdateJobStatusResult><JobId>{job_id}</JobId><Status>Ready</Status>"
        "<StatusUpdateReason>looks right, 确认</StatusUpdateReason></UpdateJobStatusResult>"
    )
    ended = served.move(job_id, E.STARTED, E.TASKS_DONE, E.REPORTED)
    assert client.describe_job(job_id).body.decode().partition(ROLE)[2] == (
        "<Status>Complete</Status><StatusUpdateReason>looks right, 确认</StatusUpdateReason>"
        f"<SuspendedCause>AwaitingConfirmation</SuspendedCause><SuspendedDate>{utc(suspended.suspended_ms)}</SuspendedDate>"
        f"<TerminationDate>{utc(ended.ended_ms)}</TerminationDate></Job></DescribeJobResult>"
    )


def test_a_completed_job_that_nobody_commented_says_job_complete(served: Serving) -> None:
    client = served.cos()
    job_id = client.create_job(a_body())
    assert client.describe_job(job_id).text("Job/ConfirmationRequired") == "false"
    served.move(job_id, E.PICKED_UP, E.PREPARED, E.STARTED, total=0)
    served.move(job_id, E.TASKS_DONE, E.REPORTED)
    assert client.describe_job(job_id).text("Job/StatusUpdateReason") == "Job complete"


def test_a_failed_job_tells_why(served: Serving) -> None:
    client = served.cos()
    job_id = client.create_job(a_body())
    served.move(job_id, E.PICKED_UP, E.FAILED, failure=Failure("InvalidManifest", "line 7: <&> " + "界" * 300))
    answer = client.describe_job(job_id)
    assert answer.text("Job/FailureReasons/JobFailure/FailureCode") == "InvalidManifest"
    reason = answer.text("Job/FailureReasons/JobFailure/FailureReason") or ""
    assert reason.startswith("line 7: <&> 界")
    assert 253 < len(reason.encode()) <= 256


def test_lists_are_oldest_first_and_always_have_jobs_and_progress(fresh: Serving) -> None:
    client = fresh.cos()
    assert client.call("GET", "/jobs").body.decode() == f"{DECLARATION}<ListJobsResult><Jobs></Jobs></ListJobsResult>"
    made = []
    for number in range(3):
        fresh.clock.fixed_ms = (int(time.time()) + number) * 1000
        made.append(client.create_job(a_body(extra=f"<Description>{number}</Description>" if number else "")))
    page = client.call("GET", "/jobs", query={"maxResults": "1"})
    token = page.text("NextToken")
    assert token is not None
    assert len(token.encode()) <= 64
    assert page.body.decode() == (
        f"{DECLARATION}<ListJobsResult><Jobs><member><CreationTime>{utc(fresh.clock.fixed_ms - 2000)}</CreationTime>"
        f"<JobId>{made[0]}</JobId><Operation>COSPutObjectCopy</Operation><Priority>10</Priority>"
        "<ProgressSummary><NumberOfTasksFailed>0</NumberOfTasksFailed><NumberOfTasksSucceeded>0</NumberOfTasksSucceeded>"
        "<TotalNumberOfTasks>0</TotalNumberOfTasks></ProgressSummary><Status>New</Status></member></Jobs>"
        f"<NextToken>{token}</NextToken></ListJobsResult>"
    )
    for after in (token, made[0]):
        rest = client.call("GET", "/jobs", query={"nextToken": after})
        assert [found.text for found in rest.xml.iterfind("Jobs/member/JobId")] == made[1:]
        assert rest.text("NextToken") is None
    fresh.move(made[1], E.PICKED_UP, E.CONFIRMATION_DUE, total=0)
    fresh.move(made[2], E.PICKED_UP)
    for statuses, wanted in (("Suspended", [made[1]]), ("Suspended,Preparing", made[1:]), ("Complete", [])):
        listed = client.call("GET", "/jobs", query={"jobStatuses": statuses})
        assert [found.text for found in listed.xml.iterfind("Jobs/member/JobId")] == wanted


def test_a_priority_changes_until_the_job_has_ended(served: Serving) -> None:
    client = served.cos()
    job_id = client.create_job(a_body())
    assert client.call("POST", f"/jobs/{job_id}/priority", query={"priority": "30"}).body.decode() == (
        f"{DECLARATION}<UpdateJobPriorityResult><JobId>{job_id}</JobId><Priority>30</Priority></UpdateJobPriorityResult>"
    )
    served.move(job_id, E.PICKED_UP, E.FAILED, E.REPORTED)
    answer = client.send("POST", f"/jobs/{job_id}/priority", query={"priority": "30"})
    assert refusal(answer) == (404, "NoSuchJob")
    answer = client.send("POST", f"/jobs/{job_id}/status", query={"requestedJobStatus": "Cancelled"})
    assert refusal(answer) == (400, "InvalidRequest")


def test_a_repeated_token_is_refused_and_names_the_job(served: Serving) -> None:
    client = served.cos()
    job_id = client.create_job(a_body("the-same-token"))
    answer = client.send("POST", "/jobs", a_body("the-same-token"))
    assert refusal(answer) == (400, "InvalidRequest")
    assert job_id in (answer.text("Message") or "")


def test_a_deleted_job_is_gone_but_its_token_stays_used(served: Serving) -> None:
    client = served.cos()
    job_id = client.create_job(a_body("the-token-of-a-deleted-job"))
    answer = client.call("DELETE", f"/jobs/{job_id}")
    assert (answer.status, answer.body) == (204, b"")
    assert "content-type" not in answer.headers
    assert refusal(client.send("GET", f"/jobs/{job_id}")) == (404, "NoSuchJob")
    assert refusal(client.send("DELETE", f"/jobs/{job_id}")) == (404, "NoSuchJob")
    assert refusal(client.send("POST", "/jobs", a_body("the-token-of-a-deleted-job"))) == (400, "InvalidRequest")


def test_a_job_created_and_confirmed_in_one_breath_will_not_wait(served: Serving) -> None:
    client = served.cos()
    job_id = client.create_job(a_body(extra=CONFIRM))
    assert client.confirm_job(job_id).text("Status") == "New"
    assert served.jobstore.get("acme", job_id).confirmation_given


def test_one_job_is_seen_through_both_wires(served: Serving) -> None:
    cos, s3 = served.cos(), served.s3()
    job_id = cos.create_job(a_body(extra=CONFIRM))
    job = s3.describe_job(JobId=job_id)["Job"]
    assert (job["Status"], job["Priority"], job["Description"]) == ("New", 10, "move logs & more")
    assert job["RoleArn"] == f"arn:aws:iam::{AWS_ACCOUNT_ID}:role/batch"
    assert job["Manifest"]["Location"]["ObjectArn"] == "arn:aws:s3:::lists-1250000000/2026/logs.csv"
    assert job["Manifest"]["Spec"] == {"Format": "S3BatchOperations_CSV_20180820", "Fields": ["Bucket", "Key"]}
    assert job["Report"]["Format"] == "Report_CSV_20180820"
    assert "Operation" not in job  # a prefix cannot be replaced there
    [listed] = [one for one in s3.list_jobs()["Jobs"] if one["JobId"] == job_id]
    assert listed["Operation"] == "COSPutObjectCopy"
    # Each wire applies its own rules to it.
    with pytest.raises(s3.exceptions.JobStatusException):
        s3.update_job_status(JobId=job_id, RequestedJobStatus="Ready")
    assert cos.confirm_job(job_id).text("Status") == "New"


def test_answers_carry_the_documented_headers(served: Serving) -> None:
    client = served.cos()
    for path, failed in (("/jobs", False), (f"/jobs/{uuid.uuid4()}", True)):
        answer = client.send("GET", path)
        assert (answer.headers["server"], answer.headers["content-type"]) == ("tencent-cos", "application/xml")
        assert answer.headers["date"].endswith(" GMT")
        decoded = base64.b64decode(answer.headers["x-cos-request-id"]).decode()
        found = re.fullmatch(r"([0-9a-f]{8})_[0-9a-f]{8}_[0-9a-f]{4}_[0-9a-f]+", decoded)
        assert found
        assert abs(int(found[1], 16) - time.time()) < 60
        assert ("x-cos-trace-id" in answer.headers) is failed
        if failed:
            assert [child.tag for child in answer.xml] == ["Code", "Message", "Resource", "RequestId", "TraceId"]
            assert answer.text("Resource") == path
            assert answer.text("RequestId") == answer.headers["x-cos-request-id"]
            assert answer.text("TraceId") == answer.headers["x-cos-trace-id"]
