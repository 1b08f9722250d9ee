"""What one call to a store does with each answer, in virtual time."""

from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from haulier.core import grants
from haulier.core.accounts import Credentials
from haulier.core.acl import Acl, Grant
from haulier.core.effects import Answer, HashedFile, Request, Sleep
from haulier.core.errors import BatchInDoubt, StoreError
from haulier.core.placement import Store
from haulier.core.task import Outcome, Task
from haulier.objectstore import xml
from haulier.objectstore.gate import Gate
from haulier.objectstore.s3 import S3ObjectStore
from haulier.objectstore.throttle import Throttle
from haulier.testing.effects import EffectRunner, VirtualClock

COPIED = b'<?xml version="1.0"?>\n<CopyObjectResult xmlns="x"><ETag>&quot;e1&quot;</ETag></CopyObjectResult>\n'


def error(code: str, message: str = "because") -> bytes:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


def headers(**values: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in values.items())
    return f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode()


SLOW_DOWN = Answer(503, headers(), error("SlowDown"))
RESET = Answer(0, failure="connection reset", sent=True)
REFUSED = Answer(0, failure="connection refused", sent=False)
INTERNAL = Answer(500, headers(), error("InternalError"))
GOOD = Answer(200, headers(), COPIED)


class Calls:
    def __init__(self, *answers: Answer, answer: Callable[[Request], Answer] | None = None, **store: Any) -> None:
        self.clock = VirtualClock()
        self.runner = EffectRunner(clock=self.clock, answers=answers, answer=answer)
        self.throttle = Throttle(self.clock, 64)
        given = {"name": "s", "endpoint": "http://store.example.com:80"} | store
        self.store = S3ObjectStore(
            Store(**given), Credentials("key", "secret"), throttle=self.throttle, clock=self.clock, random=lambda: 0.5
        )

    def copy(self) -> Any:
        return self.runner.run(self.store.copy_object("src", b"a b", None, "dst", b"new/a b"))

    def tag(self) -> None:
        """A call that may be repeated blindly."""
        self.runner.run(self.store.put_tags("b", b"k", None, {}))

    def fails(self, coroutine: Any) -> StoreError:
        with pytest.raises(StoreError) as caught:
            self.runner.run(coroutine)
        return caught.value


# -- the store's names of requests -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        Answer(403, headers(x_amz_request_id="R1"), error("AccessDenied")),
        Answer(403, headers(x_cos_request_id="R1"), error("AccessDenied")),
        Answer(403, headers(), b"<Error><Code>AccessDenied</Code><RequestId>R1</RequestId></Error>"),
        Answer(304, headers(x_amz_request_id="R1")),
        Answer(301, headers(x_amz_request_id="R1"), error("PermanentRedirect")),
        Answer(200, headers(x_amz_request_id="R1"), error("AccessDenied")),
    ],
)
def test_a_refusal_has_the_stores_name_of_the_request(answer: Answer) -> None:
    refused = Calls(answer)
    assert refused.fails(refused.store.copy_object("src", b"k", None, "dst", b"k")).outcome().request_id == "R1"


def test_a_try_of_unknown_fate_has_it_too_and_one_without_an_answer_has_none() -> None:
    failed = Calls(Answer(500, headers(x_amz_request_id="R1"), error("InternalError")))
    known = failed.fails(failed.store.copy_object("src", b"k", None, "dst", b"k"))
    assert (known.unknown, known.request_id) == (True, "R1")
    reset = Calls(RESET)
    assert reset.fails(reset.store.copy_object("src", b"k", None, "dst", b"k")).request_id is None


def test_every_key_that_a_batch_was_refused_has_the_batchs_name() -> None:
    body = b"<DeleteResult><Error><Key>b</Key><Code>AccessDenied</Code></Error></DeleteResult>"
    calls = Calls(Answer(200, headers(x_amz_request_id="R9"), body))
    outcomes = calls.runner.run(calls.store.delete_objects("bucket", [Task(0, "bucket", b"a"), Task(1, "bucket", b"b")]))
    assert [(outcome.code, outcome.request_id) for outcome in outcomes] == [(None, None), ("AccessDenied", "R9")]


