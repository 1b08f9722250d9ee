"""What the server answers beside the wires, and when something breaks."""

import http.client
import json
import socket
from typing import Any

import pytest
import requests
import structlog

from haulier.core.errors import Overloaded, TooManyJobs, Unavailable
from wire.serving import Serving
from wire.test_bad_requests import s3_body, s3_refusal, send_s3
from wire.test_cos import a_body


def get(served: Serving, target: str, method: str = "GET") -> tuple[int, str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    try:
        connection.request(method, target)
        answer = connection.getresponse()
        assert answer.getheader("date")
        return answer.status, answer.getheader("content-type") or "", answer.read().decode()
    finally:
        connection.close()


def test_healthz_answers_when_the_server_serves(served: Serving) -> None:
    assert get(served, "/healthz")[0] == 200


def test_readyz_tells_why_not(served: Serving) -> None:
    assert get(served, "/readyz")[0] == 200
    for state, reason in (("another coordinator is active", "another coordinator is active"), (False, "not ready")):
        served.ready = state
        status, kind, body = get(served, "/readyz")
        assert (status, kind) == (503, "application/json")
        assert json.loads(body) == {"ready": False, "reason": reason}
    served.ready = True


@pytest.mark.parametrize("target", ["/", "/jobsx", "/favicon.ico", "/v2/jobs"])
def test_what_belongs_to_no_wire_is_not_found(served: Serving, target: str) -> None:
    status, kind, body = get(served, target)
    assert (status, kind.partition(";")[0]) == (404, "text/plain")
    assert "/v20180820/jobs" in body


def test_a_request_without_signature_is_refused_by_each_wire_in_its_own_words(served: Serving) -> None:
    status, _, body = get(served, "/jobs")
    assert (status, "<Error><Code>AccessDenied</Code>" in body) == (403, True)
    status, _, body = get(served, "/v20180820/jobs")
    assert (status, "<ErrorResponse" in body, "<Code>AccessDenied</Code>" in body) == (403, True, True)


def broken(monkeypatch: pytest.MonkeyPatch, served: Serving, error: Exception) -> None:
    def fail(*_arguments: Any, **_more: Any) -> None:
        raise error

    monkeypatch.setattr(served.jobstore, "create", fail)


def test_an_unexpected_error_is_internal_logged_and_tells_nothing(served: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch, served, ZeroDivisionError("the inside of the house"))
    with structlog.testing.capture_logs() as logs:
        answer = served.cos().send("POST", "/jobs", a_body())
        s3 = send_s3(served, "POST", "/v20180820/jobs", s3_body())
    assert (answer.status, answer.text("Code")) == (500, "InternalError")
    assert s3_refusal(s3)[:2] == (500, "InternalServiceException")
    assert b"inside" not in answer.body + s3.body
    failed = [log for log in logs if log["log_level"] == "error"]
    assert [log["request_id"] for log in failed] == [answer.text("RequestId"), s3.headers["x-amz-request-id"]]
    assert all("ZeroDivisionError: the inside of the house" in log["stack"] for log in failed)
    assert "secret-of-admin" not in repr(logs)


@pytest.mark.parametrize(
    ("error", "cos", "s3"),
    [
        (TooManyJobs("too many"), (500, "TooManyJobs"), (400, "TooManyRequestsException")),
        (Overloaded("come back later"), (503, "SlowDown"), (503, "SlowDown")),
        (Unavailable("disk full"), (500, "ServiceUnavailable"), (503, "ServiceUnavailable")),
    ],
)
def test_what_cannot_be_stored_is_told_as_each_wire_tells_it(
    served: Serving, monkeypatch: pytest.MonkeyPatch, error: Exception, cos: tuple[int, str], s3: tuple[int, str]
) -> None:
    broken(monkeypatch, served, error)
    answer = served.cos().send("POST", "/jobs", a_body())
    assert (answer.status, answer.text("Code")) == cos
    assert s3_refusal(send_s3(served, "POST", "/v20180820/jobs", s3_body()))[:2] == s3


@pytest.mark.parametrize(("target", "code"), [("/jobs", b"XMLSizeLimit"), ("/v20180820/jobs", b"BadRequestException")])
def test_who_asks_before_sending_too_much_is_told_at_once(served: Serving, target: str, code: bytes) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        more = (1 << 20) + 1
        fields = f"Authorization: q-ak=AKIDADMIN\r\nExpect: 100-continue\r\nContent-Length: {more}\r\n"
        head = f"POST {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"
        connection.sendall(head.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"connection: close" in answer
    assert code in answer


@pytest.mark.parametrize("target", ["/jobs", "/v20180820/jobs", "/api/v1/jobs"])
@pytest.mark.parametrize(("length", "goes_on"), [("0" * 4_400 + "5", True), ("0" * 4_400 + "50000", False), ("9" * 18, False)])
def test_a_length_of_thousands_of_digits_is_a_number_like_others(
    served: Serving, target: str, length: str, goes_on: bool
) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        fields = f"Host: 127.0.0.1:{served.port}\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n"
        connection.sendall(f"POST {target} HTTP/1.1\r\n{fields}\r\n".encode())
        status = connection.recv(65_536).split()[1]
    assert status in ((b"100",) if goes_on else (b"401", b"403"))


def test_a_body_that_is_too_large_ends_the_connection(served: Serving) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    try:
        connection.request("POST", "/jobs", b"x" * ((1 << 20) + 1), {"Authorization": "q-ak=AKIDADMIN"})
        answer = connection.getresponse()
        body = answer.read().decode()
    finally:
        connection.close()
    assert (answer.status, answer.getheader("connection")) == (400, "close")
    assert "<Code>XMLSizeLimit</Code>" in body


def test_a_description_is_given_to_listed_hosts_only(served: Serving) -> None:
    for host, status in ((f"127.0.0.1:{served.port}", 200), ("localhost", 200), ("evil.example", 421)):
        answer = requests.get(f"{served.url}/api/v1/openapi.json", headers={"Host": host}, timeout=10)
        assert answer.status_code == status
