"""Bad requests, both wires: the dialect's error with the offending path named, and nothing stored."""

import hashlib
import http.client
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from haulier.testing.cosclient import CosAnswer, CosClient, authorization
from wire.badrequests import Row, Table, table, written_out
from wire.serving import AWS_ACCOUNT_ID, COS_APPID, Serving
from wire.test_cos import a_body
from wire.xmls import read_twice

NAMESPACE = "http://awss3control.amazonaws.com/doc/2018-08-20/"
S3_MANIFEST = (
    "<Manifest><Spec><Format>S3BatchOperations_CSV_20180820</Format><Fields><member>Bucket</member><member>Key</member></Fields>"
    "</Spec><Location><ObjectArn>arn:aws:s3:::lists/m.csv</ObjectArn><ETag>60e4</ETag></Location></Manifest>"
)
S3_TAGGING = "<S3PutObjectTagging><TagSet><member><Key>k</Key><Value>v</Value></member></TagSet></S3PutObjectTagging>"
S3_OPERATION = f"<Operation>{S3_TAGGING}</Operation>"
S3_REPORT = (
    "<Report><Bucket>arn:aws:s3:::rep</Bucket><Format>Report_CSV_20180820</Format><Enabled>true</Enabled>"
    "<ReportScope>AllTasks</ReportScope></Report>"
)
S3_ROLE = f"<RoleArn>arn:aws:iam::{AWS_ACCOUNT_ID}:role/batch</RoleArn>"


def s3_body(**changes: str) -> str:
    parts = {
        "Manifest": S3_MANIFEST,
        "Operation": S3_OPERATION,
        "Priority": "<Priority>1</Priority>",
        "Report": S3_REPORT,
        "RoleArn": S3_ROLE,
        "ClientRequestToken": "<ClientRequestToken>t</ClientRequestToken>",
        **changes,
    }
    return f'<CreateJobRequest xmlns="{NAMESPACE}">{"".join(parts.values())}</CreateJobRequest>'


def send_s3(served: Serving, method: str, target: str, body: bytes | str = b"", **changes: Any) -> CosAnswer:
    """A request signed by botocore; of the `changes`, `headers` and `late_body` are made after signing."""
    data = body.encode() if isinstance(body, str) else body
    request = AWSRequest(method, served.url + target, data=data)
    request.headers["x-amz-account-id"] = changes.get("account", AWS_ACCOUNT_ID)
    request.headers["host"] = urlsplit(served.url).netloc
    for name, value in changes.get("signed_headers", {}).items():
        request.headers[name] = value
    credentials = Credentials(changes.get("key", "AKIDADMIN"), changes.get("secret", "secret-of-admin"))
    S3SigV4Auth(credentials, "s3", "us-east-1").add_auth(request)
    headers = {**dict(request.headers.items()), **changes.get("headers", {})}
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    try:
        connection.request(method, target, changes.get("late_body", data), {k: v for k, v in headers.items() if v is not None})
        answer = connection.getresponse()
        return CosAnswer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def s3_refusal(answer: CosAnswer) -> tuple[int, str | None, str]:
    """Status, code and message, after seeing that the document is a whole one."""
    root = read_twice(answer.body)
    assert root.tag == f"{{{NAMESPACE}}}ErrorResponse"
    found = {child.tag.partition("}")[2]: child.text for child in root.iter()}
    assert found["RequestId"] == answer.headers["x-amz-request-id"]
    assert found["HostId"] == answer.headers["x-amz-id-2"]
    assert found["Type"] == ("Sender" if answer.status < 500 else "Receiver")
    message = found["Message"] or ""
    assert 1 <= len(message) <= 1024
    return answer.status, found["Code"], message


@pytest.fixture(autouse=True)
def nothing_is_stored(served: Serving) -> Iterator[None]:
    yield
    assert [job for job in served.every_job() if job.id not in served.settled] == []