# -- requests -------------------------------------------------------------------------------------------------------------------


def test_a_default_port_is_left_out_and_the_key_is_encoded_once() -> None:
    calls = Calls(GOOD)
    assert calls.copy().etag == "e1"
    (request,) = calls.runner.requests
    assert request.url == "http://store.example.com/dst/new/a%20b"
    assert "x-amz-copy-source: /src/a%20b" in request.headers


def test_virtual_addressing_puts_the_bucket_into_the_host() -> None:
    calls = Calls(Answer(204, headers()), endpoint="https://store.example.com", addressing="virtual", ca_file="/ca.pem")
    calls.runner.run(calls.store.delete_object("bucket", b"key", b"v/1"))
    (request,) = calls.runner.requests
    assert request.url == "https://bucket.store.example.com/key?versionId=v%2F1"
    assert request.ca_file == "/ca.pem"
    assert request.once


def test_a_version_id_comes_along_where_the_store_names_one() -> None:
    assert Calls(Answer(200, headers(x_amz_version_id="v2"), COPIED)).copy().version == "v2"
    assert Calls(GOOD).copy().version is None


# -- 200 is not enough ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   \n",
        COPIED[:60],
        COPIED.rstrip()[:-1],
        b"<CopyObjectResult/>",
        b"<CopyObjectResult><ETag></ETag></CopyObjectResult>",
        b"<html><ETag>x</ETag></html>",
        b"<!DOCTYPE x []><CopyObjectResult><ETag>x</ETag></CopyObjectResult>"[:40],
        error("InternalError"),
        error(""),
    ],
)
def test_a_200_without_the_expected_document_leaves_a_copy_in_doubt(body: bytes) -> None:
    calls = Calls(Answer(200, headers(), body))
    caught = calls.fails(calls.store.copy_object("src", b"k", None, "dst", b"k"))
    assert caught.unknown
    assert len(calls.runner.requests) == 1


def test_a_200_without_the_expected_document_is_tried_again_where_that_does_no_harm() -> None:
    calls = Calls(Answer(200, headers(), b"<Tag"), Answer(200, headers(), b"<Tagging/>"))
    assert calls.runner.run(calls.store.get_tags("b", b"k")) == {}
    assert len(calls.runner.requests) == 2


def test_a_slow_down_within_a_200_is_tried_again() -> None:
    assert Calls(Answer(200, headers(), error("SlowDown")), GOOD).copy().etag == "e1"


def test_white_space_before_and_other_shapes_of_the_document_are_understood() -> None:
    for body in (
        b"\n\n   " + COPIED.removeprefix(b'<?xml version="1.0"?>\n'),
        b"<a:CopyObjectResult xmlns:a='x'><a:ETag>\"e1\"</a:ETag></a:CopyObjectResult>",
        b"<CopyObjectResult><ETag>e1</ETag></CopyObjectResult>",
    ):
        assert Calls(Answer(200, headers(), body)).copy().etag == "e1"


def test_a_final_error_within_a_200_is_final() -> None:
    calls = Calls(Answer(200, headers(), error("AccessDenied", "not yours")))
    caught = calls.fails(calls.store.copy_object("src", b"k", None, "dst", b"k"))
    assert (caught.status, caught.code, caught.message, caught.unknown) == (403, "AccessDenied", "not yours", False)


# -- trying again ---------------------------------------------------------------------------------------------------------------


def test_transient_refusals_are_repeated_with_growing_delays() -> None:
    calls = Calls(INTERNAL, RESET, INTERNAL, Answer(200, headers()))
    calls.tag()
    assert calls.runner.slept == [0.025, 0.05, 0.1]


def test_each_try_is_signed_for_its_own_time() -> None:
    calls = Calls(SLOW_DOWN, SLOW_DOWN, SLOW_DOWN, GOOD)
    calls.copy()
    dates = {next(line for line in request.headers if line.startswith("x-amz-date")) for request in calls.runner.requests}
    assert len(dates) == 4 - 1  # delays of 0.5, 1 and 2 s


