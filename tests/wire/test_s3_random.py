"""Random requests by boto3 over HTTP: what it sends is what the server holds is what it reads back, and nothing ends in a 500."""

import re
import uuid
from collections.abc import Iterator
from typing import Any

import botocore.model
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from haulier import boto3_client
from haulier.api.s3control.elements.copy import NOT_YET
from haulier.core.job import Job
from s3model import CREATE, text
from wire.serving import AWS_ACCOUNT_ID, Serving
from wire.test_restxml_botocore import MOMENTS, in_utc
from wire.xmls import read_twice

LETTERS = st.sampled_from("abcXYZ019 ./-_&<>'\"é界")
SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
OPERATIONS = CREATE.input_shape.members["Operation"]
NEVER_IN_A_COPY = {*NOT_YET, "AccessControlGrants", "RequesterPays"}
RUNS = ("S3PutObjectCopy", "S3PutObjectCopy", "S3PutObjectTagging", "S3DeleteObject", "S3MergeObjectTagging")


def strings(shape: botocore.model.Shape) -> st.SearchStrategy[str]:
    if shape.enum:
        return st.sampled_from(shape.enum)
    least, most = shape.metadata.get("min", 0), shape.metadata.get("max", 1 << 20)
    if "pattern" in shape.metadata:
        made = [found for length in range(least, min(most, 70) + 1) if (found := text(shape, length)) is not None]
        return st.sampled_from(made)
    return st.text(LETTERS, min_size=least, max_size=min(most // 3, 24)).filter(lambda made: len(made.encode()) <= most)


def valid(shape: botocore.model.Shape) -> st.SearchStrategy[Any]:
    """Values that the model allows."""
    limits = shape.metadata
    match shape.type_name:
        case "structure":
            members = {name: valid(member) for name, member in shape.members.items() if "location" not in member.serialization}
            if getattr(shape, "is_tagged_union", False) or shape.name == "JobOperation":
                return st.one_of([st.fixed_dictionaries({name: strategy}) for name, strategy in members.items()])
            needed = {name: members.pop(name) for name in shape.required_members if name in members}
            return st.fixed_dictionaries(needed, optional=members)
        case "list":
            return st.lists(valid(shape.member), min_size=limits.get("min", 0), max_size=min(limits.get("max", 3), 3))
        case "map":
            return st.dictionaries(valid(shape.key), valid(shape.value), min_size=limits.get("min", 0), max_size=2)
        case "integer" | "long":
            top = 2**31 - 1 if shape.type_name == "integer" else 2**63 - 1
            return st.integers(limits.get("min", -top), limits.get("max", top))
        case "boolean":
            return st.booleans()
        case "timestamp":
            return MOMENTS
        case _:
            return strings(shape)


def unique(tags: list[dict[str, str]]) -> list[dict[str, str]]:
    return list({tag["Key"]: tag for tag in tags}.values())


def that_can_be_done(operation: dict[str, Any]) -> dict[str, Any]:
    """The operation without what our rules between fields refuse."""
    [(name, asked)] = operation.items()
    for tags in ("TagSet", "NewObjectTagging"):
        if tags in asked:
            asked = {**asked, tags: unique(asked[tags])}
    if name == "S3PutObjectTagging":
        return {name: {"TagSet": [], **asked}}
    if name == "S3MergeObjectTagging":
        return {name: {"TagSet": asked.get("TagSet") or [{"Key": "k", "Value": ""}]}}
    if name == "S3PutObjectCopy":
        asked = {key: value for key, value in asked.items() if key not in NEVER_IN_A_COPY}
        metadata = asked.get("NewObjectMetadata", {})
        if "UserMetadata" in metadata:
            named = {re.sub("[^a-z0-9-]", "x", key.lower()): value for key, value in metadata["UserMetadata"].items()}
            metadata = asked["NewObjectMetadata"] = {**metadata, "UserMetadata": named}
        if metadata:
            asked["MetadataDirective"] = "REPLACE"
        if metadata.get("SSEAlgorithm") == "AES256":
            asked.pop("SSEAwsKmsKeyId", None)
        return {name: {**asked, "TargetResource": "arn:aws:s3:::target"}}
    return operation


MEMBERS = CREATE.input_shape.members
REPORTS = valid(MEMBERS["Report"]).map(
    lambda report: {
        **{name: value for name, value in report.items() if name != "ExpectedBucketOwner" or not report["Enabled"]},
        "Bucket": "arn:aws:s3:::reports",
        "Format": "Report_CSV_20180820",
        "ReportScope": report.get("ReportScope", "AllTasks"),
    }
)
MANIFESTS = st.builds(
    lambda etag, key, version, fields: {
        "Spec": {"Format": "S3BatchOperations_CSV_20180820", "Fields": fields},
        "Location": {"ObjectArn": f"arn:aws:s3:::lists/{key}", "ETag": etag, **({"ObjectVersionId": version} if version else {})},
    },
    st.sampled_from(['"60e4"', "60e4", "d41d8cd98f00b204e9800998ecf8427e-12"]),
    st.text(LETTERS, min_size=1, max_size=20),
    st.text(LETTERS, max_size=10),
    st.permutations(["Bucket", "Key", "Ignore", "VersionId"]),
)
JOBS = st.fixed_dictionaries(
    {
        "Operation": st.one_of(
            [st.fixed_dictionaries({name: valid(OPERATIONS.members[name])}).map(that_can_be_done) for name in RUNS]
        ),
        "Report": REPORTS,
        "Manifest": MANIFESTS,
        "Priority": valid(MEMBERS["Priority"]),
    },
    optional={
        "ConfirmationRequired": st.booleans(),
        "Description": strings(MEMBERS["Description"]),
        "Tags": valid(MEMBERS["Tags"]).map(unique),
    },
)
"""Requests for jobs that can run."""

ANY = st.fixed_dictionaries(
    {name: valid(MEMBERS[name]) for name in ("Operation", "Report", "Priority")},
    optional={
        name: valid(MEMBERS[name])
        for name in ("Manifest", "ManifestGenerator", "ConfirmationRequired", "Description", "Tags", "Options")
    },
)
"""Whatever the model allows, sensible or not."""


@pytest.fixture(scope="module")
def client(served: Serving) -> Iterator[Any]:
    made = boto3_client(
        served.url,
        AWS_ACCOUNT_ID,
        region_name="us-east-1",
        aws_access_key_id="AKIDADMIN",
        aws_secret_access_key="secret-of-admin",
        config=Config(parameter_validation=False, retries={"total_max_attempts": 1}),
    )
    made.meta.events.register("response-received.s3-control", lambda response_dict, **_: read_twice(response_dict["body"]))
    yield made
    made.close()


def held(job: Job, asked: dict[str, Any]) -> None:
    """The job is what was asked for."""
    assert (job.priority, job.description) == (asked["Priority"], asked.get("Description"))
    assert job.confirmation_required is asked.get("ConfirmationRequired", True)
    assert job.tags == {tag["Key"]: tag["Value"] for tag in asked.get("Tags", ())}
    location = asked["Manifest"]["Location"]
    assert job.manifest.fields == tuple(asked["Manifest"]["Spec"]["Fields"])
    assert job.manifest.location.key == location["ObjectArn"].partition("/")[2]
    assert (job.manifest.location.version, job.manifest.etag) == (location.get("ObjectVersionId"), location["ETag"].strip('"'))
    report = asked["Report"]
    assert job.report.enabled is report["Enabled"]
    if report["Enabled"]:
        assert (job.report.prefix, job.report.scope) == (report.get("Prefix", ""), report["ReportScope"])


def test_what_boto3_sends_is_what_we_hold_is_what_boto3_reads_back(served: Serving, client: Any) -> None:
    @SETTINGS
    @given(JOBS)
    def same(asked: dict[str, Any]) -> None:
        job_id = client.create_job(
            RoleArn=f"arn:aws:iam::{AWS_ACCOUNT_ID}:role/batch", ClientRequestToken=str(uuid.uuid4()), **asked
        )["JobId"]
        held(next(job for job in served.jobs() if job.id == job_id), asked)
        described = in_utc(client.describe_job(JobId=job_id)["Job"])
        for name in ("Operation", "Report", "Manifest", "Priority"):
            assert described[name] == asked[name]
        assert described.get("Description") == asked.get("Description")
        assert described["ConfirmationRequired"] is asked.get("ConfirmationRequired", True)
        client.update_job_status(JobId=job_id, RequestedJobStatus="Cancelled")

    same()


def test_whatever_the_model_allows_is_done_or_refused_by_name(client: Any) -> None:
    known = {*MEMBERS, "RoleArn"}

    @settings(SETTINGS, max_examples=100)
    @given(ANY)
    def answered(asked: dict[str, Any]) -> None:
        try:
            client.create_job(RoleArn=f"arn:aws:iam::{AWS_ACCOUNT_ID}:role/batch", ClientRequestToken=str(uuid.uuid4()), **asked)
        except ClientError as error:
            answer = error.response["Error"]
            assert answer["Code"] == "BadRequestException"
            assert re.split(r"[.:\[]", answer["Message"])[0] in known

    answered()
