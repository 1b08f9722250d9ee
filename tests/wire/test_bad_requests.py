"""Bad requests, both wires: the dialect's error with the offending path named, and nothing stored."""

import hashlib
import http.client
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from haulier.testing.cosclient import CosAnswer, CosClient, authorization
from wire.serving import AWS_ACCOUNT_ID, COS_APPID, Serving
from wire.test_cos import MANIFEST, OPERATION, REPORT, a_body

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
DELETE = "<COSDeleteObject/>"
DOCTYPE = '<!DOCTYPE CreateJobRequest [<!ENTITY a "aaaa">]>'


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
    root = answer.xml
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
    assert served.jobs() == []


FILTERED = MANIFEST.replace("<Spec>", "<Filter/><Spec>")
NO_QCS = MANIFEST.replace("qcs::cos", "arn:aws")
NO_COLUMN = MANIFEST.replace(">Key<", ">Size<")

BAD_COS: list[tuple[str, str | bytes, int, str, str]] = [
    ("an empty body", "", 400, "InvalidRequest", "empty"),
    ("no XML", "hello", 400, "MalformedXML", "not well-formed"),
    ("half a document", a_body()[:-20], 400, "MalformedXML", "not well-formed"),
    ("a DOCTYPE", DOCTYPE + a_body(), 400, "MalformedXML", "DOCTYPE"),
    ("UTF-16", a_body().encode("utf-16"), 400, "MalformedXML", "UTF-8"),
    ("too large", a_body() + " " * (1 << 20), 400, "XMLSizeLimit", "larger than"),
    ("too deep", "<a>" * 50 + "</a>" * 50, 400, "XMLSizeLimit", "deep"),
    ("too many elements", "<CreateJobRequest>" + "<a/>" * 10_001 + "</CreateJobRequest>", 400, "XMLSizeLimit", "elements"),
    ("another root", "<CreateJob/>", 400, "MalformedXML", "CreateJobRequest"),
    ("no token", a_body().replace("ClientRequestToken", "Other"), 400, "MalformedXML", "ClientRequestToken"),
    ("an empty token", a_body(" ").replace("> <", "><", 1), 400, "InvalidArgument", "ClientRequestToken"),
    ("a long token", a_body("x" * 65), 400, "InvalidArgument", "ClientRequestToken"),
    ("no manifest", a_body(manifest=""), 400, "MalformedXML", "Manifest"),
    ("no operation", a_body(operation=""), 400, "MalformedXML", "Operation"),
    ("no report", a_body(report=""), 400, "MalformedXML", "Report"),
    ("no role", a_body().replace("RoleArn", "Role"), 400, "MalformedXML", "RoleArn"),
    ("two manifests", a_body(manifest=MANIFEST * 2), 400, "MalformedXML", "Manifest"),
    (
        "an unknown element",
        a_body(manifest=MANIFEST.replace("<Spec>", "<Filter/><Spec>")),
        400,
        "MalformedXML",
        "Manifest.Filter",
    ),
    ("two operations", a_body(operation=OPERATION.replace("</Op", DELETE + "</Op")), 400, "MalformedXML", "Operation"),
    ("an unknown operation", a_body(operation="<Operation><COSMove/></Operation>"), 400, "MalformedXML", "Operation.COSMove"),
    ("no ETag", a_body(manifest=MANIFEST.replace("ETag", "Tag")), 400, "MalformedXML", "Manifest.Location"),
    ("an unknown format", a_body(manifest=MANIFEST.replace("_V1", "_V9")), 400, "InvalidArgument", "Manifest.Spec.Format"),
    (
        "an unknown column",
        a_body(manifest=MANIFEST.replace(">Key<", ">Size<")),
        400,
        "MalformedXML",
        "Manifest.Spec.Fields[1]",
    ),
    ("no manifest and a bad value", a_body(manifest="", priority="high"), 400, "MalformedXML", "Manifest"),
    ("a bad column and a bad value", a_body(manifest=NO_COLUMN, priority="-1"), 400, "MalformedXML", "Manifest.Spec.Fields[1]"),
    ("options", a_body(extra="<Options><MaxTasks>1</MaxTasks></Options>"), 400, "InvalidRequest", "Options"),
    ("empty options", a_body(extra="<Options/>"), 400, "InvalidRequest", "Options"),
    (
        "a bucket of another APPID under ours",
        a_body(report=REPORT.replace("-1250000000<", "-1259999999<")),
        400,
        "InvalidArgument",
        "Report.Bucket",
    ),
    ("no Key column", a_body(manifest=MANIFEST.replace(">Key<", ">Ignore<")), 400, "MalformedXML", "Manifest.Spec.Fields"),
    ("an unknown scope", a_body(report=REPORT.replace("AllTasks", "Some")), 400, "InvalidArgument", "Report.ReportScope"),
    ("a long prefix", a_body(report=REPORT.replace("reports<", "é" * 129 + "<")), 400, "InvalidArgument", "Report.Prefix"),
    ("a long description", a_body(extra=f"<Description>{'x' * 257}</Description>"), 400, "InvalidArgument", "Description"),
    ("a negative priority", a_body(priority="-1"), 400, "InvalidArgument", "Priority"),
    ("a huge priority", a_body(priority="2147483648"), 400, "InvalidArgument", "Priority"),
    ("a priority in words", a_body(priority="high"), 400, "InvalidArgument", "Priority"),
    ("a priority with underscores", a_body(priority="1_000"), 400, "InvalidArgument", "Priority"),
    (
        "an unknown storage class",
        a_body(operation=OPERATION.replace("<TargetR", "<StorageClass>COLD</StorageClass><TargetR", 1)),
        400,
        "InvalidArgument",
        "Operation.COSPutObjectCopy.StorageClass",
    ),
    ("a foreign APPID", a_body(report=REPORT.replace("1250000000", "1259999999")), 400, "InvalidArgument", "Report.Bucket"),
    (
        "no resource name",
        a_body(manifest=MANIFEST.replace("qcs::cos", "arn:aws")),
        400,
        "InvalidArgument",
        "Manifest.Location.ObjectArn",
    ),
    ("a foreign role", a_body().replace("uin/100000000001", "uin/100000000002"), 403, "AccessDenied", "RoleArn"),
    ("no role name", a_body().replace("roleName/batch", "batch"), 400, "InvalidArgument", "RoleArn"),
    ("a role that is not there", a_body().replace("roleName/batch", "roleName/x"), 403, "AccessDenied", "PassRole"),
    (
        "an operation that is not implemented",
        a_body(
            operation="<Operation><COSInitiateRestoreObject><ExpirationInDays>1</ExpirationInDays><JobTier>Bulk</JobTier>"
            "</COSInitiateRestoreObject></Operation>"
        ),
        400,
        "InvalidRequest",
        "Operation.COSInitiateRestoreObject",
    ),
]


