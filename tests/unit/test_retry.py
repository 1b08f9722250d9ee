import random

import pytest

from haulier.core.errors import StoreError
from haulier.objectstore.retry import RetryQuota, Tries, Verdict, classify, delay_seconds


@pytest.mark.parametrize(
    ("status", "code", "verdict"),
    [
        (503, "SlowDown", Verdict.THROTTLED),
        (200, "SlowDown", Verdict.THROTTLED),
        (429, "TooManyRequests", Verdict.THROTTLED),
        (400, "ThrottlingException", Verdict.THROTTLED),
        (400, "RequestLimitExceeded", Verdict.THROTTLED),
        (503, "ServiceUnavailable", Verdict.THROTTLED),
        (500, "InternalError", Verdict.TRANSIENT),
        (500, "Whatever", Verdict.TRANSIENT),
        (400, "RequestTimeout", Verdict.TRANSIENT),
        (409, "OperationAborted", Verdict.TRANSIENT),
        (409, "ConditionalRequestConflict", Verdict.TRANSIENT),
        (502, "BadGateway", Verdict.UNCERTAIN),
        (504, "GatewayTimeout", Verdict.UNCERTAIN),
        (400, "ExpiredToken", Verdict.EXPIRED),
        (403, "RequestTimeTooSkewed", Verdict.SKEWED),
        (403, "AccessDenied", Verdict.FINAL),
        (404, "NoSuchKey", Verdict.FINAL),
        (409, "Conflict", Verdict.FINAL),
        (412, "PreconditionFailed", Verdict.FINAL),
        (501, "NotImplemented", Verdict.FINAL),
    ],
)
def test_every_refusal_has_its_class(status: int, code: str, verdict: Verdict) -> None:
    assert classify(status, code) is verdict


def test_delays_are_jittered_over_their_whole_range_and_capped() -> None:
    source = random.Random(7)
    for verdict, base in ((Verdict.TRANSIENT, 0.05), (Verdict.THROTTLED, 1.0)):
        for number in range(20):
            most = min(20.0, base * 2**number)
            delays = [delay_seconds(verdict, number, source.random) for _ in range(300)]
            assert 0 <= min(delays) < most * 0.1
            assert most * 0.9 < max(delays) <= most


def test_retry_after_stretches_a_delay_by_five_seconds_at_most() -> None:
    assert delay_seconds(Verdict.THROTTLED, 0, lambda: 0.5, 3.0) == 3.0
    assert delay_seconds(Verdict.THROTTLED, 0, lambda: 0.5, 600.0) == 5.5
    assert delay_seconds(Verdict.THROTTLED, 0, lambda: 0.5, 0.1) == 0.5


def refuse(tries: Tries, verdict: Verdict, quota: RetryQuota, *, now: float = 0.0) -> float | None:
    return tries.refused(verdict, now=now, quota=quota, begun_ms=1000)


def test_the_eighth_counted_try_is_the_last() -> None:
    tries, quota = Tries(0.0, lambda: 0.5), RetryQuota()
    assert [refuse(tries, Verdict.TRANSIENT, quota) is None for _ in range(8)] == [False] * 7 + [True]


def test_throttled_tries_count_only_after_fifteen_minutes() -> None:
    tries, quota = Tries(0.0, lambda: 0.5), RetryQuota()
    for second in range(900):
        assert refuse(tries, Verdict.THROTTLED, quota, now=second) is not None
    assert [refuse(tries, Verdict.THROTTLED, quota, now=901) is None for _ in range(8)] == [False] * 7 + [True]


def test_a_store_that_cannot_be_reached_uses_no_try_up() -> None:
    tries, quota = Tries(0.0, lambda: 0.5), RetryQuota()
    assert all(refuse(tries, Verdict.UNSENT, quota) is not None for _ in range(100))
    assert not tries.uncertain


@pytest.mark.parametrize("verdict", [Verdict.EXPIRED, Verdict.SKEWED])
def test_token_and_clock_get_one_more_try_each_free_of_charge(verdict: Verdict) -> None:
    tries, quota = Tries(0.0, lambda: 0.5), RetryQuota()
    assert refuse(tries, verdict, quota) == 0.0
    assert refuse(tries, verdict, quota) is None
    assert quota.tokens == 500
    assert tries.counted == 0


def test_an_empty_quota_means_longer_waits_not_failure() -> None:
    quota = RetryQuota()
    while quota.take(Verdict.TRANSIENT) is not None:
        pass
    assert quota.tokens < 14
    assert refuse(Tries(0.0, lambda: 0.5), Verdict.TRANSIENT, quota) == 10.0


def test_a_quota_is_spent_by_kind_and_never_overfull() -> None:
    quota = RetryQuota()
    assert (quota.take(Verdict.TRANSIENT), quota.take(Verdict.THROTTLED), quota.tokens) == (14, 5, 481)
    quota.give(14)
    quota.give()
    assert quota.tokens == 496
    quota.give(100)
    assert quota.tokens == 500


def test_one_uncertain_try_makes_the_last_refusal_unknown_since_the_first_of_them() -> None:
    tries, quota = Tries(0.0, lambda: 0.5), RetryQuota()
    error = StoreError(503, "SlowDown", "slower")
    refuse(tries, Verdict.TRANSIENT, quota)
    assert tries.final(error) is error
    tries.refused(Verdict.UNCERTAIN, now=0.0, quota=quota, begun_ms=5000)
    tries.refused(Verdict.UNCERTAIN, now=9.0, quota=quota, begun_ms=9000)
    final = tries.final(error)
    assert (final.code, final.unknown, final.since_ms) == ("SlowDown", True, 5000)
