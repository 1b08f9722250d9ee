"""boto3 judges the S3 wire: what it sends is understood, and what is answered it understands."""

import uuid
from datetime import UTC, datetime
from typing import Any

import boto3
import botocore.config
import pytest
from botocore.exceptions import ClientError

from haulier.core.job import Failure
from haulier.core.lifecycle import JobEvent as E
from wire.serving import A_JOB, AWS_ACCOUNT_ID, Serving
from wire.test_bad_requests import send_s3


def a_request(**changes: Any) -> dict[str, Any]:
    return {**A_JOB, "ClientRequestToken": str(uuid.uuid4()), **changes}


def refused(call: Any, **arguments: Any) -> tuple[str, int, str]:
    with pytest.raises(ClientError) as error:
        call(**arguments)
    answer = error.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Message"]


def test_a_job_lives_from_creation_to_completion(served: Serving) -> None:
    client = served.s3()
    operation = {
        "S3PutObjectCopy": {
            "TargetResource": "arn:aws:s3:::target",
            "TargetKeyPrefix": "Folder1",
            "NewObjectTagging": [],
            "ModifiedSinceConstraint": datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC),
        }
    }
    report = {
        "Bucket": "arn:aws:s3:::reports",
        "Prefix": "p",
        "Format": "Report_CSV_20180820",
        "Enabled": True,
        "ReportScope": "AllTasks",
    }
    asked = a_request(Operation=operation, Report=report, Description="Käse & <mehr>")
    job_id = client.create_job(**asked)["JobId"]
    job = client.describe_job(JobId=job_id)["Job"]
    assert job["JobArn"] == f"arn:aws:s3:us-east-1:{AWS_ACCOUNT_ID}:job/{job_id}"
    assert (job["Status"], job["ConfirmationRequired"], job["Priority"]) == ("New", True, 10)
    for name in ("Manifest", "Operation", "Report", "RoleArn", "Description"):
        assert job[name] == asked[name]
    assert job["FailureReasons"] == []
    assert job["ProgressSummary"] == {
        "TotalNumberOfTasks": 0,
        "NumberOfTasksSucceeded": 0,
        "NumberOfTasksFailed": 0,
        "Timers": {"ElapsedTimeInActiveSeconds": 0},
    }

    served.move(job_id, E.PICKED_UP, E.CONFIRMATION_DUE, total=0)
    job = client.describe_job(JobId=job_id)["Job"]
    assert (job["Status"], job["SuspendedCause"]) == ("Suspended", "AWAITING_CONFIRMATION")
    assert job["SuspendedDate"] >= job["CreationTime"]
    assert job["CreationTime"].microsecond % 1000 == 0

    answer = client.update_job_status(JobId=job_id, RequestedJobStatus="Ready", StatusUpdateReason="looks right & x/y +1")
    assert (answer["JobId"], answer["Status"], answer["StatusUpdateReason"]) == (job_id, "Ready", "looks right & x/y +1")
    served.move(job_id, E.STARTED)
    assert client.update_job_priority(JobId=job_id, Priority=98)["Priority"] == 98
    served.move(job_id, E.TASKS_DONE, E.REPORTED)
    job = client.describe_job(JobId=job_id)["Job"]
    assert (job["Status"], job["Priority"], job["StatusUpdateReason"]) == ("Complete", 98, "looks right & x/y +1")
    assert job["TerminationDate"] >= job["CreationTime"]


def test_the_answer_carries_both_ids_and_says_who_serves(served: Serving) -> None:
    metadata = served.s3().list_jobs()["ResponseMetadata"]
    headers = metadata["HTTPHeaders"]
    assert metadata["RequestId"] == headers["x-amz-request-id"]
    assert metadata["HostId"] == headers["x-amz-id-2"]
    assert (headers["server"], headers["content-type"]) == ("AmazonS3", "application/xml")
    assert headers["date"].endswith(" GMT")


def test_creation_is_idempotent_by_token(fresh: Serving) -> None:
    client = fresh.s3()
    asked = a_request(ConfirmationRequired=False)
    job_id = client.create_job(**asked)["JobId"]
    reordered = dict(reversed(asked.items()))
    assert client.create_job(**reordered)["JobId"] == job_id
    code, status, message = refused(client.create_job, **{**asked, "Priority": 11})
    assert (code, status) == ("IdempotencyException", 400)
    assert job_id in message
    assert [job.id for job in fresh.jobs()] == [job_id]


def test_the_token_of_a_deleted_job_is_an_idempotency_exception(fresh: Serving) -> None:
    client, asked = fresh.s3(), a_request()
    job_id = client.create_job(**asked)["JobId"]
    assert fresh.native().call("DELETE", f"jobs/{job_id}").status == 204
    code, status, message = refused(client.create_job, **asked)
    assert (code, status) == ("IdempotencyException", 400)
    assert f"{job_id}, which was deleted" in message


