"""Another account's job, on every wire and by every verb: the wire's not-found, and nothing that tells it from no job at all."""

import contextlib
import re
import uuid
from typing import Any, NamedTuple

import pytest
from botocore.exceptions import ClientError

from haulier.api.native.apis import APIS
from wire.native import A_JOB as NATIVE_JOB
from wire.native import Answered
from wire.serving import A_JOB, AWS_ACCOUNT_ID, COS_UIN, Serving
from wire.test_cos import a_body

STRANGER_ID, STRANGER_APPID = "210987654321", "1250000002"
UNKNOWN = "00000000-0000-4000-8000-000000000000"
IDS = ("x-amz-request-id", "x-amz-id-2", "x-cos-request-id", "x-cos-trace-id", "x-request-id")
STATES = ("New", "Suspended", "Active", "Paused", "Complete")


class Verb(NamedTuple):
    wire: str
    method: str
    path: str
    body: Any = None
    query: dict[str, str] | None = None


S3_TAGS = b'<PutJobTaggingRequest xmlns="http://awss3control.amazonaws.com/doc/2018-08-20/"><Tags/></PutJobTaggingRequest>'
TO_STATUS = ("Ready", "Cancelled", "Paused", "Nonsense")
BODIES = {
    ("PUT", "set_priority"): {"priority": 3},
    ("PUT", "set_limits"): {"concurrency": 3},
    ("PUT", "put_tags"): {"tags": {"a": "b"}},
}
VERBS = [
    Verb("s3", "GET", "/v20180820/jobs/{}"),
    Verb("s3", "POST", "/v20180820/jobs/{}/priority", query={"priority": "3"}),
    *(Verb("s3", "POST", "/v20180820/jobs/{}/status", query={"requestedJobStatus": status}) for status in TO_STATUS),
    Verb("s3", "GET", "/v20180820/jobs/{}/tagging"),
    Verb("s3", "PUT", "/v20180820/jobs/{}/tagging", S3_TAGS),
    Verb("s3", "DELETE", "/v20180820/jobs/{}/tagging"),
    Verb("cos", "GET", "/jobs/{}"),
    Verb("cos", "POST", "/jobs/{}/priority", query={"priority": "3"}),
    *(Verb("cos", "POST", "/jobs/{}/status", query={"requestedJobStatus": status}) for status in TO_STATUS),
    Verb("cos", "DELETE", "/jobs/{}"),
    Verb("cos", "GET", "/jobs", query={"nextToken": "{}"}),
    *(
        Verb("native", api.method, f"/api/v1/{api.path.replace('{id}', '{}')}", BODIES.get((api.method, api.name)))
        for api in APIS
        if "{id}" in api.path
    ),
]
NOT_FOUND = {
    "s3": (400, b"<Code>NotFoundException</Code>"),
    "cos": (404, b"<Code>NoSuchJob</Code>"),
    "native": (404, b"JobNotFound"),
}


def ask(served: Serving, verb: Verb, job_id: str) -> Answered:
    path = verb.path.format(job_id)
    query = None if verb.query is None else {name: value.format(job_id) for name, value in verb.query.items()}
    if verb.wire == "cos":
        return Answered(*served.cos("stranger", STRANGER_APPID).send(verb.method, path, verb.body or b"", query))
    headers = {"x-amz-account-id": STRANGER_ID} if verb.wire == "s3" else {}
    connection, answer = served.native("stranger").begin(verb.method, path, verb.body, query=query, headers=headers)
    with contextlib.closing(connection), answer:
        return Answered(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


def told(answer: Answered, job_id: str) -> tuple[int, dict[str, str], bytes]:
    """All of the answer, but for the id that was asked for and the names of the request."""
    body = answer.body.replace(job_id.encode(), b"JOB")
    for name in IDS:
        if name in answer.headers:
            body = body.replace(answer.headers[name].encode(), b"REQUEST")
    headers = {name: value for name, value in answer.headers.items() if name not in (*IDS, "date")}
    return answer.status, headers, re.sub(rb"[0-9A-Za-z+/]{60,}={0,2}", b"HOST", body)


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: f"{verb.wire} {verb.method} {verb.path} {verb.query or ''}".strip())
def test_anothers_job_answers_as_no_job_after_the_same_work(served: Serving, verb: Verb, monkeypatch: pytest.MonkeyPatch) -> None:
    worked: list[str] = []
    for name in ("get", "change", "find", "delete", "events", "list"):
        whole = getattr(served.jobstore, name)
        monkeypatch.setattr(
            served.jobstore, name, lambda *a, name=name, whole=whole, **k: (worked.append(name), whole(*a, **k))[1]
        )
    expected = told(ask(served, verb, UNKNOWN), UNKNOWN)
    work = worked.copy()
    jobs = [served.job_that_is(status) for status in STATES]
    before = [served.jobstore.get("acme", job_id) for job_id in jobs]
    for job_id in jobs:
        worked.clear()
        assert told(ask(served, verb, job_id), job_id) == expected
        assert worked == work
    assert [served.jobstore.get("acme", job_id) for job_id in jobs] == before
    status, _, body = expected
    if verb.path == "/jobs":
        assert (status, b"<Code>InvalidArgument</Code>" in body) == (400, True)
    elif verb.query != {"requestedJobStatus": "Nonsense"}:  # that is an error before there is a job to look for, or after
        assert (status, NOT_FOUND[verb.wire][1] in body) == (NOT_FOUND[verb.wire][0], True), body