@pytest.mark.parametrize(("body", "status", "code", "named"), [case[1:] for case in BAD_COS], ids=[case[0] for case in BAD_COS])
def test_cos_refuses_a_bad_job(served: Serving, body: str | bytes, status: int, code: str, named: str) -> None:
    answer = served.cos().send("POST", "/jobs", body)
    assert (answer.status, answer.text("Code")) == (status, code)
    assert named in (answer.text("Message") or "")


NO_PREFIX = S3_REPORT.replace("<Format>", "<Prefix/><Format>")
UNKNOWN = "<Operation><S3Move/></Operation>"

BAD_S3: list[tuple[str, str | bytes, int, str, str]] = [
    ("an empty body", "", 400, "BadRequestException", "empty"),
    ("no XML", "hello", 400, "BadRequestException", "not well-formed"),
    ("a DOCTYPE", DOCTYPE + s3_body(), 400, "BadRequestException", "DOCTYPE"),
    ("too large", s3_body() + " " * (1 << 20), 400, "BadRequestException", "larger than"),
    ("another namespace", s3_body().replace(NAMESPACE, "urn:x"), 400, "BadRequestException", "namespace"),
    ("no manifest", s3_body(Manifest=""), 400, "BadRequestException", "Manifest"),
    ("no operation", s3_body(Operation=""), 400, "BadRequestException", "Operation"),
    ("no report", s3_body(Report=""), 400, "BadRequestException", "Report"),
    ("no role", s3_body(RoleArn=""), 400, "BadRequestException", "RoleArn"),
    ("no token", s3_body(ClientRequestToken=""), 400, "BadRequestException", "ClientRequestToken"),
    ("no priority", s3_body(Priority=""), 400, "BadRequestException", "Priority"),
    (
        "two operations",
        s3_body(Operation=S3_OPERATION.replace("</Op", "<S3DeleteObject/></Op")),
        400,
        "BadRequestException",
        "Operation",
    ),
    (
        "an unknown operation",
        s3_body(Operation=UNKNOWN),
        400,
        "BadRequestException",
        "Operation.S3Move",
    ),
    (
        "an operation that is not implemented",
        s3_body(Operation="<Operation><S3DeleteObjectTagging/></Operation>"),
        400,
        "BadRequestException",
        "Operation.S3DeleteObjectTagging",
    ),
    (
        "a manifest of its own making",
        s3_body(
            Manifest="<ManifestGenerator><S3JobManifestGenerator><SourceBucket>arn:aws:s3:::b</SourceBucket>"
            "<EnableManifestOutput>false</EnableManifestOutput></S3JobManifestGenerator></ManifestGenerator>"
        ),
        400,
        "BadRequestException",
        "ManifestGenerator",
    ),
    (
        "an inventory",
        s3_body(Manifest=S3_MANIFEST.replace("S3BatchOperations_CSV_20180820", "S3InventoryReport_CSV_20161130")),
        400,
        "BadRequestException",
        "Manifest.Spec.Format",
    ),
    (
        "an unknown enum value",
        s3_body(Report=S3_REPORT.replace("AllTasks", "Some")),
        400,
        "BadRequestException",
        "Report.ReportScope",
    ),
    ("no report scope", s3_body(Report=S3_REPORT.replace("ReportScope", "Scope")), 400, "BadRequestException", "Report"),
    (
        "an empty prefix",
        s3_body(Report=S3_REPORT.replace("<Format>", "<Prefix/><Format>")),
        400,
        "BadRequestException",
        "Report.Prefix",
    ),
    (
        "a huge priority",
        s3_body(Priority="<Priority>99999999999</Priority>"),
        400,
        "BadRequestException",
        "is not between 0 and 2147483647",
    ),
    ("no ARN", s3_body(RoleArn="<RoleArn>not an arn</RoleArn>"), 400, "BadRequestException", "RoleArn"),
    ("a foreign role", s3_body(RoleArn=S3_ROLE.replace("1234", "9999")), 403, "AccessDenied", "RoleArn"),
    ("options", s3_body(Options="<Options><Guards/></Options>"), 400, "BadRequestException", "Options: is part of the protocol"),
    ("empty options", s3_body(Options="<Options/>"), 400, "BadRequestException", "Options: is part of the protocol"),
    ("a role that is not there", s3_body(RoleArn=S3_ROLE.replace("batch", "x")), 403, "AccessDenied", "PassRole"),
    ("no Bucket column", s3_body(Manifest=S3_MANIFEST.replace(">Bucket<", ">Ignore<")), 400, "BadRequestException", "Fields"),
]