def test_a_failed_job_tells_why(served: Serving) -> None:
    client = served.s3()
    job_id = client.create_job(**a_request())["JobId"]
    served.move(job_id, E.PICKED_UP, E.FAILED, failure=Failure("ManifestNotFound", "lists/m.csv " + "é" * 300))
    served.move(job_id, E.REPORTED)
    [reason] = client.describe_job(JobId=job_id)["Job"]["FailureReasons"]
    assert reason["FailureCode"] == "ManifestNotFound"
    assert len(reason["FailureReason"].encode()) == 256


def test_a_cancelled_job_settles_as_the_dialect_says(served: Serving) -> None:
    client = served.s3()
    suspended = client.create_job(**a_request())["JobId"]
    served.move(suspended, E.PICKED_UP, E.CONFIRMATION_DUE, total=0)
    assert client.update_job_status(JobId=suspended, RequestedJobStatus="Cancelled")["Status"] == "Cancelled"
    assert refused(client.update_job_status, JobId=suspended, RequestedJobStatus="Ready")[:2] == ("JobStatusException", 400)
    active = client.create_job(**a_request())["JobId"]
    served.move(active, E.PICKED_UP, E.PREPARED, E.STARTED, total=1)
    assert client.update_job_status(JobId=active, RequestedJobStatus="Cancelled")["Status"] == "Cancelling"


def test_a_job_can_be_paused_and_resumed_by_its_user(served: Serving) -> None:
    client = served.s3()
    job_id = client.create_job(**a_request())["JobId"]
    served.move(job_id, E.PICKED_UP, E.PREPARED, E.STARTED, total=1)
    assert client.update_job_status(JobId=job_id, RequestedJobStatus="Paused")["Status"] == "Pausing"
    assert client.update_job_status(JobId=job_id, RequestedJobStatus="Ready")["Status"] == "Ready"
    assert client.describe_job(JobId=job_id)["Job"]["Status"] == "Active"


def test_errors_are_the_modelled_ones(served: Serving) -> None:
    client = served.s3()
    job_id = client.create_job(**a_request())["JobId"]
    unknown = str(uuid.uuid4())
    with pytest.raises(client.exceptions.NotFoundException):
        client.describe_job(JobId=unknown)
    for call, arguments in (
        (client.update_job_priority, {"Priority": 1}),
        (client.update_job_status, {"RequestedJobStatus": "Cancelled"}),
        (client.get_job_tagging, {}),
        (client.put_job_tagging, {"Tags": []}),
        (client.delete_job_tagging, {}),
    ):
        assert refused(call, JobId=unknown, **arguments)[:2] == ("NotFoundException", 400)
    with pytest.raises(client.exceptions.JobStatusException):
        client.update_job_status(JobId=job_id, RequestedJobStatus="Ready")
    with pytest.raises(client.exceptions.BadRequestException):
        client.update_job_status(JobId=job_id, RequestedJobStatus="Sleeping")
    with pytest.raises(client.exceptions.BadRequestException):
        client.update_job_status(JobId=job_id, RequestedJobStatus="Ready", StatusUpdateReason="x" * 257)
    with pytest.raises(client.exceptions.InvalidNextTokenException):
        client.list_jobs(NextToken="forged")
    with pytest.raises(client.exceptions.InvalidRequestException):
        client.list_jobs(JobStatuses=["Sleeping"])
    with pytest.raises(client.exceptions.InvalidRequestException):
        client.list_jobs(MaxResults=1001)
    served.move(job_id, E.PICKED_UP, E.FAILED, E.REPORTED)
    with pytest.raises(client.exceptions.BadRequestException):
        client.update_job_priority(JobId=job_id, Priority=1)


def test_another_accounts_job_is_not_found(served: Serving) -> None:
    job_id = served.s3().create_job(**a_request())["JobId"]
    stranger = served.s3("stranger", "210987654321")
    foreign = refused(stranger.describe_job, JobId=job_id)
    absent = refused(stranger.describe_job, JobId="x" + job_id[1:])
    assert foreign[:2] == absent[:2] == ("NotFoundException", 400)
    assert foreign[2] == absent[2].replace("x" + job_id[1:], job_id)


def test_who_may_not_is_told_access_denied_and_changes_nothing(fresh: Serving) -> None:
    viewer, admin = fresh.s3("viewer"), fresh.s3()
    assert refused(viewer.create_job, **a_request())[:2] == ("AccessDenied", 403)
    assert refused(fresh.s3("nobody").create_job, **a_request())[:2] == ("AccessDenied", 403)  # not a user of the role
    assert fresh.jobs() == []
    job_id = admin.create_job(**a_request())["JobId"]
    assert viewer.describe_job(JobId=job_id)["Job"]["JobId"] == job_id
    assert viewer.list_jobs()["Jobs"][0]["JobId"] == job_id
    for call, arguments in (
        (viewer.update_job_priority, {"Priority": 1}),
        (viewer.update_job_status, {"RequestedJobStatus": "Cancelled"}),
        (viewer.put_job_tagging, {"Tags": []}),
        (viewer.delete_job_tagging, {}),
    ):
        assert refused(call, JobId=job_id, **arguments)[:2] == ("AccessDenied", 403)


