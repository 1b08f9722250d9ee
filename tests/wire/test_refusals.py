"""What is refused before it is a request of a wire is told in the words of the wire all the same, as far as it can be known."""

import contextlib
import json
import socket

import pytest
from botocore.exceptions import ClientError

from haulier.api import http, server
from haulier.api.http import HaulierHttpProtocol
from wire.serving import A_JOB, Serving
from wire.xmls import read_twice

LONG = b"x" * 17_000
S3, COS, NATIVE = "/v20180820/jobs", "/jobs", "/api/v1/jobs"


class Told:
    """One answer, to the last byte before the connection ends."""

    def __init__(self, answer: bytes) -> None:
        head, _, self.body = answer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split()[1])
        self.headers = dict(line.lower().split(": ", 1) for line in lines)
        assert self.headers["connection"] == "close"
        assert self.headers["date"].endswith(" gmt")
        assert int(self.headers["content-length"]) == len(self.body)

    @property
    def xml(self) -> dict[str, str | None]:
        assert self.headers["content-type"] == "application/xml"
        return {each.tag.partition("}")[2] or each.tag: each.text for each in read_twice(self.body).iter()}


def exchange(served: Serving, data: bytes = b"") -> Told:
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(data)
        return Told(b"".join(iter(lambda: connection.recv(65_536), b"")))


def told_by_s3(told: Told, status: int, code: str) -> None:
    assert (told.status, told.xml["Code"]) == (status, code)
    assert "ErrorResponse" in told.xml
    assert (told.headers["server"], told.headers["x-amz-request-id"].upper()) == ("amazons3", told.xml["RequestId"])


def told_by_cos(told: Told, status: int, code: str) -> None:
    assert (told.status, told.xml["Code"]) == (status, code)
    assert (told.headers["server"], told.headers["x-cos-request-id"]) == ("tencent-cos", (told.xml["RequestId"] or "").lower())
    assert told.headers["x-cos-trace-id"] == (told.xml["TraceId"] or "").lower()


def told_by_json(told: Told, status: int, code: str) -> None:
    problem = json.loads(told.body)
    assert told.headers["content-type"] == "application/problem+json"
    assert (told.status, problem["status"], problem["code"]) == (status, status, code)
    assert problem["request_id"] == told.headers["x-request-id"]


def told_to_anybody(told: Told, status: int) -> None:
    assert told.status == status
    assert told.headers["content-type"] == "text/plain; charset=utf-8"
    assert {"server", "x-amz-request-id", "x-cos-request-id"} <= told.headers.keys()


TELLS = {S3: told_by_s3, COS: told_by_cos, NATIVE: told_by_json}


def test_a_reason_that_makes_the_target_too_long_is_an_error_of_the_wire(served: Serving) -> None:
    job_id = served.s3().create_job(**A_JOB, ClientRequestToken="a long reason")["JobId"]
    with pytest.raises(ClientError) as refused:
        served.s3().update_job_status(JobId=job_id, RequestedJobStatus="Cancelled", StatusUpdateReason=LONG.decode())
    assert refused.value.response["Error"]["Code"] == "RequestHeaderSectionTooLarge"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    query = {"requestedJobStatus": "Cancelled", "statusUpdateReason": LONG.decode()}
    answer = served.cos().send("POST", f"/jobs/{job_id}/status", query=query)
    assert (answer.status, answer.text("Code"), answer.text("Resource")) == (400, "InvalidRequest", f"/jobs/{job_id}/status")
    assert answer.headers["x-cos-request-id"]
    told = served.native().get("jobs", query={"text": "界" * 2_000})
    assert (told.status, told.json["code"]) == (431, "HeadTooLarge")


@pytest.mark.parametrize(
    ("lines", "codes"),
    [
        (b"Host: a\r\nX: " + LONG, ((400, "RequestHeaderSectionTooLarge"), (400, "InvalidRequest"), (431, "HeadTooLarge"))),
        (b"Host: a\r\nHost: a", ((400, "BadRequestException"), (400, "InvalidRequest"), (400, "InvalidRequest"))),
        (b"Host: a\r\nBad line", ((400, "BadRequestException"), (400, "InvalidRequest"), (400, "InvalidRequest"))),
        (
            b"Host: a\r\nTransfer-Encoding: gzip",
            ((501, "NotImplemented"), (501, "NotImplemented"), (501, "UnknownTransferEncoding")),
        ),
    ],
)
@pytest.mark.parametrize("root", [S3, COS, NATIVE])
def test_a_bad_head_is_refused_in_the_words_of_its_wire(
    served: Serving, root: str, lines: bytes, codes: tuple[tuple[int, str], ...]
) -> None:
    told = exchange(served, f"POST {root}?a=b HTTP/1.1\r\n".encode() + lines + b"\r\n\r\n")
    TELLS[root](told, *codes[[S3, COS, NATIVE].index(root)])


def test_an_absolute_target_names_its_wire_too(served: Serving) -> None:
    told_by_s3(exchange(served, f"GET http://a{S3} HTTP/1.1\r\nHost: b\r\n\r\n".encode()), 400, "BadRequestException")
    told_by_cos(exchange(served, f"GET http://a{COS} HTTP/1.1\r\nHost: b\r\n\r\n".encode()), 400, "InvalidRequest")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"FOO /jobs HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405),
        (b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 403),
        (b"GET /?" + LONG + b" HTTP/1.1\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 404),
    ],
)
def test_where_no_wire_is_named_both_find_their_ids(served: Serving, data: bytes, status: int) -> None:
    told_to_anybody(exchange(served, data), status)


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HaulierHttpProtocol, "connections_per_peer_max", 0)
    monkeypatch.setattr(http, "EXTRA_SECONDS", 0.5)


@pytest.mark.usefixtures("full")
def test_beyond_the_limit_of_connections_everybody_is_told_to_slow_down_in_its_own_words(served: Serving) -> None:
    for root, tells in TELLS.items():
        tells(exchange(served, f"GET {root} HTTP/1.1\r\nHost: a\r\n\r\n".encode()), 503, "SlowDown")
    with pytest.raises(ClientError) as refused:
        served.s3().list_jobs()
    assert refused.value.response["Error"]["Code"] == "SlowDown"
    told_to_anybody(exchange(served), 503)


@pytest.mark.usefixtures("full")
def test_only_so_many_are_let_in_to_be_told_so(served: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "EXTRA_SECONDS", 20)
    monkeypatch.setattr(http, "EXTRA_CONNECTIONS", 3)
    with contextlib.ExitStack() as held:
        for _ in range(3):
            held.enter_context(socket.create_connection(("127.0.0.1", served.port), timeout=10))
        told_to_anybody(exchange(served), 503)


def test_a_late_body_is_told_by_its_wire(served: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HaulierHttpProtocol, "body_seconds", 0.1)
    codes = {S3: (400, "RequestTimeout"), COS: (400, "RequestTimeOut"), NATIVE: (408, "RequestTimeout")}
    for root, (status, code) in codes.items():
        TELLS[root](exchange(served, f"POST {root} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab".encode()), status, code)


def test_a_fault_before_a_request_is_read_is_told_by_its_wire(served: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> bytes:
        raise ValueError("a fault")

    monkeypatch.setattr(server, "read_body", fail)
    codes = {S3: "InternalServiceException", COS: "InternalError", NATIVE: "InternalError"}
    for root, code in codes.items():
        TELLS[root](exchange(served, f"POST {root} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".encode()), 500, code)
