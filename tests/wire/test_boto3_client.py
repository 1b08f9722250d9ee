"""`haulier.boto3_client`: the stock client, but for the host and for the members that only Haulier has."""

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ParamValidationError

import haulier
from wire.canned import ACCOUNT, JOB, NAMESPACE, Answer, canned_server, described

KEYS = {"aws_access_key_id": "key-id", "aws_secret_access_key": "secret"}
CREATED = Answer(200, f'<CreateJobResult xmlns="{NAMESPACE}"><JobId>{JOB}</JobId></CreateJobResult>')
JOB_ARGUMENTS = {
    "ClientRequestToken": "token",
    "Priority": 1,
    "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/batch",
    "Report": {"Enabled": False},
}


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy", "http_proxy", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with canned_server() as server:
        yield server


@pytest.fixture
def client(server):
    client = haulier.boto3_client(server.url, ACCOUNT, **KEYS)
    yield client
    client.close()


def test_it_reaches_loopback_by_address_and_by_name(server):
    server.answer(described("Ready"))
    for host in ("127.0.0.1", "localhost"):
        client = haulier.boto3_client(f"http://{host}:{server.server_port}", ACCOUNT, **KEYS)
        assert client.describe_job(JobId=JOB)["Job"]["Status"] == "Ready"
        client.close()
        asked = server.asked[-1]
        assert asked.headers["host"] == f"{host}:{server.server_port}"
        assert asked.headers["x-amz-account-id"] == ACCOUNT


def test_an_account_given_in_the_call_goes_before_that_of_the_client(server, client):
    server.answer(described("Ready"))
    client.describe_job(AccountId="000000000001", JobId=JOB)
    assert server.asked[0].headers["x-amz-account-id"] == "000000000001"
    assert server.asked[0].headers["host"] == server.url.removeprefix("http://")


EXTENSIONS = [
    ({"S3DeleteObject": {"BypassGovernanceRetention": True}}, b"<BypassGovernanceRetention>true</BypassGovernanceRetention>"),
    ({"S3UndeleteObject": {}}, b"<S3UndeleteObject />"),
    ({"S3MergeObjectTagging": {"RemoveKeys": ["k"]}}, b"<RemoveKeys><member>k</member></RemoveKeys>"),
    ({"S3UpdateObjectProperties": {"StorageClass": "GLACIER_IR"}}, b"<StorageClass>GLACIER_IR</StorageClass>"),
    ({"S3VerifyObject": {"Check": ["size"]}}, b"<Check><member>size</member></Check>"),
]


@pytest.mark.parametrize(("operation", "element"), EXTENSIONS)
def test_it_sends_the_operations_that_the_stock_model_lacks(server, client, operation, element):
    server.answer(CREATED)
    assert client.create_job(Operation=operation, **JOB_ARGUMENTS)["JobId"] == JOB
    assert element in server.asked[0].body


def test_it_sends_options_and_shows_them(server, client):
    server.answer(CREATED)
    options = {"MaxTasks": 7, "OnThreshold": "pause", "SkipCodes": ["NoSuchKey"], "Guards": {"BestEffort": False}}
    client.create_job(Operation={"S3DeleteObjectTagging": {}}, Options=options, **JOB_ARGUMENTS)
    sent = server.asked[0].body
    for element in (
        b"<MaxTasks>7</MaxTasks>",
        b"<SkipCodes><member>NoSuchKey</member></SkipCodes>",
        b"<BestEffort>false</BestEffort>",
    ):
        assert element in sent
    server.answer(described("Active", more="<Options><MaxTasks>7</MaxTasks></Options>"))
    assert client.describe_job(JobId=JOB)["Job"]["Options"] == {"MaxTasks": 7}


def test_it_refuses_no_more_than_the_stock_client_does(server, client):
    server.answer(CREATED)
    both = {"S3PutObjectTagging": {}, "S3DeleteObjectTagging": {}}
    client.create_job(Operation=both, **JOB_ARGUMENTS)
    with pytest.raises(ParamValidationError, match='Unknown parameter in Operation: "S3EraseObject"'):
        client.create_job(Operation={"S3EraseObject": {}}, **JOB_ARGUMENTS)


def test_other_clients_stay_as_they_are(client):
    stock = boto3.client("s3control", region_name="us-east-1", **KEYS)
    assert "S3DeleteObject" not in stock.meta.service_model.shape_for("JobOperation").members
    assert "S3DeleteObject" in client.meta.service_model.shape_for("JobOperation").members
    stock.close()


def test_region_and_config_are_those_of_boto3(server):
    client = haulier.boto3_client(server.url, region_name="ap-chengdu", config=Config(connect_timeout=3), **KEYS)
    assert client.meta.region_name == "ap-chengdu"
    assert client.meta.config.connect_timeout == 3
    server.answer(described("Ready"))
    client.describe_job(AccountId=ACCOUNT, JobId=JOB)
    assert "/ap-chengdu/s3/aws4_request" in server.asked[0].headers["authorization"]
    client.close()


def test_without_a_region_it_is_us_east_1(client):
    assert client.meta.region_name == "us-east-1"


def test_an_unknown_attribute_of_the_package_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'boto4_client'"):
        haulier.boto4_client  # noqa: B018