def test_a_throttled_call_goes_on_for_long_and_narrows_the_window_once_per_half_second() -> None:
    calls = Calls(*[SLOW_DOWN] * 12, GOOD)
    before = calls.throttle.window.width
    assert calls.copy().etag == "e1"
    assert calls.throttle.window.width < before
    assert calls.runner.slept[5:8] == [10.0, 10.0, 10.0]


def test_retry_after_is_obeyed() -> None:
    calls = Calls(Answer(503, headers(retry_after="3"), error("SlowDown")), GOOD)
    calls.copy()
    assert calls.runner.slept == [3.0]


def test_eight_tries_are_all() -> None:
    calls = Calls(*[INTERNAL] * 8)
    caught = calls.fails(calls.store.put_tags("b", b"k", None, {}))
    assert (caught.status, caught.code, caught.unknown) == (500, "InternalError", False)
    assert len(calls.runner.requests) == 8


def test_after_a_lost_answer_the_last_refusal_says_unknown_since_when() -> None:
    calls = Calls(INTERNAL, RESET, *[INTERNAL] * 6)
    start_ms = calls.clock.now_ms()
    caught = calls.fails(calls.store.put_tags("b", b"k", None, {}))
    assert caught.unknown
    assert caught.since_ms is not None
    assert start_ms - 1000 <= caught.since_ms <= start_ms + 1000


def test_what_spent_quota_returns_it_when_it_ends_well() -> None:
    calls = Calls(INTERNAL, SLOW_DOWN, Answer(200, headers()))
    calls.tag()
    assert calls.throttle.quota.tokens == 500


# -- the store's clock, credentials, place --------------------------------------------------------------------------------------


def test_the_stores_clock_is_known_from_its_first_answer_though_it_was_away_before() -> None:
    calls = Calls()
    behind = Answer(200, headers(date=formatdate(calls.clock.now_ms() / 1000 - 60, usegmt=True)), GOOD.body)
    calls.runner = EffectRunner(clock=calls.clock, answers=[Answer(0, failure="refused", sent=False), behind])
    calls.copy()
    assert abs(calls.store.ahead_ms + 60_000) <= 1000


def test_the_stores_clock_is_looked_at_again_when_ours_was_put_back() -> None:
    calls = Calls()

    def answer(_: Request) -> Answer:
        return Answer(200, headers(date=formatdate(theirs + calls.clock.monotonic(), usegmt=True)), GOOD.body)

    theirs = calls.clock.now_ms() / 1000
    calls.runner = EffectRunner(clock=calls.clock, answer=answer)
    calls.copy()
    assert abs(calls.store.ahead_ms) <= 1000
    calls.clock._start_ms -= 600_000
    calls.copy()
    assert abs(calls.store.ahead_ms - 600_000) <= 1000


def test_the_stores_clock_is_taken_over_once_when_it_refuses_ours() -> None:
    calls = Calls()
    ahead = 7200
    theirs = formatdate(calls.clock.now_ms() / 1000 + ahead, usegmt=True)
    skewed = Answer(403, headers(date=theirs), error("RequestTimeTooSkewed"))
    calls.runner = EffectRunner(clock=calls.clock, answers=[skewed, GOOD])
    before = calls.clock.now_ms() // 1000
    calls.copy()
    dates = [next(line for line in request.headers if line.startswith("x-amz-date")) for request in calls.runner.requests]
    assert dates[0] < dates[1]
    assert abs(calls.store.ahead_ms - ahead * 1000) <= 1000
    assert calls.clock.now_ms() // 1000 == before
    calls.runner = EffectRunner(clock=calls.clock, answers=[skewed, skewed])
    assert calls.fails(calls.store.head_object("b", b"k")).code == "RequestTimeTooSkewed"


def test_an_expired_token_waits_for_newer_credentials_once() -> None:
    expired = Answer(400, headers(), error("ExpiredToken"))
    calls = Calls(expired, expired)
    caught = calls.fails(calls.store.copy_object("src", b"k", None, "dst", b"k"))
    assert caught.code == "ExpiredToken"
    assert calls.runner.slept == [5.0]

    calls = Calls()

    def answer(request: Request) -> Answer:
        if "Credential=new/" in request.headers[0]:
            return GOOD
        calls.store.replace_credentials(Credentials("new", "secret", "token"))
        return expired

    calls.runner = EffectRunner(clock=calls.clock, answer=answer)
    assert calls.copy().etag == "e1"
    assert calls.runner.slept == [0.0]
    assert "x-amz-security-token: token" in calls.runner.requests[-1].headers


