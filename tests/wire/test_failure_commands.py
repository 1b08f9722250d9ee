"""`haulier job failures|retry` and `haulier report deliver` against a server that answers prepared JSON."""

import json
from typing import Any

import pytest

from wire.canned import JOB, Answer, CannedServer

DENIED: dict[str, Any] = {
    "code": "AccessDenied",
    "kind": "denied",
    "http_status": 403,
    "count": 1_204,
    "first_at": "2026-11-23T10:00:00.000Z",
    "last_at": "2026-11-23T10:05:00.000Z",
    "samples": [
        {
            "bucket": "data",
            "key": "a\x1b[2J",
            "version": "v1",
            "at": "2026-11-23T10:00:00.000Z",
            "message": "not yours",
            "request_id": "7F3A",
        }
    ],
    "hint": "Give its keys the right.",
}
LEFT = {**DENIED, "code": "NotAttempted", "http_status": None, "first_at": None, "last_at": None, "samples": [], "count": 5}


def answered(document: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(document))


def test_failures_are_shown_with_samples_and_what_to_do(server: CannedServer, haulier: Any) -> None:
    server.answer(answered({"failures": [DENIED, LEFT]}))
    code, shown, said = haulier("job", "failures", JOB)
    assert (code, said) == (0, "")
    lines = [line.strip() for line in shown.splitlines()]
    assert lines[0] == "1,204  AccessDenied (403)  denied"
    assert "Give its keys the right." in lines
    assert "s3://data/a\ufffd[2J?versionId=v1  (request 7F3A)" in lines
    assert "not yours" in lines
    assert "5  NotAttempted  denied" in lines
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("GET", f"/api/v1/jobs/{JOB}/failures")
    assert asked.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=key-id/")


def test_failures_as_json_and_as_codes(server: CannedServer, haulier: Any) -> None:
    server.answer(answered({"failures": [DENIED, LEFT]}))
    assert json.loads(haulier("job", "failures", JOB, "-o", "json")[1]) == [DENIED, LEFT]
    assert haulier("job", "failures", JOB, "-o", "name")[1] == "AccessDenied\nNotAttempted\n"
    server.answer(answered({"failures": []}))
    assert haulier("job", "failures", JOB) == (0, "", f"haulier: no task of job {JOB} has failed\n")


NEW = {"id": "1c7e0b3a-0000-4000-8000-000000000000", "status": "New"}


def test_a_retry_is_asked_for_in_one_request_with_a_key_of_its_own(server: CannedServer, haulier: Any) -> None:
    server.answer(answered(NEW, 201))
    code, shown, said = haulier("job", "retry", JOB)
    assert (code, shown) == (0, f"{NEW['id']} New, runs again what failed of {JOB}\n")
    assert f"haulier job watch {NEW['id']}" in said
    words = ("--codes", "NoSuchKey", "--codes", "NotAttempted", "--kinds", "denied", "--priority", "7", "--no-confirm")
    assert haulier("job", "retry", JOB, *words, "--description", "again", "-o", "name")[:2] == (0, f"{NEW['id']}\n")
    plain, chosen = server.asked
    assert (plain.method, plain.path) == ("POST", f"/api/v1/jobs/{JOB}/retry")
    assert json.loads(plain.body) == {"codes": [], "kinds": []}
    assert json.loads(chosen.body) == {
        "codes": ["NoSuchKey", "NotAttempted"],
        "kinds": ["denied"],
        "priority": 7,
        "confirm": False,
        "description": "again",
    }
    assert plain.headers["idempotency-key"] != chosen.headers["idempotency-key"]


def delivering(status: str, failure: Any = None, prefix: str = "p") -> Answer:
    return answered({"id": JOB, "delivery": {"bucket": "out", "prefix": prefix, "status": status, "failure": failure}})


def test_a_report_is_asked_for_and_waited_for(server: CannedServer, haulier: Any) -> None:
    server.answer(delivering("Waiting"), delivering("Waiting"), delivering("Delivered"))
    assert haulier("report", "deliver", JOB, "--to", "s3://out/p") == (
        0,
        f"the report of {JOB} is at s3://out/p/job-{JOB}/\n",
        "",
    )
    asked, looked = server.asked[0], server.asked[-1]
    assert (asked.method, asked.path) == ("POST", f"/api/v1/jobs/{JOB}/report")
    assert json.loads(asked.body) == {"to": {"bucket": "out", "prefix": "p"}}
    assert (looked.method, looked.path) == ("GET", f"/api/v1/jobs/{JOB}")
    server.answer(delivering("Delivered", prefix=""))
    assert haulier("report", "deliver", JOB)[1].endswith(f"s3://out/job-{JOB}/\n")
    assert json.loads(server.asked[-1].body) == {}


def test_a_delivery_that_failed_is_told_with_its_reason(server: CannedServer, haulier: Any) -> None:
    server.answer(delivering("Failed", {"code": "ReportDeliveryFailed", "reason": "403"}))
    assert haulier("report", "deliver", JOB) == (1, "", "haulier: ReportDeliveryFailed: 403\n")
    server.answer(delivering("Waiting"))
    assert haulier("report", "deliver", JOB, "--timeout", "0")[0] == 7
    for place in ("out/p", "s3://", "s3:///p"):
        assert haulier("report", "deliver", JOB, "--to", place)[0] == 2


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (answered({"code": "JobNotFound", "detail": "There is no job"}, 404), 5, "JobNotFound: There is no job"),
        (answered({"code": "AccessDenied", "detail": "no"}, 403), 4, "AccessDenied: no"),
        (answered({"code": "Unavailable", "detail": "later"}, 503), 6, "cannot serve the request now: Unavailable: later"),
        (Answer(500, "<html>"), 6, "without an explanation"),
        (Answer(200, "<html>"), 6, "not in JSON"),
    ],
)
def test_a_refusal_is_told_in_one_line(server: CannedServer, haulier: Any, answer: Answer, code: int, said: str) -> None:
    server.answer(answer)
    ended, shown, told = haulier("job", "failures", JOB)
    assert (ended, shown) == (code, "")
    assert said in told
    assert told.count("\n") == 1


def test_an_id_that_can_be_none_is_not_asked_for(server: CannedServer, haulier: Any) -> None:
    assert haulier("job", "failures", "../x")[0] == 5
    assert server.asked == []
