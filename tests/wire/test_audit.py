"""Every request is in the audit log: who, what, from where, and whether it was allowed or why not."""

import os

import pytest
import requests

from haulier.audit import Endings
from haulier.audit.files import verify
from haulier.core.lifecycle import JobEvent as E
from wire.serving import AWS_ACCOUNT_ID, Serving
from wire.test_s3control import a_request, refused


def test_what_was_allowed_is_told_with_who_and_what(fresh: Serving) -> None:
    client = fresh.s3()
    job_id = client.create_job(**a_request(Priority=7))["JobId"]
    client.update_job_priority(JobId=job_id, Priority=9)
    client.update_job_status(JobId=job_id, RequestedJobStatus="Cancelled", StatusUpdateReason="not now")
    assert fresh.cos().call("GET", f"/jobs/{job_id}").status == 200
    created, priority, status, described = fresh.audited()
    who = {"peer": "127.0.0.1", "account": "acme", "user": "admin", "key": "AKIDADMIN", "allowed": True, "status": 200}
    for entry in (created, priority, status, described):
        assert {name: entry[name] for name in who} == who
        assert entry["job"] == job_id
    assert [entry["operation"] for entry in (created, priority, status, described)] == [
        "CreateJob",
        "UpdateJobPriority",
        "UpdateJobStatus",
        "DescribeJob",
    ]
    assert (created["role"], created["does"], created["priority"]) == ("batch", "put_tagging", 7)
    assert priority["priority"] == 9
    assert (status["requested"], status["became"], status["why"]) == ("Cancelled", "Cancelling", "not now")
    assert (created["dialect"], described["dialect"]) == ("s3control", "cos")


def test_what_was_refused_is_told_with_the_reason(fresh: Serving) -> None:
    refused(fresh.s3("viewer").create_job, **a_request())
    refused(fresh.s3("stranger").describe_job, JobId="0" * 36)
    refused(fresh.s3().create_job, **a_request(Priority=-1) | {"Priority": 2**31})
    forbidden, foreign, wrong = fresh.audited()
    assert (forbidden["user"], forbidden["operation"], forbidden["allowed"], forbidden["status"]) == (
        "viewer",
        "CreateJob",
        False,
        403,
    )
    assert "s3:CreateJob" in forbidden["reason"]
    assert foreign["allowed"] is False
    assert "user" not in foreign  # its account is not the one it named: nobody is known
    assert (wrong["allowed"], wrong["status"], wrong["code"]) == (True, 400, "BadRequestException")


def test_a_jobs_end_is_told_once_with_its_totals(fresh: Serving) -> None:
    fresh.jobstore.watch(Endings(fresh.audit))
    job_id = fresh.s3().create_job(**a_request(ConfirmationRequired=False))["JobId"]
    fresh.move(job_id, E.PICKED_UP, E.PREPARED, total=0)
    fresh.move(job_id, E.STARTED, E.TASKS_DONE, E.REPORTED)
    fresh.s3().put_job_tagging(JobId=job_id, Tags=[{"Key": "a", "Value": "b"}])
    fresh.audited()
    [ended] = [entry for entry in fresh.audit_entries() if entry["kind"] == "job ended"]
    told = {name: ended[name] for name in ("job", "account", "created_by", "role", "became", "total", "succeeded", "failed")}
    assert told == {
        "job": job_id,
        "account": "acme",
        "created_by": "admin",
        "role": "batch",
        "became": "Complete",
        "total": 0,
        "succeeded": 0,
        "failed": 0,
    }


def test_an_unsigned_request_is_told_without_what_it_sent(fresh: Serving) -> None:
    headers = {"x-amz-account-id": AWS_ACCOUNT_ID, "Authorization": "AWS4-HMAC-SHA256 s3cret"}
    assert requests.get(f"{fresh.url}/v20180820/jobs?X=s3cret", headers=headers, timeout=10).status_code == 403
    [entry] = fresh.audited()
    assert (entry["allowed"], entry["path"], entry["status"]) == (False, "/v20180820/jobs", 403)
    assert "s3cret" not in str(entry)


def test_nothing_is_changed_that_the_log_could_not_tell(fresh: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    client = fresh.s3()
    job_id = client.create_job(**a_request())["JobId"]
    with monkeypatch.context() as patched:

        def refuse(_descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        patched.setattr(os, "fdatasync", refuse)
        client.list_jobs()
        fresh.audit.record({"kind": "probe"}, durable=True)
        code, status, message = refused(client.update_job_priority, JobId=job_id, Priority=1)
        assert (code, status) == ("ServiceUnavailable", 503)
        assert "audit log cannot be written" in message
        assert client.describe_job(JobId=job_id)["Job"]["Priority"] == 10
    fresh.audit.stop()
    operations = [entry["operation"] for entry in fresh.audited()]
    assert operations[:2] == ["CreateJob", "ListJobs"]
    assert operations[-2:] == ["UpdateJobPriority", "DescribeJob"]
    assert verify(fresh.folder / "audit").end.sequence > len(operations)