def assumed(calls: Calls, number: int, seconds: float = 60.0) -> Credentials:
    return Credentials(f"new{number}", "secret", f"token{number}", expires_ms=calls.clock.now_ms() + round(seconds * 1000))


def test_credentials_that_are_over_are_waited_for_and_nothing_is_sent_under_them() -> None:
    calls = Calls(GOOD)
    calls.store.replace_credentials(assumed(calls, 1, seconds=10))
    calls.clock.advance(9.6)
    copy = calls.store.copy_object("src", b"k", None, "dst", b"k")
    for _ in range(400):
        effect = copy.send(None)
        assert isinstance(effect, Sleep)
        calls.clock.advance(effect.seconds)
    calls.store.replace_credentials(assumed(calls, 2))
    request = copy.send(None)
    assert isinstance(request, Request)
    assert "Credential=new2/" in request.headers[0]
    copy.close()


def test_a_token_that_the_store_says_is_over_is_told_and_the_call_goes_on_with_the_next_one() -> None:
    calls = Calls()
    calls.store.replace_credentials(assumed(calls, 1))
    told: list[Credentials] = []
    calls.store.when_rejected(told.append)
    copy = calls.store.copy_object("src", b"k", None, "dst", b"k")
    expired = Answer(400, headers(), error("ExpiredToken"))
    effect = copy.send(None)
    effect = copy.send(expired)
    while isinstance(effect, Sleep) and calls.clock.monotonic() < 30:
        calls.clock.advance(effect.seconds + 0.1)
        effect = copy.send(None)
    assert isinstance(effect, Sleep), "nothing is sent under the same token"
    assert [one.access_key for one in told] == ["new1"]
    calls.store.replace_credentials(assumed(calls, 2))
    assert isinstance(copy.send(None), Request)
    with pytest.raises(StoreError, match="ExpiredToken"):
        copy.send(expired)


@pytest.mark.parametrize("status", [301, 307])
def test_a_redirect_to_another_region_names_it(status: int) -> None:
    calls = Calls(Answer(status, headers(x_amz_bucket_region="eu-west-3"), b""))
    caught = calls.fails(calls.store.head_object("b", b"k"))
    assert caught.status == status
    assert "'eu-west-3'" in caught.message
    assert "'us-east-1'" in caught.message


@pytest.mark.parametrize(
    ("status", "version", "marker", "code"),
    [
        (404, None, False, "NoSuchKey"),
        (404, b"v1", False, "NoSuchVersion"),
        (404, None, True, "DeleteMarker"),
        (405, b"v1", True, "DeleteMarker"),
        (403, None, False, "AccessDenied"),
        (412, None, False, "PreconditionFailed"),
        (418, None, False, "Http418"),
    ],
)
def test_an_error_without_a_body_is_known_by_its_status(status: int, version: bytes | None, marker: bool, code: str) -> None:
    raw = headers(x_amz_delete_marker="true") if marker else headers()
    calls = Calls(Answer(status, raw))
    caught = calls.fails(calls.store.head_object("b", b"k", version))
    assert (caught.status, caught.code) == (status, code)


def test_a_head_that_lacks_what_it_must_tell_is_no_success() -> None:
    bare = Answer(200, headers(content_length="5"))
    full = headers(content_length="5", etag='W/"e"', last_modified="Tue, 24 Nov 2026 00:00:00 GMT")
    calls = Calls(bare, Answer(200, full))
    head = calls.runner.run(calls.store.head_object("b", b"k"))
    assert (head.size, head.etag, head.modified_ms) == (5, "e", 1_795_478_400_000)