def send_row(served: Serving, dialect: str, table: Table, row: Row) -> CosAnswer:
    """The row's request, signed, to the job it needs."""
    target = written_out(row.target).replace("{job}", served.job_that_is(row.job) if row.job else "")
    if dialect == "s3control":
        changes = {"key": f"AKID{row.user.upper()}", "secret": row.secret or f"secret-of-{row.user}"}
        account = {} if row.account is None else {"account": written_out(row.account)}
        return send_s3(served, row.method, target, table.body(row), signed_headers=row.headers, **changes, **account)
    path, _, query = target.partition("?")
    appid = COS_APPID if row.account is None else written_out(row.account)
    client = CosClient(served.url, appid, f"AKID{row.user.upper()}", row.secret or f"secret-of-{row.user}")
    parameters = dict(parse_qsl(query, keep_blank_values=True))
    return client.send(row.method, path, table.body(row), parameters, headers=row.headers)


def cos_refusal(answer: CosAnswer) -> tuple[int, str | None, str]:
    """Status, code and message, after seeing that the document is a whole one."""
    root = read_twice(answer.body)
    assert [child.tag for child in root] == ["Code", "Message", "Resource", "RequestId", "TraceId"]
    assert root.tag == "Error"
    assert answer.text("RequestId") == answer.headers["x-cos-request-id"]
    return answer.status, answer.text("Code"), answer.text("Message") or ""


TABLES = {dialect: table(dialect) for dialect in ("s3control", "cos")}
ROWS = [(dialect, row) for dialect, found in TABLES.items() for row in found.rows]


@pytest.mark.parametrize(("dialect", "row"), ROWS, ids=[f"{dialect}: {row.name}" for dialect, row in ROWS])
def test_a_bad_request_is_refused_as_its_table_says(served: Serving, dialect: str, row: Row) -> None:
    if row.job:
        served.job_that_is(row.job)
    before = served.every_job()
    served.service.extensions = row.extensions
    try:
        answer = send_row(served, dialect, TABLES[dialect], row)
    finally:
        served.service.extensions = True
    status, code, message = (s3_refusal if dialect == "s3control" else cos_refusal)(answer)
    assert (status, code) == (row.status, row.code), message
    assert status != 405 or answer.headers["allow"]
    for told in row.told:
        assert told in message
    assert served.every_job() == before


@pytest.mark.parametrize(("dialect", "name"), [(dialect, name) for dialect, found in TABLES.items() for name in found.valid])
def test_nothing_is_wrong_with_the_requests_that_the_rows_start_from(fresh: Serving, dialect: str, name: str) -> None:
    target = "/jobs" if dialect == "cos" else "/v20180820/jobs"
    row = Row(name="as it is", request=name, target=target, code="", message="")
    if name == "PutJobTagging":
        row = msgspec.structs.replace(row, method="PUT", job="New", target=f"{target}/{{job}}/tagging")
    answer = send_row(fresh, dialect, TABLES[dialect], row)
    missing = TABLES[dialect].valid[name].not_yet
    if missing:
        assert (
            f"<Message>{missing}: is part of the protocol, but this version does not implement it</Message>"
            in answer.body.decode()
        )
    else:
        assert answer.status == 200


NO_ID = "00000000-0000-4000-8000-000000000000"


def wrong_key(served: Serving, key: str) -> CosClient:
    return CosClient(served.url, COS_APPID, key, "wrong")


def with_times(served: Serving, starts: int, ends: int) -> CosAnswer:
    class Client(CosClient):
        def signed_headers(self, method: str, path: str, body: bytes, query: Any, more: Any = None) -> dict[str, str]:
            headers = {"host": self.address, "x-cos-appid": self.appid}
            now = int(time.time())
            value = authorization(
                self.secret_id, self.secret_key, method, path, query, headers, starts=now + starts, ends=now + ends
            )
            return {**headers, "authorization": value, "content-length": str(len(body))}

    return Client(served.url, COS_APPID, "AKIDADMIN", "secret-of-admin").send("POST", "/jobs", a_body())


