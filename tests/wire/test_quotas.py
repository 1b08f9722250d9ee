"""What an account gets to hear that asks too often, or for too many jobs, on each wire."""

from typing import Any

import msgspec
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from haulier import boto3_client
from haulier.core.accounts import Quotas
from haulier.core.lifecycle import JobEvent
from wire.native import A_JOB as NATIVE_JOB
from wire.serving import A_JOB, AWS_ACCOUNT_ID, Serving, accounts
from wire.test_cos import a_body


def limited(served: Serving, **quotas: Any) -> None:
    """The first account has these from now on, the other one none."""
    acme, other = accounts()
    served.directory.reload([msgspec.structs.replace(acme, quotas=Quotas(**quotas)), other])


def patient(served: Serving, attempts: int) -> Any:
    return boto3_client(
        served.url,
        AWS_ACCOUNT_ID,
        region_name="us-east-1",
        aws_access_key_id="AKIDADMIN",
        aws_secret_access_key="secret-of-admin",
        config=Config(retries={"mode": "standard", "total_max_attempts": attempts}),
    )


def test_who_asks_too_often_is_told_so_in_the_words_of_the_wire(fresh: Serving) -> None:
    job_id = fresh.s3().create_job(**A_JOB, ClientRequestToken="t")["JobId"]
    fresh.clock.stopped = fresh.clock.monotonic()
    limited(fresh, requests_per_second=0.5)
    assert fresh.native().get(f"jobs/{job_id}").status == 200
    client = patient(fresh, 1)
    with pytest.raises(client.exceptions.TooManyRequestsException) as refused:
        client.describe_job(JobId=job_id)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    with pytest.raises(ClientError, match="SlowDown") as slowed:
        client.list_jobs()
    assert slowed.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    answer = fresh.cos().send("GET", f"/jobs/{job_id}")
    assert (answer.status, answer.text("Code")) == (503, "SlowDown")
    told = fresh.native().get(f"jobs/{job_id}")
    assert (told.status, told.json["code"], told.headers["retry-after"]) == (429, "TooManyRequests", "1")
    assert fresh.s3("stranger", "210987654321").list_jobs()["Jobs"] == []
    fresh.clock.stopped += 2
    assert client.describe_job(JobId=job_id)["Job"]["Status"] == "New"


def test_boto3_tries_again_by_itself_until_it_is_let_through(fresh: Serving) -> None:
    limited(fresh, requests_per_second=20)
    client = patient(fresh, 8)
    assert {client.list_jobs()["ResponseMetadata"]["HTTPStatusCode"] for _ in range(60)} == {200}


def test_a_wrong_signature_uses_up_nothing(fresh: Serving) -> None:
    fresh.clock.stopped = fresh.clock.monotonic()
    limited(fresh, requests_per_second=0.5)
    stolen = fresh.native()
    stolen.credentials.secret_key = "guessed"
    assert {stolen.get("jobs").status for _ in range(5)} == {401}
    assert fresh.native().get("jobs").status == 200


def test_too_many_jobs_are_refused_in_the_words_of_the_wire_and_a_finished_one_makes_room(fresh: Serving) -> None:
    limited(fresh, unfinished_jobs=1)
    client = patient(fresh, 1)
    job_id = client.create_job(**A_JOB, ClientRequestToken="t")["JobId"]
    with pytest.raises(client.exceptions.TooManyRequestsException, match="1 unfinished jobs, the most it may have"):
        client.create_job(**A_JOB, ClientRequestToken="2")
    answer = fresh.cos().send("POST", "/jobs", a_body())
    assert (answer.status, answer.text("Code")) == (500, "TooManyJobs")
    told = fresh.native().post("jobs", NATIVE_JOB)
    assert (told.status, told.json["code"]) == (429, "TooManyJobs")
    assert [job.id for job in fresh.jobs()] == [job_id]
    client.update_job_status(JobId=job_id, RequestedJobStatus="Cancelled")
    assert fresh.cos().send("POST", "/jobs", a_body()).status == 500  # it is Cancelling still
    fresh.move(job_id, JobEvent.REPORTED)
    assert fresh.cos().send("POST", "/jobs", a_body()).status == 200