@pytest.mark.parametrize("content_range", ["bytes 0-3/10", "bytes 4-6/10", "bytes 4-7/*", "items 4-7/10", ""])
def test_a_range_that_is_not_the_one_asked_for_is_refused(content_range: str) -> None:
    bad = Answer(206, headers(etag='"e"', content_range=content_range), b"4567")
    good = Answer(206, headers(etag='"e"', content_range="bytes 4-7/10"), b"4567")
    calls = Calls(bad, good)
    assert calls.runner.run(calls.store.get_object("b", b"k", first=4, length=4)).data == b"4567"
    assert len(calls.runner.requests) == 2


# -- the breaker ----------------------------------------------------------------------------------------------------------------


def test_tasks_wait_while_the_store_is_away_and_go_on_when_it_is_back() -> None:
    back_at = 600.0

    def answer(_: Request) -> Answer:
        return GOOD if calls.clock.monotonic() >= back_at else REFUSED

    calls = Calls(answer=answer)
    assert calls.copy().etag == "e1"
    assert back_at <= calls.clock.monotonic() <= back_at + 60
    assert calls.throttle.held is None


def test_who_is_called_back_before_it_could_ask_whether_the_store_is_back_leaves_that_to_others() -> None:
    calls = Calls(GOOD)
    breaker = calls.throttle.breaker
    for _ in range(50):
        breaker.failed(calls.clock.monotonic(), "refused")
    calls.clock.advance(2.0)
    calls.throttle.gate.regrant(grants.Grant(0))
    call = calls.store.copy_object("src", b"a", None, "dst", b"a")
    assert isinstance(call.send(None), Sleep)
    assert not breaker.may_probe(calls.clock.monotonic())
    call.close()
    calls.throttle.gate.regrant(grants.Grant(1))
    calls.copy()
    assert (breaker.reason, calls.runner.slept) == (None, [])


def test_what_a_gateway_says_that_cannot_reach_the_store_is_no_word_of_the_store() -> None:
    back_at = 600.0
    gateway = Answer(502, headers(), b"<html>Bad Gateway</html>")

    def answer(_: Request) -> Answer:
        return Answer(200, headers(etag='"e"', content_length="0")) if calls.clock.monotonic() >= back_at else gateway

    calls = Calls(answer=answer)
    for _ in range(50):
        calls.throttle.failed("a gateway answered 502")
    calls.runner.run(calls.store.put_object("b", b"k", b""))
    assert back_at <= calls.clock.monotonic() <= back_at + 60
    assert calls.throttle.held is None


def test_a_final_refusal_returns_what_its_retries_took_and_widens_the_window() -> None:
    missing = Answer(404, headers(), error("NoSuchKey"))
    calls = Calls(answer=lambda _: INTERNAL if len(calls.runner.requests) % 2 else missing)
    for _ in range(200):
        assert calls.fails(calls.store.head_object("b", b"k")).status == 404
    assert calls.throttle.quota.tokens == 500
    assert calls.throttle.window.width > 32
    assert max(calls.runner.slept) < 1, "an empty quota would make it wait"


def test_requests_keep_the_pace_that_is_set() -> None:
    calls = Calls(answer=lambda _: GOOD)
    calls.store = S3ObjectStore(
        Store(name="s", endpoint="http://h"),
        Credentials("key", "secret"),
        throttle=Throttle(calls.clock, 64, gate=Gate(calls.clock, grants.Grant(64, 10.0))),
        clock=calls.clock,
        random=lambda: 0.5,
    )
    for _ in range(51):
        calls.copy()
    assert calls.clock.monotonic() == pytest.approx(5.0)


# -- what must not be repeated blindly ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [RESET, INTERNAL, Answer(504), Answer(200, headers(), b"<Delete")])
def test_a_delete_is_not_repeated_once_it_may_have_been_carried_out(lost: Answer) -> None:
    calls = Calls(SLOW_DOWN, lost)
    caught = calls.fails(calls.store.delete_object("b", b"k", if_match="e"))
    assert caught.unknown
    assert len(calls.runner.requests) == 2
    assert 'if-match: "e"' in calls.runner.requests[0].headers


@pytest.mark.parametrize("lost", [RESET, INTERNAL, Answer(502), Answer(504)])
def test_a_copy_is_not_repeated_once_it_may_have_been_carried_out(lost: Answer) -> None:
    calls = Calls(REFUSED, SLOW_DOWN, lost)
    caught = calls.fails(calls.store.copy_object("src", b"k", None, "dst", b"k"))
    assert caught.unknown
    assert caught.since_ms is not None
    assert [request.once for request in calls.runner.requests] == [True] * 3


