"""The clients that people have judge the S3 wire: boto3 and the AWS command line, each by the ways in which they reach a server
on loopback without DNS."""

import json
import os
import re
import shlex
import subprocess
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

import haulier
from haulier.core.lifecycle import JobEvent as E
from wire.serving import AWS_ACCOUNT_ID, Serving
from wire.xmls import read_twice

AWS = Path(__file__).parents[2] / ".tools" / "awscli" / "bin" / "aws"
needs_aws = pytest.mark.skipif(not AWS.exists(), reason="the AWS command line is missing; `make test` puts it into .tools/awscli")
KEYS = {"aws_access_key_id": "AKIDADMIN", "aws_secret_access_key": "secret-of-admin"}
HOST = "http://s3control.haulier"
"""Resolves nowhere: only the proxy setting leads to the server."""

JOB: dict[str, Any] = {
    "ConfirmationRequired": True,
    "Operation": {
        "S3PutObjectCopy": {
            "TargetResource": "arn:aws:s3:::target",
            "CannedAccessControlList": "bucket-owner-full-control",
            "MetadataDirective": "REPLACE",
            "NewObjectMetadata": {
                "CacheControl": "no-cache",
                "ContentDisposition": "inline",
                "ContentEncoding": "gzip",
                "ContentLanguage": "de",
                "UserMetadata": {"k": "Käse"},
                "ContentLength": 7,
                "ContentMD5": "x",
                "ContentType": "text/plain",
                "RequesterCharged": False,
                "SSEAlgorithm": "KMS",
            },
            "NewObjectTagging": [{"Key": "Größe", "Value": "+ =@"}],
            "RedirectLocation": "/x",
            "RequesterPays": False,
            "StorageClass": "GLACIER_IR",
            "SSEAwsKmsKeyId": "alias/k",
            "TargetKeyPrefix": "Folder & more",
            "BucketKeyEnabled": True,
            "ChecksumAlgorithm": "CRC64NVME",
        }
    },
    "Report": {
        "Bucket": "arn:aws:s3:::reports",
        "Format": "Report_CSV_20180820",
        "Enabled": True,
        "Prefix": "a/b",
        "ReportScope": "FailedTasksOnly",
    },
    "Manifest": {
        "Spec": {"Format": "S3BatchOperations_CSV_20180820", "Fields": ["Ignore", "Bucket", "Key", "VersionId"]},
        "Location": {"ObjectArn": "arn:aws:s3:::lists/a/m.csv", "ObjectVersionId": "v1", "ETag": '"60e4"'},
    },
    "Description": "Käse <&> 界",
    "Priority": 2147483647,
    "RoleArn": f"arn:aws:iam::{AWS_ACCOUNT_ID}:role/batch",
    "Tags": [{"Key": "team", "Value": "lagen"}, {"Key": "Größe", "Value": ""}],
}
"""Every field that a copy job may have (ModifiedSince apart: the two say times in their own way)."""


Ask = Callable[..., dict[str, Any]]
"""API in snake case, arguments as boto3 names them → the answer."""


def by_boto3(client: Any) -> Ask:
    """Asks by a boto3 client; each body is read by the second parser too."""
    bodies: list[bytes] = []

    def keep(response_dict: dict[str, Any] | None = None, **_: Any) -> None:
        bodies.append((response_dict or {}).get("body", b""))

    client.meta.events.register("response-received.s3-control", keep)

    def ask(api: str, **arguments: Any) -> dict[str, Any]:
        bodies.clear()
        answer: dict[str, Any] = getattr(client, api)(AccountId=AWS_ACCOUNT_ID, **arguments)
        for body in filter(None, bodies):
            read_twice(body)
        answer.pop("ResponseMetadata")
        return answer

    return ask