def test_lists_are_newest_first_and_their_last_page_has_no_token(fresh: Serving) -> None:
    client = fresh.s3()
    assert client.list_jobs()["Jobs"] == []
    made = []
    for number in range(5):
        fresh.clock.fixed_ms = None
        now = fresh.clock.now_ms()
        fresh.clock.fixed_ms = now + number
        made.append(client.create_job(**a_request(Description=f"job {number}"))["JobId"])
    found, arguments = [], {"MaxResults": 2}
    while True:
        page = client.list_jobs(**arguments)
        found += [job["JobId"] for job in page["Jobs"]]
        if "NextToken" not in page:
            break
        arguments["NextToken"] = page["NextToken"]
    assert found == made[::-1]
    [job] = client.list_jobs(MaxResults=1)["Jobs"]
    assert set(job) == {"JobId", "Description", "Operation", "Priority", "Status", "CreationTime", "ProgressSummary"}
    assert (job["Operation"], job["Description"]) == ("S3PutObjectTagging", "job 4")
    fresh.move(made[0], E.PICKED_UP, E.CONFIRMATION_DUE, total=0)
    assert [job["JobId"] for job in client.list_jobs(JobStatuses=["Suspended", "Complete"])["Jobs"]] == [made[0]]
    assert len(client.list_jobs(JobStatuses=["New", "Suspended"])["Jobs"]) == 5
    assert len(client.list_jobs(MaxResults=0)["Jobs"]) == 5


def test_job_tags_are_replaced_shown_and_removed(served: Serving) -> None:
    client = served.s3()
    job_id = client.create_job(**a_request(Tags=[{"Key": "a", "Value": "1"}]))["JobId"]
    assert client.get_job_tagging(JobId=job_id)["Tags"] == [{"Key": "a", "Value": "1"}]
    tags = [{"Key": "Größe + x", "Value": ""}, {"Key": "größe + x", "Value": "2"}]
    client.put_job_tagging(JobId=job_id, Tags=tags)
    assert sorted(client.get_job_tagging(JobId=job_id)["Tags"], key=lambda tag: tag["Key"]) == tags
    fifty_one = [{"Key": f"k{number}", "Value": "v"} for number in range(51)]
    assert refused(client.put_job_tagging, JobId=job_id, Tags=fifty_one)[:2] == ("TooManyTagsException", 400)
    assert refused(client.create_job, **a_request(Tags=fifty_one))[:2] == ("BadRequestException", 400)
    code, status, message = refused(client.put_job_tagging, JobId=job_id, Tags=tags[:1] * 2)
    assert (code, status) == ("BadRequestException", 400)
    assert "Tags[1].Key" in message
    client.put_job_tagging(JobId=job_id, Tags=[])
    assert client.get_job_tagging(JobId=job_id)["Tags"] == []
    client.put_job_tagging(JobId=job_id, Tags=tags)
    client.delete_job_tagging(JobId=job_id)
    assert client.get_job_tagging(JobId=job_id)["Tags"] == []


def test_a_stock_client_reaches_the_port_as_its_http_proxy(served: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    client = boto3.client(
        "s3control",
        region_name="us-east-1",
        endpoint_url="http://s3control.test",
        aws_access_key_id="AKIDADMIN",
        aws_secret_access_key="secret-of-admin",
        config=botocore.config.Config(proxies={"http": served.url}),
    )
    job_id = client.create_job(AccountId=AWS_ACCOUNT_ID, **a_request())["JobId"]
    assert client.describe_job(AccountId=AWS_ACCOUNT_ID, JobId=job_id)["Job"]["Status"] == "New"
    answer = client.update_job_status(
        AccountId=AWS_ACCOUNT_ID, JobId=job_id, RequestedJobStatus="Cancelled", StatusUpdateReason="a b/c"
    )
    assert answer["Status"] == "Cancelling"


def test_the_delete_extension_is_told_back_to_who_knows_it(served: Serving) -> None:
    client = served.s3()
    operation = {"S3DeleteObject": {"BypassGovernanceRetention": True}}
    job_id = client.create_job(**a_request(Operation=operation))["JobId"]
    assert client.describe_job(JobId=job_id)["Job"]["Operation"] == operation


@pytest.mark.parametrize("reason", ["x", "é", "界" * 85, "界" * 85 + "x", "a + b & c/d"])
def test_a_reason_may_have_256_bytes(served: Serving, reason: str) -> None:
    client = served.s3()
    job_id = client.create_job(**a_request())["JobId"]
    answer = client.update_job_status(JobId=job_id, RequestedJobStatus="Cancelled", StatusUpdateReason=reason)
    assert answer["StatusUpdateReason"] == reason
    assert client.describe_job(JobId=job_id)["Job"]["StatusUpdateReason"] == reason


def test_parameters_of_other_sdks_are_passed_over(served: Serving) -> None:
    answer = send_s3(served, "GET", "/v20180820/jobs?maxResults=1&x-id=ListJobs")
    assert (answer.status, b"<Jobs>" in answer.body) == (200, True)
