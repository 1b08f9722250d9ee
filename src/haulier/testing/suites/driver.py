"""What every driver of `core.effects` promises, shown against a server that misbehaves on purpose.

Subclass `DriverSuite` and provide `make_driver`.
"""

import threading
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from haulier.core.effects import Answer, FileBody, Gather, Request, Sleep, Stopped
from haulier.core.ports import Driver
from haulier.testing import faulty_s3
from haulier.testing.faulty_s3 import Fault, FaultyS3

MakeDriver = Callable[[int], Driver]
"""Requests in flight at most → a driver that does not run yet."""
SECONDS = 30


class Running:
    """A driver in a thread of its own."""

    def __init__(self, driver: Driver, on_turn: Callable[[], None] = lambda: None) -> None:
        self.driver = driver
        self.thread = threading.Thread(target=driver.run, args=(on_turn,), daemon=True)
        self.thread.start()

    def do(self, coroutine: Any) -> Any:
        """Run it and wait for its result."""
        return self.driver.submit(coroutine).result(SECONDS)

    def stop(self) -> None:
        """End it, and see that it ends."""
        self.driver.stop()
        self.thread.join(SECONDS)
        assert not self.thread.is_alive()


async def ask(request: Request) -> Answer:
    """Await one request."""
    return await request


async def _one() -> int:
    return 1


