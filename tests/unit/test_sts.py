"""AssumeRole as it is sent, and what each answer means."""

from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials

from haulier.core.accounts import AssumedRole, Credentials
from haulier.core.effects import Answer, Request
from haulier.engine.keyring import Keyring
from haulier.objectstore.sts import StsRefused, StsUnavailable, assume_role, session_name
from haulier.testing.effects import EffectRunner, VirtualClock

HOW = AssumedRole(
    arn="arn:aws:iam::1:role/batch",
    endpoint="https://sts.example.com",
    caller=Credentials("AKID", "secret"),
    region="eu-west-1",
    external_id="a&b",
    duration_seconds=900,
)
GOOD = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><AssumedRoleUser><Arn>x</Arn>
</AssumedRoleUser><Credentials><AccessKeyId>ASIA1</AccessKeyId><SecretAccessKey>s/+=</SecretAccessKey><SessionToken>t</SessionToken>
<Expiration>{until}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"""
NOW = "Fri, 15 Jan 2027 08:00:00 GMT"  # what the virtual clock begins with
LATER = "2027-01-15T08:15:00Z"


def ask(*answers: Answer, how: AssumedRole = HOW) -> tuple[Credentials, Request]:
    runner = EffectRunner(clock=VirtualClock(), answers=answers)
    return runner.run(assume_role(how, "haulier-acme-batch", runner.clock)), runner.requests[0]


def answer(status: int, body: str = "", date: str = NOW) -> Answer:
    return Answer(status, f"HTTP/1.1 {status}\r\nDate: {date}\r\n\r\n".encode(), body.encode())


def test_the_question_is_signed_as_botocore_signs_it() -> None:
    credentials, request = ask(answer(200, GOOD.format(until=LATER)))
    assert (credentials.access_key, credentials.secret_key, credentials.session_token) == ("ASIA1", "s/+=", "t")
    sent = dict(line.split(": ", 1) for line in request.headers)
    theirs = AWSRequest("POST", request.url, data=request.body)
    for name in ("content-type", "x-amz-content-sha256", "x-amz-date"):
        theirs.headers[name] = sent[name]
    theirs.context["timestamp"] = sent["x-amz-date"]
    auth: Any = SigV4Auth(BotoCredentials("AKID", "secret"), "sts", "eu-west-1")
    signed = auth.signature(auth.string_to_sign(theirs, auth.canonical_request(theirs)), theirs)
    assert sent["authorization"].endswith(f"Signature={signed}")
    assert b"ExternalId=a%26b" in request.body
    assert "secret" not in repr(HOW)


@pytest.mark.parametrize(
    ("until", "date", "seconds"),
    [
        (LATER, NOW, 900),
        ("2027-01-15T09:15:00.000Z", "Fri, 15 Jan 2027 09:00:00 GMT", 900),  # their clock is an hour ahead
        ("2027-01-15T16:15:00+08:00", NOW, 900),
        ("2027-01-15T07:00:00Z", NOW, 0),
        ("soon", NOW, 900),
    ],
)
def test_the_end_of_credentials_is_told_by_our_clock(until: str, date: str, seconds: int) -> None:
    credentials, _ = ask(answer(200, GOOD.format(until=until), date))
    assert credentials.expires_ms == VirtualClock().now_ms() + seconds * 1000


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (
            answer(403, "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"),
            "AccessDenied",
        ),
        (answer(403), "AccessDenied"),
        (answer(400, "<Error><Code>ValidationError</Code></Error>"), "ValidationError"),
        (answer(404, "<html>not a document"), "HTTP 404"),
    ],
)
def test_a_refusal_has_a_code_even_without_a_body(given: Answer, code: str) -> None:
    with pytest.raises(StsRefused) as refused:
        ask(given)
    assert refused.value.code == code


@pytest.mark.parametrize(
    "given",
    [
        Answer(0, failure="connection refused", sent=False),
        answer(503),
        answer(429),
        answer(400, "<ErrorResponse><Error><Code>Throttling</Code></Error></ErrorResponse>"),
        answer(200, "<html/>"),
        answer(200, "cut <"),
    ],
)
def test_what_says_nothing_of_the_role_is_tried_again(given: Answer) -> None:
    with pytest.raises(StsUnavailable):
        ask(given)


def test_a_session_is_named_within_what_aws_allows() -> None:
    assert session_name("acme", "a b/é" * 40) == ("haulier-acme-" + "a-b--" * 40)[:64]


class Signs:
    def __init__(self) -> None:
        self.by: list[str] = []

    def when_rejected(self, told: Any) -> None:
        self.told = told

    def replace_credentials(self, credentials: Credentials) -> None:
        self.by.append(credentials.access_key)


def test_older_credentials_that_come_late_do_not_replace_newer_ones() -> None:
    rejected: list[Any] = []
    keyring = Keyring(lambda *what: rejected.append(what))
    signs: Any = Signs()
    keyring.replace("acme", "batch", "main", Credentials("one", "s", expires_ms=1_000))
    keyring.add("acme", "batch", "main", signs)
    keyring.replace("acme", "batch", "main", Credentials("two", "s", expires_ms=2_000))
    keyring.replace("acme", "batch", "main", Credentials("one", "s", expires_ms=1_000))
    keyring.replace("acme", "other", "main", Credentials("three", "s", expires_ms=3_000))
    assert signs.by == ["one", "two"]
    signs.told(Credentials("two", "s"))
    assert rejected == [("acme", "batch", "main", Credentials("two", "s"))]
