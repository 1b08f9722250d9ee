"""The life of a job through the front door: confirmation, cancel, priority, manifests that cannot be used."""

import pytest
from botocore.exceptions import ClientError

TAGS = {"S3PutObjectTagging": {"TagSet": [{"Key": "x", "Value": "y"}]}}


def test_a_job_waits_for_its_confirmation_and_then_runs(bench):
    bench.put(["a"])
    etag = bench.manifest([(bench.source, "a")])
    job_id = bench.cos_job("<COSDeleteObject/>", etag, confirm=True)
    job = bench.wait(job_id, ["Suspended"])
    assert (bench.counts(job), bench.keys(bench.source)) == ((1, 0, 0), {"a"})
    assert bench.server.cos_client.confirm_job(job_id, "looks right").text("Status") == "Ready"
    done = bench.server.wait_for(job_id)
    assert done.text("Job/Status") == "Complete"
    assert done.text("Job/StatusUpdateReason") == "looks right"
    assert done.text("Job/SuspendedDate") is not None
    assert bench.keys(bench.source) == set()


def test_a_suspended_job_is_cancelled_at_once_and_touches_nothing(bench):
    bench.put(["a"])
    etag = bench.manifest([(bench.source, "a")])
    job_id = bench.s3_job({"S3DeleteObject": {}}, etag, ConfirmationRequired=True)
    bench.wait(job_id, ["Suspended"])
    client = bench.server.s3control()
    answer = client.update_job_status(JobId=job_id, RequestedJobStatus="Cancelled", StatusUpdateReason="changed my mind")
    assert (answer["Status"], answer["StatusUpdateReason"]) == ("Cancelled", "changed my mind")
    with pytest.raises(client.exceptions.JobStatusException):
        client.update_job_status(JobId=job_id, RequestedJobStatus="Ready")
    assert bench.keys(bench.source) == {"a"}


def test_a_running_job_is_cancelled_and_reports_what_was_done(bench):
    rows = [(bench.source, f"missing-{n}") for n in range(30_000)]
    etag = bench.manifest(rows)
    job_id = bench.cos_job("<COSDeleteObject/>", etag)
    client = bench.server.s3control()
    while not bench.counts(client.describe_job(JobId=job_id)["Job"])[1]:
        pass
    assert client.update_job_status(JobId=job_id, RequestedJobStatus="Cancelled")["Status"] in ("Cancelling", "Cancelled")
    job = bench.wait(job_id)
    total, succeeded, failed = bench.counts(job)
    assert job["Status"] == "Cancelled"
    assert 0 < succeeded + failed <= total == 30_000
    assert len(bench.report(job_id).by_key()) == succeeded + failed


def test_the_priority_of_a_job_can_be_changed_until_it_has_ended(bench):
    bench.put(["a"])
    etag = bench.manifest([(bench.source, "a")])
    job_id = bench.s3_job(TAGS, etag, ConfirmationRequired=True)
    bench.wait(job_id, ["Suspended"])
    client = bench.server.s3control()
    assert client.update_job_priority(JobId=job_id, Priority=98)["Priority"] == 98
    client.update_job_status(JobId=job_id, RequestedJobStatus="Ready")
    assert bench.wait(job_id)["Priority"] == 98
    with pytest.raises(ClientError, match="BadRequest"):
        client.update_job_priority(JobId=job_id, Priority=1)


def test_the_same_token_is_the_same_job_on_s3_and_refused_on_cos(bench):
    bench.put(["a"])
    etag = bench.manifest([(bench.source, "a")])
    first = bench.s3_job(TAGS, etag, ClientRequestToken="same-token-" + bench.source)
    assert bench.s3_job(TAGS, etag, ClientRequestToken="same-token-" + bench.source) == first
    with pytest.raises(ClientError, match="IdempotencyException"):
        bench.s3_job(TAGS, etag, ClientRequestToken="same-token-" + bench.source, Priority=11)


@pytest.mark.parametrize(
    ("body", "changes", "code", "reason"),
    [
        (b"BUCKET,a\nBUCKET,b%zz\n", {}, "InvalidManifest", "2"),
        (b"BUCKET,a\nBUCKET\n", {}, "InvalidManifest", "2"),
        (b"", {}, "EmptyManifest", ""),
        (b"BUCKET,\xff\n", {}, "InvalidManifest", "1"),
    ],
)
def test_a_manifest_that_cannot_be_used_fails_the_job_and_names_the_line(bench, body, changes, code, reason):
    bench.put(["a"])
    etag = bench.manifest(body.replace(b"BUCKET", bench.source.encode()))
    job = bench.wait(bench.s3_job({"S3DeleteObject": {}}, etag, **changes))
    assert (job["Status"], job["FailureReasons"][0]["FailureCode"]) == ("Failed", code)
    assert reason in job["FailureReasons"][0]["FailureReason"]
    assert bench.keys(bench.source) == {"a"}


def test_a_manifest_that_was_changed_or_is_gone_fails_the_job(bench):
    bench.put(["a"])
    etag = bench.manifest([(bench.source, "a")])
    bench.manifest([(bench.source, "b")])
    job = bench.wait(bench.s3_job(TAGS, etag))
    assert job["FailureReasons"][0]["FailureCode"] == "ManifestETagMismatch"
    bench.s3.delete_object(Bucket=bench.lists, Key="manifest.csv")
    job = bench.wait(bench.s3_job(TAGS, etag))
    assert job["FailureReasons"][0]["FailureCode"] == "ManifestNotFound"


def test_a_report_that_cannot_be_written_fails_the_job_before_any_task(bench):
    bench.put(["a"])
    etag = bench.manifest([(bench.source, "a")])
    report = {
        "Enabled": True,
        "Bucket": "arn:aws:s3:::NOT_a_bucket",
        "Format": "Report_CSV_20180820",
        "ReportScope": "AllTasks",
    }
    job = bench.wait(bench.s3_job({"S3DeleteObject": {}}, etag, Report=report))
    assert (job["Status"], job["FailureReasons"][0]["FailureCode"]) == ("Failed", "ReportDeliveryFailed")
    assert bench.keys(bench.source) == {"a"}