@pytest.mark.parametrize(
    ("ask", "status", "code"),
    [
        (
            lambda s: CosClient(s.url, COS_APPID, "AKIDADMIN", "wrong").send("POST", "/jobs", a_body()),
            403,
            "SignatureDoesNotMatch",
        ),
        (lambda s: wrong_key(s, "AKIDNONE").send("POST", "/jobs", a_body()), 403, "InvalidAccessKeyId"),
        (lambda s: s.cos(appid="1250000002").send("POST", "/jobs", a_body()), 403, "AccessDenied"),
        (lambda s: s.cos(appid="").send("POST", "/jobs", a_body()), 400, "InvalidArgument"),
        (lambda s: s.cos("viewer").send("POST", "/jobs", "not even XML"), 403, "AccessDenied"),
        (lambda s: s.cos("nobody").send("POST", "/jobs", a_body()), 403, "AccessDenied"),
        (lambda s: with_times(s, -7200, -3600), 403, "AccessDenied"),
        (lambda s: with_times(s, 3600, 7200), 403, "RequestTimeTooSkewed"),
        (lambda s: with_times(s, -10, 7 * 86_400), 403, "AccessDenied"),
    ],
    ids=["signature", "key", "foreign appid", "no appid", "viewer", "role", "expired", "future", "a week"],
)
def test_cos_lets_nobody_in_who_may_not(served: Serving, ask: Callable[[Serving], CosAnswer], status: int, code: str) -> None:
    answer = ask(served)
    assert (answer.status, answer.text("Code")) == (status, code)
    assert "StringToSign" not in answer.body.decode()


def test_an_expired_cos_signature_is_told_in_tencents_words(served: Serving) -> None:
    assert with_times(served, -7200, -3600).text("Message") == "Request has expired"


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"secret": "wrong"}, 403, "SignatureDoesNotMatch"),
        ({"key": "AKIDNONE"}, 403, "InvalidAccessKeyId"),
        ({"account": "210987654321"}, 403, "AccessDenied"),
        ({"headers": {"Authorization": None}}, 403, "AccessDenied"),
        ({"headers": {"x-amz-late": "1"}}, 403, "AccessDenied"),
        ({"headers": {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}}, 400, "InvalidDigest"),
        ({"headers": {"X-Amz-Content-SHA256": hashlib.sha256(b"").hexdigest()}}, 403, "SignatureDoesNotMatch"),
        ({"late_body": s3_body().replace("Priority>1<", "Priority>2<").encode()}, 400, "XAmzContentSHA256Mismatch"),
        ({"key": "AKIDVIEWER", "secret": "secret-of-viewer"}, 403, "AccessDenied"),
    ],
    ids=["signature", "key", "account", "unsigned", "unsigned header", "unsigned body", "other hash", "other body", "viewer"],
)
def test_s3_lets_nobody_in_who_may_not(served: Serving, changes: dict[str, Any], status: int, code: str) -> None:
    assert s3_refusal(send_s3(served, "POST", "/v20180820/jobs", s3_body(), **changes))[:2] == (status, code)


@pytest.mark.parametrize("target", ["/v20180820/other", "/v20180820/jobs/", "/jobs/x/y", "/jobs//status"])
def test_who_did_not_sign_is_not_told_what_is_where(served: Serving, target: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    try:
        connection.request("PATCH", target)
        answer = connection.getresponse()
        assert (answer.status, b"<Code>AccessDenied</Code>" in answer.read()) == (403, True)
    finally:
        connection.close()


def test_an_escaped_slash_is_routed_on_cos_as_it_is_signed(served: Serving) -> None:
    client = served.cos()
    headers = client.signed_headers("GET", f"/jobs/{NO_ID}", b"", {})
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    try:
        connection.request("GET", f"/jobs%2F{NO_ID}", headers=headers)
        answer = connection.getresponse()
        body = answer.read().decode()
    finally:
        connection.close()
    assert answer.status == 404
    assert "<Code>NoSuchJob</Code>" in body