def test_a_try_that_is_the_operations_to_repeat_takes_nothing_from_the_quota() -> None:
    calls = Calls(RESET)
    calls.fails(calls.store.copy_object("src", b"k", None, "dst", b"k"))
    assert calls.throttle.quota.tokens == 500


def test_a_304_is_a_condition_that_does_not_hold() -> None:
    calls = Calls(Answer(304, headers()))
    since = (("x-amz-copy-source-if-modified-since", "Tue, 24 Nov 2026 00:00:00 GMT"),)
    caught = calls.fails(calls.store.copy_object("src", b"k", None, "dst", b"k", since))
    assert (caught.status, caught.code, caught.unknown) == (412, "PreconditionFailed", False)
    assert "condition" in caught.message


def test_a_hashed_file_is_signed_by_its_digests_and_not_read(tmp_path: Path) -> None:
    file = HashedFile(tmp_path / "never there", 1 << 40, sha256="5" * 64, md5="d" * 32)
    calls = Calls(Answer(200, headers(etag='"e"')))
    assert calls.runner.run(calls.store.put_object("b", b"k", file)) == "e"
    (request,) = calls.runner.requests
    assert request.body is file
    assert "x-amz-content-sha256: " + "5" * 64 in "\r\n".join(request.headers)


def test_a_404_on_a_first_conditional_delete_is_no_success() -> None:
    calls = Calls(Answer(404, headers(), error("NoSuchKey")))
    caught = calls.fails(calls.store.delete_object("b", b"k", if_match="e"))
    assert (caught.status, caught.code, caught.unknown) == (404, "NoSuchKey", False)


def test_put_if_absent_recognises_its_own_object_after_a_lost_answer() -> None:
    mine = headers(content_length="4", etag='"9a0364b9e99bb480dd25e1f0284c8555"', last_modified="Tue, 24 Nov 2026 00:00:00 GMT")
    mine = mine.replace(b"length: 4", b"length: 7")
    calls = Calls(RESET, Answer(200, mine))
    assert calls.runner.run(calls.store.put_object("b", b"k", b"content", if_absent=True)) == "9a0364b9e99bb480dd25e1f0284c8555"
    other = headers(content_length="7", etag='"0"', last_modified="Tue, 24 Nov 2026 00:00:00 GMT")
    calls = Calls(RESET, Answer(404), RESET, Answer(200, other))
    assert calls.fails(calls.store.put_object("b", b"k", b"content", if_absent=True)).status == 412


# -- DeleteObjects --------------------------------------------------------------------------------------------------------------


def deleted(*errors: tuple[str, str]) -> Answer:
    inner = "".join(f"<Error><Key>{key}</Key><Code>{code}</Code><Message>m</Message></Error>" for key, code in errors)
    return Answer(200, headers(), f"<DeleteResult xmlns='x'>{inner}</DeleteResult>".encode())


def tasks(*keys: bytes) -> list[Task]:
    return [Task(row, "b", key) for row, key in enumerate(keys)]


def test_each_key_has_its_own_outcome_and_transient_ones_are_asked_again() -> None:
    calls = Calls(deleted(("b", "AccessDenied"), ("c", "InternalError"), ("d", "SlowDown")), deleted(("d", "NoSuchKey")))
    outcomes = calls.runner.run(calls.store.delete_objects("b", tasks(b"a", b"b", b"c", b"d")))
    assert outcomes == [Outcome(204), Outcome(403, "AccessDenied", "m"), Outcome(204), Outcome(404, "NoSuchKey", "m")]
    second = calls.runner.requests[1].body
    assert isinstance(second, bytes)
    assert second.count(b"<Object>") == 2


def test_a_key_that_never_goes_keeps_its_last_error() -> None:
    calls = Calls(*[deleted(("a", "InternalError"))] * 8)
    outcomes = calls.runner.run(calls.store.delete_objects("b", tasks(b"a", b"b")))
    assert [outcome.code for outcome in outcomes] == ["InternalError", None]