def test_no_list_holds_anothers_job(served: Serving) -> None:
    for status in STATES:
        served.job_that_is(status)
    assert served.s3("stranger", STRANGER_ID).list_jobs()["Jobs"] == []
    assert served.cos("stranger", STRANGER_APPID).send("GET", "/jobs").text(".//JobId") is None
    assert served.native("stranger").get("jobs").json["jobs"] == []


def test_one_token_is_one_job_in_each_account(fresh: Serving) -> None:
    token = uuid.uuid4().hex
    ours = fresh.s3().create_job(**A_JOB, ClientRequestToken=token)["JobId"]
    role = f"arn:aws:iam::{STRANGER_ID}:role/batch"
    theirs = fresh.s3("stranger", STRANGER_ID).create_job(**{**A_JOB, "RoleArn": role}, ClientRequestToken=token)["JobId"]
    assert ours != theirs
    assert [job.id for job in fresh.jobs("other")] == [theirs]


# -- roles (reliability.md §10, row 34)


COS_ROLE = f"qcs::cam::uin/{COS_UIN}:roleName/batch"
NOT_PASSED = {
    "the role is not this user's to pass": ("nobody", AWS_ACCOUNT_ID, COS_UIN, "batch"),
    "the user may create nothing": ("viewer", AWS_ACCOUNT_ID, COS_UIN, "batch"),
    "there is no such role": ("admin", AWS_ACCOUNT_ID, COS_UIN, "none"),
    "the role is another account's": ("admin", STRANGER_ID, "100000000002", "batch"),
    "the account is no one's": ("admin", "999999999999", "999", "batch"),
}


@pytest.mark.parametrize(("user", "aws_id", "uin", "role"), NOT_PASSED.values(), ids=NOT_PASSED)
def test_a_role_that_may_not_be_passed_makes_no_job_on_any_wire(
    served: Serving, user: str, aws_id: str, uin: str, role: str
) -> None:
    before = {job.id for job in served.jobs()} | {job.id for job in served.jobs("other")}
    arn, name = f"arn:aws:iam::{aws_id}:role/{role}", f"qcs::cam::uin/{uin}:roleName/{role}"
    with pytest.raises(ClientError) as refused:
        served.s3(user).create_job(**{**A_JOB, "RoleArn": arn}, ClientRequestToken=uuid.uuid4().hex)
    assert refused.value.response["Error"]["Code"] == "AccessDenied"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    answer = served.cos(user).send("POST", "/jobs", a_body().replace(COS_ROLE, name))
    assert (answer.status, answer.text("Code")) == (403, "AccessDenied")
    for body in ({"dialect": "s3control", **A_JOB, "RoleArn": arn}, {**NATIVE_JOB, "role": arn}):
        told = served.native(user).post("jobs", body)
        assert (told.status, told.json["code"]) == (403, "AccessDenied"), told.body
    assert {job.id for job in served.jobs()} | {job.id for job in served.jobs("other")} == before


def test_a_caller_cannot_speak_for_another_account(served: Serving) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        served.s3("admin", STRANGER_ID).list_jobs()
    answer = served.cos("admin", STRANGER_APPID).send("GET", "/jobs")
    assert (answer.status, answer.text("Code")) == (403, "AccessDenied")
