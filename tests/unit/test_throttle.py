from haulier.objectstore.throttle import Breaker, Throttle, Window
from haulier.testing.effects import VirtualClock


def test_a_window_grows_by_one_for_each_clean_window() -> None:
    window = Window(100, start=10)
    for _ in range(10):
        window.clean()
    assert window.width == 11
    for _ in range(11):
        window.clean()
    assert window.width == 12


def test_a_window_never_grows_beyond_its_maximum_nor_falls_below_one() -> None:
    window = Window(3)
    assert window.width == 3
    for _ in range(50):
        window.clean()
    assert window.width == 3
    for second in range(50):
        window.throttled(float(second))
    assert window.width == 1
    assert Window(0).width == 1


def test_answers_to_what_was_sent_before_a_cut_do_not_cut_again() -> None:
    window = Window(100, start=100)
    for n in range(60):
        window.throttled(5.0 + n / 1000)
    assert window.width == 70
    window.throttled(6.0)
    assert window.width == 49


def test_a_throttle_says_how_many_more_may_start() -> None:
    throttle = Throttle(VirtualClock(), 40)
    assert throttle.room() == 32
    throttle.acquired(30)
    assert throttle.room() == 2
    throttle.throttled()
    assert throttle.room() == 0
    throttle.released(20)
    assert throttle.room() == 12


def test_fifty_failures_in_a_row_hold_the_tasks_and_any_answer_lets_them_go() -> None:
    clock = VirtualClock()
    throttle = Throttle(clock, 100)
    for _ in range(49):
        throttle.failed("refused")
    throttle.answered()
    for _ in range(49):
        throttle.failed("refused")
    assert throttle.held is None
    throttle.failed("connection refused")
    assert throttle.held == "connection refused"
    assert throttle.room() == 1
    throttle.acquired()
    assert throttle.room() == 0
    throttle.succeeded()
    assert throttle.held is None
    assert throttle.room() == 31


def test_an_open_breaker_lets_one_request_through_at_growing_intervals() -> None:
    breaker = Breaker()
    for _ in range(80):
        breaker.failed(100.0, "refused")
    probes = []
    now = 100.0
    while now < 300:
        if breaker.may_probe(now):
            assert not breaker.may_probe(now)
            probes.append(round(now))
            breaker.failed(now, "still refused")
        now += breaker.wait_seconds(now)
    assert probes[:6] == [101, 103, 107, 115, 131, 161]
    assert breaker.reason == "still refused"


def test_a_few_failures_open_the_breaker_once_nothing_else_came_for_a_while() -> None:
    breaker = Breaker()
    for second in (0.0, 0.1, 0.2, 0.3, 0.4):
        breaker.failed(second, "refused")
    assert breaker.reason is None
    breaker.failed(0.5, "refused")
    assert breaker.reason == "refused"
    breaker.answered()
    for second in (10.0, 13.0, 16.0):
        breaker.failed(second, "refused")
        breaker.answered()
    for second in (20.0, 25.0, 30.0, 35.0):
        breaker.failed(second, "too few")
    assert breaker.reason is None


def test_a_probe_that_never_returns_is_replaced() -> None:
    breaker = Breaker()
    for _ in range(50):
        breaker.failed(0.0, "refused")
    assert breaker.may_probe(1.0)
    assert not breaker.may_probe(60.0)
    assert breaker.may_probe(122.0)


def test_a_tasks_share_of_the_window_is_what_all_that_run_can_have() -> None:
    throttle = Throttle(VirtualClock(), 12)
    assert throttle.share() == 12
    throttle.acquired(5)
    assert throttle.share() == 2
    throttle.acquired(20)
    assert throttle.share() == 1