REVOKED = Answer(403, headers(), error("AccessDenied"))


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        (REVOKED, [None, "NoSuchKey", "AccessDenied"]),
        (RESET, None),
        (deleted(("z", "AccessDenied")), None),
        (Answer(200, headers(), b"<Delete"), None),
    ],
)
def test_what_a_batch_has_decided_stays_decided(later: Answer, expected: list[str | None] | None) -> None:
    first = deleted(("b", "NoSuchKey"), ("c", "InternalError"))
    calls = Calls(first, later)
    if expected is not None:
        outcomes = calls.runner.run(calls.store.delete_objects("b", tasks(b"a", b"b", b"c")))
        assert [outcome.code for outcome in outcomes] == expected
        return
    caught = calls.fails(calls.store.delete_objects("b", tasks(b"a", b"b", b"c")))
    assert isinstance(caught, BatchInDoubt)
    assert caught.unknown
    assert caught.since_ms is not None
    assert caught.outcomes == [Outcome(204), Outcome(404, "NoSuchKey", "m"), None]


def test_a_lost_delete_of_an_odd_key_leaves_only_that_key_in_doubt() -> None:
    calls = Calls(RESET, Answer(204, headers()), deleted(("b", "AccessDenied")))
    caught = calls.fails(calls.store.delete_objects("b", tasks(b"a", b"\x01", b"b", b"\x02")))
    assert isinstance(caught, BatchInDoubt)
    assert caught.outcomes == [Outcome(204), None, Outcome(403, "AccessDenied", "m"), Outcome(204)]


def test_a_refused_batch_does_not_take_back_an_odd_key_that_was_deleted() -> None:
    calls = Calls(Answer(204, headers()), REVOKED)
    outcomes = calls.runner.run(calls.store.delete_objects("b", tasks(b"a", b"\x01")))
    assert [outcome.code for outcome in outcomes] == ["AccessDenied", None]
    calls = Calls(RESET, REVOKED)
    caught = calls.fails(calls.store.delete_objects("b", tasks(b"a", b"\x01")))
    assert isinstance(caught, BatchInDoubt)
    assert caught.outcomes == [Outcome(403, "AccessDenied", "because"), None]


def test_a_batch_that_is_refused_as_a_whole_is_refused() -> None:
    caught = Calls(REVOKED)
    assert caught.fails(caught.store.delete_objects("b", tasks(b"a", b"b"))).code == "AccessDenied"


def test_an_error_for_a_key_that_was_not_sent_leaves_all_in_doubt() -> None:
    calls = Calls(deleted(("z", "AccessDenied")))
    caught = calls.fails(calls.store.delete_objects("b", tasks(b"a", b"b")))
    assert caught.unknown


@pytest.mark.parametrize("body", [b"", b"<DeleteResult>", b"<html/>", b"<DeleteResult></DeleteResult"])
def test_an_answer_that_cannot_be_read_leaves_all_in_doubt(body: bytes) -> None:
    calls = Calls(Answer(200, headers(), body))
    caught = calls.fails(calls.store.delete_objects("b", tasks(b"a", b"b")))
    assert caught.unknown
    assert len(calls.runner.requests) == 1


def test_versions_etags_and_odd_keys_travel_as_they_are() -> None:
    calls = Calls(Answer(204, headers()), Answer(404, headers(), error("NoSuchKey")), deleted())
    batch = [
        Task(0, "b", b"a&b<c>"),
        Task(1, "b", b"\x01"),
        Task(2, "b", b"v", b"v1"),
        Task(3, "b", b"v", b"v2", etag="e"),
        Task(4, "b", b"\xff"),
    ]
    outcomes = calls.runner.run(calls.store.delete_objects("b", batch, bypass_governance=True))
    assert [outcome.status for outcome in outcomes] == [204, 204, 204, 204, 404]
    alone, alone_too, together = calls.runner.requests
    assert (alone.url, alone_too.url) == ("http://store.example.com/b/%01", "http://store.example.com/b/%FF")
    assert together.body == (
        b'<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Quiet>true</Quiet>'
        b"<Object><Key>a&amp;b&lt;c&gt;</Key></Object>"
        b"<Object><Key>v</Key><VersionId>v1</VersionId></Object>"
        b"<Object><Key>v</Key><VersionId>v2</VersionId><ETag>e</ETag></Object></Delete>"
    )
    assert all("x-amz-bypass-governance-retention: true" in request.headers for request in calls.runner.requests)