@pytest.mark.parametrize(("body", "status", "code", "named"), [case[1:] for case in BAD_S3], ids=[case[0] for case in BAD_S3])
def test_s3_refuses_a_bad_job(served: Serving, body: str | bytes, status: int, code: str, named: str) -> None:
    found = s3_refusal(send_s3(served, "POST", "/v20180820/jobs", body))
    assert found[:2] == (status, code)
    assert named in found[2]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"jobStatuses": "Sleeping"}, "jobStatuses"),
        ({"jobStatuses": "Active,Sleeping"}, "jobStatuses"),
        ({"maxResults": "0"}, "maxResults"),
        ({"maxResults": "1001"}, "maxResults"),
        ({"maxResults": "many"}, "maxResults"),
        ({"nextToken": ""}, "nextToken"),
        ({"nextToken": "x" * 65}, "nextToken"),
        ({"nextToken": "forged"}, "list token"),
        ({"nextToken": "00000000-0000-4000-8000-000000000000"}, "list token"),
    ],
)
def test_cos_refuses_a_bad_list(served: Serving, query: dict[str, str], named: str) -> None:
    answer = served.cos().send("GET", "/jobs", query=query)
    assert (answer.status, answer.text("Code")) == (400, "InvalidArgument")
    assert named in (answer.text("Message") or "")