class DriverSuite:
    """The promises."""

    @pytest.fixture
    def make_driver(self) -> MakeDriver:
        """Provided by the subclass."""
        raise NotImplementedError

    @pytest.fixture
    def server(self) -> Iterator[FaultyS3]:
        """A server with one object, `src/key`."""
        with FaultyS3() as server:
            server.store.buckets["src"].clear()
            yield server

    @pytest.fixture
    def running(self, make_driver: MakeDriver) -> Iterator[Running]:
        """A driver that runs."""
        running = Running(make_driver(64))
        yield running
        running.stop()

    def request(self, server: FaultyS3, method: str, key: str = "key", body: Any = None, **options: Any) -> Request:
        """A request that the server takes for signed."""
        payload = sha256(body.path.read_bytes() if isinstance(body, FileBody) else body or b"").hexdigest()
        headers = ["authorization: none", f"x-amz-content-sha256: {payload}", *options.pop("headers", [])]
        return Request(method, f"{server.endpoint}/src/{key}", headers, body, **options)

    def put(self, server: FaultyS3, running: Running, content: bytes, key: str = "key") -> None:
        """Put an object through the driver."""
        assert running.do(ask(self.request(server, "PUT", key, content))).status == 200

    # -- HTTP -----------------------------------------------------------------------------------------------------------------

    def test_what_is_put_comes_back(self, server: FaultyS3, running: Running) -> None:
        """Body, status, headers."""
        self.put(server, running, b"content")
        answer = running.do(ask(self.request(server, "GET")))
        assert (answer.status, answer.body, answer.failure) == (200, b"content", None)
        assert answer.headers["etag"] == '"9a0364b9e99bb480dd25e1f0284c8555"'

    def test_head_has_a_length_and_no_body(self, server: FaultyS3, running: Running) -> None:
        """The next request on the connection is not disturbed."""
        self.put(server, running, b"content")
        for _ in range(3):
            answer = running.do(ask(self.request(server, "HEAD")))
            assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "7")
        assert running.do(ask(self.request(server, "GET"))).body == b"content"
        assert server.connections == 1

    def test_a_put_without_a_body_says_so(self, server: FaultyS3, running: Running) -> None:
        """`Content-Length: 0`; neither Transfer-Encoding nor Expect."""
        self.put(server, running, b"")
        headers = server.requests[-1].headers
        assert headers["content-length"] == "0"
        assert headers["user-agent"] == "haulier"
        assert not {"expect", "transfer-encoding", "content-type"} & headers.keys()

    def test_a_large_body_goes_out_without_asking_first(self, server: FaultyS3, running: Running) -> None:
        """No `Expect: 100-continue`."""
        content = bytes(range(256)) * (4 << 12)
        self.put(server, running, content)
        assert "expect" not in server.requests[-1].headers
        assert running.do(ask(self.request(server, "GET"))).body == content

    def test_a_file_is_streamed(self, server: FaultyS3, running: Running, tmp_path: Path) -> None:
        """With the length that was announced."""
        path = tmp_path / "body"
        path.write_bytes(b"0123456789" * 100_000)
        answer = running.do(ask(self.request(server, "PUT", body=FileBody(path, 1_000_000))))
        assert answer.status == 200
        assert server.requests[-1].body == path.read_bytes()

    def test_a_file_that_is_missing_is_a_failure_that_sent_nothing(
        self, server: FaultyS3, running: Running, tmp_path: Path
    ) -> None:
        """The driver goes on."""
        request = Request("PUT", f"{server.endpoint}/src/key", [], FileBody(tmp_path / "none", 5))
        answer = running.do(ask(request))
        assert (answer.status, answer.sent) == (0, False)
        self.put(server, running, b"content")

    def test_the_path_travels_as_it_is_written(self, server: FaultyS3, running: Running) -> None:
        """Dots, double slashes and escapes are part of a key."""
        for key in ("a/../b", "./c", "d//e", "%2E%2E/f", "g%20h%25", "..", "i?versionId=null"):
            running.do(ask(self.request(server, "HEAD", key)))
            assert server.requests[-1].target == f"/src/{key}"

    def test_header_values_may_be_any_text(self, server: FaultyS3, running: Running) -> None:
        """They travel as UTF-8."""
        running.do(ask(self.request(server, "HEAD", headers=["x-amz-meta-name: Grüße 你好"])))
        assert server.requests[-1].headers["x-amz-meta-name"].encode("latin-1").decode() == "Grüße 你好"

    @pytest.mark.parametrize("kind", [faulty_s3.CHUNKED, faulty_s3.CLOSE, faulty_s3.CONTINUE_100, faulty_s3.BY_BYTES])
    def test_every_way_to_send_an_answer_is_understood(self, server: FaultyS3, running: Running, kind: str) -> None:
        """Chunked, ended by closing, after 100 Continue, in drops; and the connection stays in step."""
        self.put(server, running, b"content" * 50)
        server.plan(Fault(kind))
        answer = running.do(ask(self.request(server, "GET")))
        assert (answer.status, answer.body) == (200, b"content" * 50)
        assert answer.headers["etag"]
        assert running.do(ask(self.request(server, "GET"))).body == b"content" * 50

    def test_an_answer_to_delete_has_no_body(self, server: FaultyS3, running: Running) -> None:
        """204 carries none, whatever the headers say."""
        for _ in range(2):
            assert running.do(ask(self.request(server, "DELETE"))).status == 204
        assert server.connections == 1

    # -- connections ------------------------------------------------------------------------------------------------------------

    def test_connections_are_kept(self, server: FaultyS3, running: Running) -> None:
        """Thirty requests in a row, one connection."""
        for _ in range(30):
            running.do(ask(self.request(server, "HEAD")))
        assert server.connections == 1

    def test_a_connection_that_the_server_closed_meanwhile_is_replaced(self, server: FaultyS3, running: Running) -> None:
        """Idle connections end; that is no failure of the next request."""
        self.put(server, running, b"content")
        server.close_idle()
        assert running.do(ask(self.request(server, "GET"))).body == b"content"

    def test_proxies_in_the_environment_are_ignored(
        self, server: FaultyS3, make_driver: MakeDriver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Requests to stores go to stores."""
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        running = Running(make_driver(4))
        assert running.do(ask(self.request(server, "PUT", body=b"content"))).status == 200
        running.stop()

    def test_an_address_where_nobody_listens_is_a_failure_that_sent_nothing(self, running: Running) -> None:
        """Status 0, `sent` false."""
        answer = running.do(ask(Request("PUT", "http://127.0.0.1:1/src/key", [])))
        assert (answer.status, answer.sent) == (0, False)
        assert answer.failure

    def test_a_name_that_does_not_exist_is_a_failure_that_sent_nothing(self, running: Running) -> None:
        """Status 0, `sent` false (RFC 6761: `.invalid` never resolves)."""
        answer = running.do(ask(Request("PUT", "http://store.invalid/src/key", [])))
        assert (answer.status, answer.sent) == (0, False)

    @pytest.mark.parametrize("kind", [faulty_s3.RESET_BEFORE, faulty_s3.RESET_AFTER, faulty_s3.HALF_ANSWER])
    def test_an_answer_that_does_not_come_in_full_is_a_failure_that_was_sent(
        self, server: FaultyS3, running: Running, kind: str
    ) -> None:
        """The store may have carried it out; the driver does not say otherwise."""
        server.plan(Fault(kind))
        answer = running.do(ask(self.request(server, "PUT", body=b"content")))
        assert (answer.status, answer.sent, answer.body) == (0, True, b"")
        assert answer.failure
        self.put(server, running, b"content")

    def test_a_request_that_may_be_sent_once_is_sent_once(self, server: FaultyS3, running: Running) -> None:
        """Also on a kept connection that ends before the answer, where clients like to try again by themselves."""
        self.put(server, running, b"content")
        server.plan(Fault(faulty_s3.RESET_AFTER))
        answer = running.do(ask(self.request(server, "DELETE", once=True)))
        assert (answer.status, answer.sent) == (0, True)
        assert server.verbs()["DELETE"] == 1

    def test_once_does_not_stick_to_the_handle(self, server: FaultyS3, running: Running) -> None:
        """The next requests, once or not, work as ever."""
        for once in (True, True, False, True):
            assert running.do(ask(self.request(server, "DELETE", once=once))).status == 204

    def test_an_answer_that_takes_too_long_is_a_failure_that_was_sent(self, server: FaultyS3, running: Running) -> None:
        """`timeout_seconds` counts from the start to the last byte."""
        server.plan(Fault(faulty_s3.HOLD))
        answer = running.do(ask(self.request(server, "PUT", body=b"content", timeout_seconds=0.2)))
        assert (answer.status, answer.sent) == (0, True)
        assert "0.2 s" in str(answer.failure)

    # -- many at a time ---------------------------------------------------------------------------------------------------------

    def test_no_more_requests_are_in_flight_than_allowed(self, server: FaultyS3, make_driver: MakeDriver) -> None:
        """The others wait their turn, and all are answered."""
        server.plan(*[Fault(faulty_s3.HOLD)] * 5)
        running = Running(make_driver(5))
        futures = [running.driver.submit(ask(self.request(server, "HEAD", f"{n}"))) for n in range(50)]
        server.wait_for(lambda server: server.held == 5)
        assert len(server.requests) == 5
        server.release()
        assert {future.result(SECONDS).status for future in futures} == {404}
        assert server.connections <= 5
        running.stop()

    def test_thousands_in_flight(self, server: FaultyS3, make_driver: MakeDriver) -> None:
        """Descriptors beyond 1,024 included; each answer finds its own coroutine."""
        count = 1500
        server.plan(*[Fault(faulty_s3.HOLD)] * count)
        running = Running(make_driver(2000))

        async def one(n: int) -> bool:
            answer = await self.request(server, "PUT", f"{n}", b"%d" % n)
            again = await self.request(server, "GET", f"{n}")
            return answer.status == 200 and again.body == b"%d" % n

        futures = [running.driver.submit(one(n)) for n in range(count)]
        server.wait_for(lambda server: server.held == count)
        server.release()
        assert all(future.result(SECONDS) for future in futures)
        running.stop()

    def test_one_slow_answer_holds_nobody_up(self, server: FaultyS3, running: Running) -> None:
        """A hundred requests pass one that waits."""
        server.plan(Fault(faulty_s3.HOLD))
        slow = running.driver.submit(ask(self.request(server, "HEAD", "slow")))
        server.wait_for(lambda server: server.held == 1)
        for _ in range(100):
            running.do(ask(self.request(server, "HEAD")))
        assert not slow.done()
        server.release()
        assert slow.result(SECONDS).status == 404

    def test_stop_in_the_middle_closes_the_connections(self, server: FaultyS3, make_driver: MakeDriver) -> None:
        """Requests in flight are dropped at once, and whoever waited for them is told."""
        server.plan(*[Fault(faulty_s3.HOLD)] * 20)
        running = Running(make_driver(20))
        futures = [running.driver.submit(ask(self.request(server, "PUT", f"{n}", b""))) for n in range(40)]
        server.wait_for(lambda server: server.held == 20)
        running.stop()
        assert all(future.cancelled() for future in futures)
        server.wait_for(lambda server: server.open_connections == 0)
        assert running.driver.submit(ask(self.request(server, "HEAD"))).cancelled()

    # -- coroutines -------------------------------------------------------------------------------------------------------------

    def test_exceptions_reach_whoever_submitted(self, running: Running) -> None:
        """And the driver goes on."""

        async def broken() -> None:
            await Sleep(0)
            raise LookupError("broken")

        with pytest.raises(LookupError, match="broken"):
            running.do(broken())
        with pytest.raises(TypeError, match="Request, Sleep and Gather"):
            running.do(self.awaits_something_else())

    @staticmethod
    async def awaits_something_else() -> None:
        """Await what no driver knows."""

        class Other:
            def __await__(self) -> Any:
                yield 5

        await Other()

    def test_gather_keeps_order_and_width(self, server: FaultyS3, running: Running) -> None:
        """At most `width` children run; results come in the order of the coroutines."""
        active = most = 0

        async def child(n: int) -> int:
            nonlocal active, most
            active += 1
            most = max(most, active)
            await self.request(server, "HEAD", f"{n}")
            await Sleep(0)
            active -= 1
            return n

        async def parent() -> list[int]:
            return await Gather([child(n) for n in range(40)], 7)

        assert running.do(parent()) == list(range(40))
        assert most == 7

    def test_gather_of_nothing_and_of_children_that_end_at_once(self, running: Running) -> None:
        """Thousands of children that never wait do not pile up on the stack."""

        async def at_once(n: int) -> int:
            return n

        async def parent(count: int) -> list[int]:
            return await Gather([at_once(n) for n in range(count)], 3)

        assert running.do(parent(0)) == []
        assert running.do(parent(5000)) == list(range(5000))

    def test_gather_raises_the_first_error_once_all_have_ended(self, server: FaultyS3, running: Running) -> None:
        """Nothing is left running behind the caller's back."""
        ended = []

        async def child(n: int) -> None:
            await self.request(server, "HEAD", f"{n}")
            ended.append(n)
            if n == 1:
                raise LookupError("the first")

        async def parent() -> None:
            await Gather([child(n) for n in range(6)], 2)

        with pytest.raises(LookupError, match="the first"):
            running.do(parent())
        assert sorted(ended) == list(range(6))

    def test_sleeps_and_later_come_in_order(self, running: Running) -> None:
        """The sooner first, equal ones as they were asked for."""
        order: list[str] = []
        done = threading.Event()

        async def sleeper(name: str, seconds: float) -> None:
            await Sleep(seconds)
            order.append(name)

        def third() -> None:
            order.append("third")
            done.set()

        def begin() -> None:
            running.driver.later(0.06, third)
            running.driver.start(sleeper("second", 0.03), lambda _result, _error: None)
            running.driver.later(0.0, lambda: order.append("first"))

        running.driver.call(begin)
        assert done.wait(SECONDS)
        assert order == ["first", "second", "third"]

    def test_on_turn_may_start_more_and_running_counts_them(self, server: FaultyS3, make_driver: MakeDriver) -> None:
        """The way the runner feeds it: keep so many running until there is no more to do."""
        driver = make_driver(8)
        results: list[int] = []
        most = started = 0

        def on_turn() -> None:
            nonlocal most, started
            while driver.running < 8 and started < 100:
                driver.start(ask(self.request(server, "HEAD", f"{started}")), done)
                started += 1
            most = max(most, driver.running)
            if len(results) == 100:
                driver.stop()

        def done(answer: Answer | None, error: BaseException | None) -> None:
            assert error is None
            assert answer is not None
            results.append(answer.status)

        driver.call(lambda: None)
        driver.run(on_turn)
        assert results == [404] * 100
        assert most == 8
        assert driver.running == 0

    # -- winding down

    def test_a_coroutine_that_sleeps_is_wound_down_at_once(self, make_driver: MakeDriver) -> None:
        asleep, ended = threading.Event(), threading.Event()
        outcome: list[BaseException | None] = []

        async def sleeps() -> None:
            asleep.set()
            await Sleep(3600)

        running = Running(make_driver(4))
        try:

            def done(_: None, error: BaseException | None) -> None:
                outcome.append(error)
                ended.set()

            def begin() -> None:
                started = running.driver.start(sleeps(), done)
                running.driver.later(0, lambda: running.driver.wind_down(started))

            running.driver.call(begin)
            assert asleep.wait(SECONDS)
            assert ended.wait(SECONDS)
            assert isinstance(outcome[0], Stopped)
            assert running.driver.running == 0
        finally:
            running.stop()

    def test_what_was_submitted_can_be_withdrawn_from_another_thread(self, make_driver: MakeDriver) -> None:
        asleep = threading.Event()

        async def sleeps() -> None:
            asleep.set()
            await Sleep(3600)

        running = Running(make_driver(4))
        try:
            future = running.driver.submit(sleeps())
            assert asleep.wait(SECONDS)
            running.driver.withdraw(future)
            with pytest.raises(Stopped):
                future.result(SECONDS)
            running.driver.withdraw(future)
            assert running.driver.submit(_one()).result(SECONDS) == 1, "nothing else is withdrawn"
            assert running.driver.running == 0
        finally:
            running.stop()

    def test_a_request_under_way_ends_and_no_further_one_is_sent(self, make_driver: MakeDriver, server: FaultyS3) -> None:
        ended = threading.Event()
        steps: list[object] = []

        async def two_requests() -> None:
            answer = await Request("GET", f"{server.endpoint}/src/key", [])
            steps.append(answer.status)
            await Request("GET", f"{server.endpoint}/src/other", [])
            steps.append("second")

        running = Running(make_driver(4))
        try:

            def done(_: None, error: BaseException | None) -> None:
                steps.append(error)
                ended.set()

            def begin() -> None:
                started = running.driver.start(two_requests(), done)
                running.driver.wind_down(started)
                running.driver.wind_down(started)

            running.driver.call(begin)
            assert ended.wait(SECONDS)
            assert len(steps) == 2
            assert isinstance(steps[1], Stopped)
        finally:
            running.stop()

    def test_children_of_a_gather_are_wound_down_with_it(self, make_driver: MakeDriver) -> None:
        ended = threading.Event()
        begun: list[int] = []
        outcome: list[BaseException | None] = []

        async def child(number: int) -> None:
            begun.append(number)
            await Sleep(3600)

        async def parent() -> None:
            await Gather([child(number) for number in range(10)], width=3)

        running = Running(make_driver(4))
        try:

            def done(_: None, error: BaseException | None) -> None:
                outcome.append(error)
                ended.set()

            def begin() -> None:
                started = running.driver.start(parent(), done)
                running.driver.wind_down(started)

            running.driver.call(begin)
            assert ended.wait(SECONDS)
            assert begun == [0, 1, 2]
            assert isinstance(outcome[0], Stopped)
            assert running.driver.running == 0
        finally:
            running.stop()