def test_more_than_a_thousand_keys_are_a_mistake() -> None:
    calls = Calls()
    with pytest.raises(ValueError, match="1000 at most"):
        calls.runner.run(calls.store.delete_objects("b", tasks(*[b"%d" % n for n in range(1001)])))


# -- access control lists -------------------------------------------------------------------------------------------------------

OTHER = "qcs::cam::uin/100000000001:uin/100000000011"
LISTED = Acl(
    "own & er", (Grant("id", "own & er", "FULL_CONTROL"), Grant("id", OTHER, "READ"), Grant("uri", "http://a/groups/g", "WRITE"))
)


def test_a_list_is_sent_as_a_document_and_a_canned_one_as_a_header() -> None:
    calls = Calls(Answer(200, headers()), Answer(200, headers()))
    calls.runner.run(calls.store.put_acl("b", b"k", b"v1", LISTED))
    calls.runner.run(calls.store.put_acl("b", b"k", None, "public-read"))
    listed, canned = calls.runner.requests
    assert listed.url == "http://store.example.com/b/k?acl&versionId=v1"
    assert xml.read_acl(bytes(listed.body or b"")) == LISTED  # type: ignore[arg-type]
    assert b'xsi:type="CanonicalUser"><ID>own &amp; er</ID>' in bytes(listed.body or b"")  # type: ignore[arg-type]
    assert (canned.url, canned.body) == ("http://store.example.com/b/k?acl", None)
    assert "x-amz-acl: public-read" in canned.headers


def test_a_grantee_that_is_not_named_is_the_owner() -> None:
    policy = (
        b"<AccessControlPolicy><Owner><ID>o</ID></Owner><AccessControlList><Grant><Grantee><Type>CanonicalUser</Type></Grantee>"
    )
    policy += b"<Permission>FULL_CONTROL</Permission></Grant></AccessControlList></AccessControlPolicy>"
    assert xml.read_acl(policy) == Acl("o", (Grant("id", "o", "FULL_CONTROL"),))


def test_a_list_is_read_as_s3_and_cos_write_it() -> None:
    body = b"""<?xml version="1.0"?><AccessControlPolicy><Owner><ID>qcs::cam::uin/1:uin/1</ID><DisplayName>x</DisplayName></Owner>
      <AccessControlList><Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="Group">
      <URI>http://cam.qcloud.com/groups/global/AllUsers</URI></Grantee><Permission>READ</Permission></Grant>
      </AccessControlList></AccessControlPolicy>"""
    calls = Calls(
        Answer(200, headers(), body), Answer(200, headers(), b"<AccessControlPolicy><AccessControlList/></AccessControlPolicy>")
    )
    found = Acl("qcs::cam::uin/1:uin/1", (Grant("uri", "http://cam.qcloud.com/groups/global/AllUsers", "READ"),))
    assert calls.runner.run(calls.store.get_acl("b", b"k", b"v1")) == found
    assert calls.runner.run(calls.store.get_acl("b", b"k")) == Acl("", ())
    assert [request.url.partition("?")[2] for request in calls.runner.requests] == ["acl&versionId=v1", "acl"]


@pytest.mark.parametrize(
    "grant",
    [
        b"<Grantee><EmailAddress>a@b</EmailAddress></Grantee><Permission>READ</Permission>",
        b"<Grantee><ID>a</ID></Grantee><Permission>OWN</Permission>",
        b"<Grantee><ID>a</ID></Grantee>",
    ],
)
def test_a_list_that_is_not_understood_is_no_answer(grant: bytes) -> None:
    policy = b"<AccessControlPolicy><AccessControlList><Grant>" + grant + b"</Grant></AccessControlList></AccessControlPolicy>"
    with pytest.raises(xml.Unreadable):
        xml.read_acl(policy)