def aws(proxy: str, folder: Path, arguments: Sequence[str | Path]) -> dict[str, Any]:
    """What `aws` prints: the API's answer as JSON, and no more."""
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "HTTP_PROXY": proxy,
        "AWS_ACCESS_KEY_ID": KEYS["aws_access_key_id"],
        "AWS_SECRET_ACCESS_KEY": KEYS["aws_secret_access_key"],
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
    }
    done = subprocess.run([AWS, *arguments], env=environ, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else {}


def by_aws_cli(proxy: str, endpoint: str, folder: Path) -> Ask:
    """Asks by `aws s3control`."""

    def ask(api: str, **arguments: Any) -> dict[str, Any]:
        command = ["s3control", api.replace("_", "-"), "--account-id", AWS_ACCOUNT_ID, "--endpoint-url", endpoint]
        return aws(
            proxy, folder, [*command, "--region", "us-east-1", "--output", "json", "--cli-input-json", json.dumps(arguments)]
        )

    return ask


def the_life_of_a_job(served: Serving, ask: Ask) -> None:
    """All eight calls, and every field of a copy job."""
    token = str(uuid.uuid4())
    job_id = ask("create_job", ClientRequestToken=token, **JOB)["JobId"]
    assert ask("create_job", ClientRequestToken=token, **JOB) == {"JobId": job_id}
    job = ask("describe_job", JobId=job_id)["Job"]
    for name in JOB.keys() - {"Tags"}:
        assert job[name] == JOB[name], name
    assert (job["Status"], job["FailureReasons"]) == ("New", [])
    assert job["JobArn"] == f"arn:aws:s3:us-east-1:{AWS_ACCOUNT_ID}:job/{job_id}"
    assert sorted(ask("get_job_tagging", JobId=job_id)["Tags"], key=lambda tag: tag["Key"]) == sorted(
        JOB["Tags"], key=lambda tag: tag["Key"]
    )
    ask("put_job_tagging", JobId=job_id, Tags=[{"Key": "one", "Value": "1"}])
    assert ask("get_job_tagging", JobId=job_id)["Tags"] == [{"Key": "one", "Value": "1"}]
    ask("delete_job_tagging", JobId=job_id)
    assert ask("get_job_tagging", JobId=job_id)["Tags"] == []
    served.move(job_id, E.PICKED_UP, E.CONFIRMATION_DUE, total=0)
    assert ask("update_job_priority", JobId=job_id, Priority=0) == {"JobId": job_id, "Priority": 0}
    reason = "No longer needed & x/y + 界"
    answer = ask("update_job_status", JobId=job_id, RequestedJobStatus="Cancelled", StatusUpdateReason=reason)
    assert answer == {"JobId": job_id, "Status": "Cancelled", "StatusUpdateReason": reason}
    [listed] = [
        job for job in ask("list_jobs", JobStatuses=["Cancelled", "Failed"], MaxResults=1000)["Jobs"] if job["JobId"] == job_id
    ]
    assert (listed["Operation"], listed["Priority"], listed["Description"]) == ("S3PutObjectCopy", 0, JOB["Description"])
    page = ask("list_jobs", MaxResults=1)
    assert len(page["Jobs"]) == 1
    if "NextToken" in page:
        following = ask("list_jobs", MaxResults=1, NextToken=page["NextToken"])
        assert following["Jobs"][0]["JobId"] != page["Jobs"][0]["JobId"]


@pytest.fixture
def stock(served: Serving, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """boto3 as it is, with our port as its proxy."""
    for name in ("NO_PROXY", "no_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    config = Config(proxies={"http": served.url})
    client = boto3.client("s3control", region_name="us-east-1", endpoint_url=HOST, config=config, **KEYS)
    yield client
    client.close()


def test_stock_boto3_by_way_of_its_proxy_setting(served: Serving, stock: Any) -> None:
    the_life_of_a_job(served, by_boto3(stock))


@pytest.mark.parametrize(
    "base",
    ["", "/", "/base", "/base/of/url/", "/with%20space/v2", "/jobs", "/jobs/x", "/api/v1", "/v20180820", "/v20180820/jobs"],
)
def test_our_helper_for_boto3(served: Serving, base: str) -> None:
    client = haulier.boto3_client(f"{served.url}{base}", region_name="us-east-1", **KEYS)
    the_life_of_a_job(served, by_boto3(client))
    client.close()


@pytest.mark.parametrize("behind", ["/base/path", ":80", ":80/base"])
def test_stock_boto3_at_an_endpoint_with_a_port_or_a_base_path(served: Serving, behind: str) -> None:
    config = Config(proxies={"http": served.url})
    client = boto3.client("s3control", region_name="us-east-1", endpoint_url=f"{HOST}{behind}", config=config, **KEYS)
    the_life_of_a_job(served, by_boto3(client))
    client.close()


@pytest.mark.parametrize(("sent", "status"), [(":80", 200), (":443", 200), (":8080", 403), (":8", 403), ("", 200)])
def test_a_host_may_be_signed_without_the_port_that_its_scheme_has_anyway(served: Serving, sent: str, status: int) -> None:
    request = AWSRequest("GET", f"{HOST}/v20180820/jobs", headers={"x-amz-account-id": AWS_ACCOUNT_ID})
    S3SigV4Auth(Credentials(*KEYS.values()), "s3", "us-east-1").add_auth(request)
    headers = {**dict(request.headers.items()), "Host": f"{HOST.removeprefix('http://')}{sent}"}
    assert requests.get(f"{served.url}/v20180820/jobs", headers=headers, timeout=10).status_code == status


@needs_aws
def test_the_aws_command_line_by_way_of_its_proxy_setting(served: Serving, tmp_path: Path) -> None:
    the_life_of_a_job(served, by_aws_cli(served.url, f"{HOST}/base", tmp_path))
    assert "Jobs" in by_aws_cli(served.url, f"{HOST}:80", tmp_path)("list_jobs")


def test_stock_boto3_understands_what_extensions_answer(served: Serving, stock: Any) -> None:
    ours = served.s3()
    ask = by_boto3(stock)
    common = {name: JOB[name] for name in ("Manifest", "Priority", "RoleArn")} | {"Report": {"Enabled": False}}
    for operation in (
        {"S3DeleteObject": {"BypassGovernanceRetention": True}},
        {"S3MergeObjectTagging": {"TagSet": [{"Key": "k", "Value": "v"}]}},
    ):
        asked = {**common, "Operation": operation, "ClientRequestToken": str(uuid.uuid4())}
        job_id = ours.create_job(**asked)["JobId"]
        assert ours.describe_job(JobId=job_id)["Job"]["Operation"] == operation
        assert ask("describe_job", JobId=job_id)["Job"]["Operation"] == {}
        [name] = operation
        assert [job["Operation"] for job in ask("list_jobs")["Jobs"] if job["JobId"] == job_id] == [name]
        served.move(job_id, E.PICKED_UP, E.PREPARED, E.STARTED, total=1)
        assert ask("update_job_status", JobId=job_id, RequestedJobStatus="Paused")["Status"] == "Pausing"
        assert ask("update_job_status", JobId=job_id, RequestedJobStatus="Cancelled")["Status"] == "Cancelling"


def test_the_host_names_no_account_but_the_one_of_the_header(served: Serving) -> None:
    config = Config(proxies={"http": served.url})
    client = boto3.client("s3control", region_name="us-east-1", endpoint_url=HOST, config=config, **KEYS)
    with pytest.raises(ClientError) as refused:
        client.list_jobs(AccountId="210987654321")
    assert refused.value.response["Error"]["Code"] == "AccessDenied"
    client.close()


# -- the examples that the AWS command line comes with


def examples(command: str) -> list[tuple[list[str], dict[str, Any]]]:
    """Each example of a command: its arguments, and what it is said to print."""
    [page] = AWS.parents[1].glob(f"lib/python*/site-packages/awscli/examples/s3control/{command}.rst")
    text = page.read_text().replace("\\\n", "").replace("},\n        ]", "}\n        ]")  # a trailing comma, which is no JSON
    asked = [shlex.split(found[1])[1:] for found in re.finditer(r"^ +(aws s3control .*)$", text, re.MULTILINE)]
    said = [found[0] for found in re.finditer(r"^ +\{\n(?:.*\n)*?^ {4}\}", text, re.MULTILINE)]
    return list(zip(asked, map(json.loads, said), strict=True))


def run_example(served: Serving, folder: Path, command: str, number: int = 0, job_id: str = "") -> tuple[Any, Any]:
    """What an example prints here, and what it is said to print, about our job."""
    arguments, said = examples(command)[number]
    at = [arguments.index("--job-id") + 1] if job_id else []
    for place in at:
        said = json.loads(json.dumps(said).replace(arguments[place], job_id))
        arguments[place] = job_id
    arguments = [argument.replace("S3BatchJobRole", "batch") for argument in arguments]
    ours = aws(served.url, folder, [*arguments, "--endpoint-url", HOST, "--region", "us-west-2", "--output", "json"])
    return ours, json.loads(json.dumps(said).replace("S3BatchJobRole", "batch"))


@needs_aws
def test_the_examples_of_the_aws_command_line_do_what_they_say(served: Serving, tmp_path: Path) -> None:
    created, _ = run_example(served, tmp_path, "create-job")
    job_id = created["JobId"]
    described, said = run_example(served, tmp_path, "describe-job", job_id=job_id)
    changing = {"CreationTime", "TerminationDate", "Status", "ProgressSummary"}
    for name in said["Job"].keys() - changing:
        assert described["Job"][name] == said["Job"][name], name
    assert said["Job"]["ProgressSummary"].keys() <= described["Job"]["ProgressSummary"].keys()
    listed, said = run_example(served, tmp_path, "list-jobs")
    ours = next(job for job in listed["Jobs"] if job["JobId"] == job_id)
    assert said["Jobs"][0].keys() <= ours.keys()
    assert {name: ours[name] for name in ("Operation", "Priority")} == {
        name: said["Jobs"][0][name] for name in ("Operation", "Priority")
    }
    ours, said = run_example(served, tmp_path, "update-job-priority", job_id=job_id)
    assert ours == said
    served.move(job_id, E.PICKED_UP, E.CONFIRMATION_DUE, total=1)
    for number, events in ((1, [E.STARTED]), (2, [])):  # confirmed, then cancelled while it runs
        ours, said = run_example(served, tmp_path, "update-job-status", number, job_id)
        assert ours == said
        if events:
            served.move(job_id, *events)
    awaiting, _ = run_example(served, tmp_path, "create-job")
    served.move(awaiting["JobId"], E.PICKED_UP, E.CONFIRMATION_DUE, total=1)
    ours, said = run_example(served, tmp_path, "update-job-status", 0, awaiting["JobId"])
    assert ours == said