NO_ID = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    ("method", "path", "query", "status", "code", "named"),
    [
        ("GET", f"/jobs/{NO_ID}", {}, 404, "NoSuchJob", NO_ID),
        ("POST", f"/jobs/{NO_ID}/priority", {"priority": "1"}, 404, "NoSuchJob", NO_ID),
        ("POST", f"/jobs/{NO_ID}/priority", {}, 400, "InvalidRequest", "priority"),
        ("POST", f"/jobs/{NO_ID}/priority", {"priority": "2147483648"}, 400, "InvalidArgument", "priority"),
        ("POST", f"/jobs/{NO_ID}/priority", {"priority": "१"}, 400, "InvalidArgument", "priority"),
        ("POST", f"/jobs/{NO_ID}/status", {"requestedJobStatus": "Ready"}, 404, "NoSuchJob", NO_ID),
        ("POST", f"/jobs/{NO_ID}/status", {}, 400, "InvalidArgument", "requestedJobStatus"),
        ("POST", f"/jobs/{NO_ID}/status", {"requestedJobStatus": "Active"}, 400, "InvalidArgument", "requestedJobStatus"),
        (
            "POST",
            f"/jobs/{NO_ID}/status",
            {"requestedJobStatus": "Ready", "statusUpdateReason": "é" * 129},
            400,
            "InvalidArgument",
            "statusUpdateReason",
        ),
        (
            "POST",
            f"/jobs/{NO_ID}/status",
            {"requestedJobStatus": "Ready", "statusUpdateReason": "\x01"},
            400,
            "InvalidArgument",
            "statusUpdateReason",
        ),
        ("DELETE", f"/jobs/{NO_ID}", {}, 404, "NoSuchJob", NO_ID),
        ("GET", "/jobs/", {}, 400, "InvalidRequest", "job id"),
        ("POST", "/jobs//priority", {"priority": "1"}, 400, "InvalidRequest", "job id"),
        ("PUT", "/jobs", {}, 405, "MethodNotAllowed", "POST or GET"),
        ("POST", f"/jobs/{NO_ID}", {}, 405, "MethodNotAllowed", "GET or DELETE"),
        ("GET", f"/jobs/{NO_ID}/tagging", {}, 400, "InvalidURI", "tagging"),
        ("GET", f"/jobs/{NO_ID}/status/x", {}, 400, "InvalidURI", "status/x"),
        ("GET", "/elsewhere", {}, 400, "InvalidURI", "elsewhere"),
    ],
)
def test_cos_answers_what_cannot_be_found_or_understood(
    served: Serving, method: str, path: str, query: dict[str, str], status: int, code: str, named: str
) -> None:
    answer = served.cos().send(method, path, query=query)
    assert (answer.status, answer.text("Code")) == (status, code)
    assert named in (answer.text("Message") or "")


@pytest.mark.parametrize(
    ("method", "target", "status", "code"),
    [
        ("GET", "/v20180820/jobs/", 400, "BadRequestException"),
        ("GET", "/v20180820/jobs/abcd", 400, "BadRequestException"),
        ("GET", "/v20180820/jobs/abcde", 400, "NotFoundException"),
        ("GET", f"/v20180820/jobs/{NO_ID}0", 400, "BadRequestException"),
        ("GET", "/v20180820/jobs/a%20b!!!", 400, "BadRequestException"),
        ("DELETE", "/v20180820/jobs/abc/tagging", 400, "BadRequestException"),
        ("GET", "/v20180820/jobs?nextToken=abc", 400, "InvalidNextTokenException"),
        ("GET", "/v20180820/jobs?nextToken=", 400, "InvalidNextTokenException"),
        ("GET", "/v20180820/jobs?nextToken=a%7Cb", 400, "InvalidNextTokenException"),
        ("GET", f"/v20180820/jobs?nextToken={'a' * 1025}", 400, "InvalidNextTokenException"),
        ("GET", "/v20180820/jobs%2Fx", 400, "InvalidURI"),
        ("GET", "/v20180820/other", 400, "InvalidURI"),
        ("GET", "/elsewhere", 400, "InvalidURI"),
        ("PUT", "/v20180820/jobs", 405, "MethodNotAllowed"),
        ("POST", f"/v20180820/jobs/{NO_ID}/priority", 400, "BadRequestException"),
        ("POST", f"/v20180820/jobs/{NO_ID}/priority?priority=-1", 400, "BadRequestException"),
        ("POST", f"/v20180820/jobs/{NO_ID}/priority?priority=1&priority=2", 400, "BadRequestException"),
        ("POST", f"/v20180820/jobs/{NO_ID}/status", 400, "BadRequestException"),
        ("POST", f"/v20180820/jobs/{NO_ID}/status?requestedJobStatus=Ready&statusUpdateReason=", 400, "BadRequestException"),
        ("GET", "/v20180820/jobs?maxResults=%FF", 400, "InvalidRequestException"),
    ],
)
def test_s3_answers_what_cannot_be_found_or_understood(served: Serving, method: str, target: str, status: int, code: str) -> None:
    assert s3_refusal(send_s3(served, method, target))[:2] == (status, code)


def wrong_key(served: Serving, key: str) -> CosClient:
    return CosClient(served.url, COS_APPID, key, "wrong")


def with_times(served: Serving, starts: int, ends: int) -> CosAnswer:
    class Client(CosClient):
        def signed_headers(self, method: str, path: str, body: bytes, query: Any) -> dict[str, str]:
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
