"""Who waits for a job: long polls and streams, on a running server with real connections."""

import contextlib
import http.client
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from haulier.api.native import streams, watching
from haulier.core.accounts import User
from haulier.core.history import EventKind, happening
from haulier.core.lifecycle import JobEvent as E
from wire import serving
from wire.native import Message, messages, stream
from wire.serving import WAYS, Serving


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait for something that has no event of its own: whether a request has begun to wait."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def waiting(served: Serving, job_id: str) -> int:
    return len(served.watching._waiters.get(job_id, ()))


def disable(served: Serving, name: str) -> None:
    """Take the user's keys away, as a reload of the settings does."""

    def disabled(user: User) -> User:
        return msgspec.structs.replace(user, disabled=user.name == name)

    accounts = serving.accounts()
    served.directory.reload(msgspec.structs.replace(account, users=tuple(map(disabled, account.users))) for account in accounts)


# -- long polls ------------------------------------------------------------------------------------------------------------------


def test_a_long_poll_ends_with_the_job_and_not_before(served: Serving, pool: ThreadPoolExecutor) -> None:
    client = served.native()
    job_id = client.create()
    asked = pool.submit(client.get, f"jobs/{job_id}", query={"wait": 15})
    until(lambda: waiting(served, job_id) == 1)
    served.move(job_id, *WAYS["Completing"], total=0)
    assert not asked.done()
    served.move(job_id, E.REPORTED)
    answer = asked.result(5)
    assert (answer.status, answer.json["status"]) == (200, "Complete")
    assert client.get(f"jobs/{job_id}", query={"wait": 60}).json["status"] == "Complete", "at once, for it has ended"
    until(lambda: waiting(served, job_id) == 0)


def test_a_long_poll_for_another_version_ends_with_any_change(served: Serving, pool: ThreadPoolExecutor) -> None:
    client = served.native()
    job_id = client.create()
    seen = client.get(f"jobs/{job_id}")
    by_query = pool.submit(client.get, f"jobs/{job_id}", query={"wait": 15, "version": seen.json["version"]})
    by_header = pool.submit(client.get, f"jobs/{job_id}", query={"wait": 15}, headers={"If-None-Match": seen.etag})
    until(lambda: waiting(served, job_id) == 2)
    client.call("PUT", f"jobs/{job_id}/priority", {"priority": 77})
    assert by_query.result(5).json["priority"] == by_header.result(5).json["priority"] == 77
    old = client.get(f"jobs/{job_id}", query={"wait": 60, "version": seen.json["version"]})
    assert old.json["priority"] == 77, "at once, for the version is another already"


def test_a_long_poll_that_sees_nothing_says_so_when_its_time_is_over(served: Serving) -> None:
    client = served.native()
    job_id = client.create()
    seen = client.get(f"jobs/{job_id}")
    assert client.get(f"jobs/{job_id}", query={"wait": 1}).json == seen.json
    assert client.get(f"jobs/{job_id}", query={"wait": 1}, headers={"If-None-Match": seen.etag}).status == 304
    empty = client.get(f"jobs/{job_id}/events", query={"wait": 1, "after": 1})
    assert empty.json == {"events": [], "last": 1, "ended": False}
    served.move(job_id, E.CANCEL_SETTLED)
    over = client.get(f"jobs/{job_id}/events", query={"wait": 60, "after": 2})
    assert over.json == {"events": [], "last": 2, "ended": True}, "at once: there is no more to come"


def test_a_long_poll_for_events_ends_with_the_next_one(served: Serving, pool: ThreadPoolExecutor) -> None:
    client = served.native()
    job_id = client.create()
    asked = pool.submit(client.get, f"jobs/{job_id}/events", query={"wait": 15, "after": 1})
    until(lambda: waiting(served, job_id) == 1)
    served.jobstore.commit(served.epoch, [happening(job_id, 5_000, EventKind.RUNNER_LOST, runner="r1", chunks=2)])
    (event,) = asked.result(5).json["events"]
    assert (event["sequence"], event["at"], event["kind"]) == (2, "1970-01-01T00:00:05.000Z", "runner_lost")


def test_a_long_poll_ends_when_the_job_is_deleted(served: Serving, pool: ThreadPoolExecutor) -> None:
    client = served.native()
    job_id = client.create()
    served.move(job_id, *WAYS["Active"], total=0)
    asked = pool.submit(client.get, f"jobs/{job_id}", query={"wait": 15})
    until(lambda: waiting(served, job_id) == 1)
    client.call("DELETE", f"jobs/{job_id}")
    answer = asked.result(5)
    assert (answer.status, answer.json["code"]) == (404, "JobNotFound")


def test_a_long_poll_of_someone_who_left_is_over(served: Serving) -> None:
    client = served.native()
    job_id = client.create()
    connection = http.client.HTTPConnection("127.0.0.1", served.port)
    target = f"/api/v1/jobs/{job_id}?wait=60"
    connection.request("GET", target, headers=client.signed("GET", target, b"", {}, f"127.0.0.1:{served.port}"))
    until(lambda: waiting(served, job_id) == 1)
    connection.close()
    until(lambda: waiting(served, job_id) == 0)


def test_a_key_that_is_disabled_ends_what_it_began_within_five_seconds(fresh: Serving, pool: ThreadPoolExecutor) -> None:
    client = fresh.native()
    job_id = client.create()
    with stream(client, job_id) as (_, told):
        assert [next(told).kind for _ in range(2)] == ["event", "progress"]
        asked = pool.submit(client.get, f"jobs/{job_id}", query={"wait": 60})
        until(lambda: waiting(fresh, job_id) == 2)
        began = time.monotonic()
        disable(fresh, "admin")
        assert list(told) == []
        answer = asked.result(10)
        assert time.monotonic() - began < 5
    assert (answer.status, answer.json["code"]) == (401, "NotAuthenticated")


def test_who_may_see_the_job_no_longer_is_shown_no_more_of_it(
    fresh: Serving, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "KEY_SECONDS", 0.05)
    job_id = fresh.native().create()
    with stream(fresh.native("viewer"), job_id) as (_, told):
        assert [next(told).kind for _ in range(2)] == ["event", "progress"]
        asked = pool.submit(fresh.native("viewer").get, f"jobs/{job_id}/events", query={"after": 1, "wait": 30})
        until(lambda: waiting(fresh, job_id) == 2)

        def without_policy(user: User) -> User:
            return msgspec.structs.replace(user, policy="none") if user.name == "viewer" else user

        fresh.directory.reload(
            msgspec.structs.replace(account, users=tuple(map(without_policy, account.users))) for account in serving.accounts()
        )
        assert list(told) == []
    until(lambda: not asked.running() or waiting(fresh, job_id) == 1)
    fresh.move(job_id, E.PICKED_UP)
    assert asked.result(10).status == 403
    assert fresh.native("viewer").get(f"jobs/{job_id}").status == 403


# -- streams ---------------------------------------------------------------------------------------------------------------------


def test_a_stream_tells_every_event_once_and_the_end(served: Serving) -> None:
    client = served.native()
    job_id = client.create()
    with stream(client, job_id) as (answer, told):
        assert (answer.status, answer.getheader("content-type")) == (200, "text/event-stream; charset=utf-8")
        first, shown = next(told), next(told)
        assert (first.kind, first.id, first.data["kind"]) == ("event", 1, "created")
        assert (shown.kind, shown.id, shown.data["status"]) == ("progress", 1, "New")
        for event in (*WAYS["Completing"], E.REPORTED):
            served.move(job_id, event, total=0)
        rest = list(told)
    events = [message for message in rest if message.kind == "event"]
    assert [message.data["facts"]["status"] for message in events] == ["Preparing", "Ready", "Active", "Completing", "Complete"]
    assert [message.id for message in events] == [message.data["sequence"] for message in events] == [2, 3, 4, 5, 6]
    assert rest[-1] == Message("end", 6, {"status": "Complete"})
    assert [message.data["status"] for message in rest if message.kind == "progress"][-1] == "Complete"


def test_a_stream_goes_on_where_it_was_interrupted(served: Serving) -> None:
    client = served.native()
    job_id = client.create()
    served.move(job_id, E.PICKED_UP)
    with stream(client, job_id) as (_, told):
        assert [(message.kind, message.id) for message in (next(told), next(told))] == [("event", 1), ("event", 2)]
    served.move(job_id, E.PREPARED, total=0)
    with stream(client, job_id, headers={"Last-Event-ID": "2"}) as (_, told):
        missed, shown = next(told), next(told)
        assert (missed.kind, missed.id, missed.data["facts"]["status"]) == ("event", 3, "Ready")
        assert (shown.kind, shown.data["status"]) == ("progress", "Ready")
    with stream(client, job_id, query={"after": 3}) as (_, told):
        assert next(told).kind == "progress"


def test_a_browser_is_told_not_to_come_back_once_it_has_read_all(served: Serving) -> None:
    client = served.native()
    job_id = client.create()
    served.move(job_id, E.CANCEL_SETTLED)
    with stream(client, job_id) as (_, told):
        last = list(told)[-1]
    assert last == Message("end", 2, {"status": "Cancelled"})
    with stream(client, job_id, headers={"Last-Event-ID": "2"}) as (answer, _):
        assert answer.status == 204
    with stream(client, job_id, headers={"Last-Event-ID": "1"}) as (_, told):
        assert [message.id for message in told] == [2, 2, 2]
    for foreign in ("of another server", "3", "999999"):
        with stream(client, job_id, headers={"Last-Event-ID": foreign}) as (_, told):
            assert next(told).id == 1


def test_a_stream_shows_progress_at_most_twice_a_second(served: Serving) -> None:
    client = served.native()
    job_id = client.create()
    served.move(job_id, *WAYS["Active"], total=0)
    with stream(client, job_id, query={"after": 4}) as (_, told):
        assert next(told).kind == "progress"
        began = time.monotonic()
        for number in range(40):
            served.service.set_priority(_admin(served), job_id, number)
        shown: list[Message] = []
        for message in told:
            shown += [message] if message.kind == "progress" else []
            if message.kind == "progress" and message.data["priority"] == 39:
                break
        assert len(shown) <= 2 + (time.monotonic() - began) / streams.PROGRESS_SECONDS


def _admin(served: Serving) -> Any:
    from haulier.core.accounts import Caller

    account = served.directory.accounts["acme"]
    return Caller(account, account.users[0], "native", "us-east-1")


def test_a_stream_says_something_when_nothing_happens(served: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 0.1)
    client = served.native()
    job_id = client.create()
    with stream(client, job_id) as (answer, told):
        assert [next(told).kind for _ in range(2)] == ["event", "progress"]
        assert answer.readline() == b": still here\n"


def test_a_stream_ends_when_the_job_is_deleted(served: Serving) -> None:
    client = served.native()
    job_id = client.create()
    served.move(job_id, *WAYS["Active"], total=0)
    with stream(client, job_id, query={"after": 4}) as (_, told):
        assert next(told).kind == "progress"
        client.call("DELETE", f"jobs/{job_id}")
        assert list(told)[-1].data == {"status": None}


def test_a_stream_of_someone_who_left_is_over(served: Serving) -> None:
    client = served.native()
    job_id = client.create()
    with stream(client, job_id) as (_, told):
        next(told)
        assert waiting(served, job_id) == 1
    until(lambda: waiting(served, job_id) == 0)


def test_more_than_may_wait_are_refused_and_places_come_back(fresh: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "WAITERS_PER_ACCOUNT_MAX", 2)
    client = fresh.native()
    job_id = client.create()
    foreign = fresh.native("stranger").create()
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            next(stack.enter_context(stream(client, job_id))[1])
        for path, query in (("progress", {}), ("events", {"after": 1, "wait": 9})):
            answer = client.get(f"jobs/{job_id}/{path}", query=query)
            assert (answer.status, answer.json["code"], answer.headers["retry-after"]) == (429, "TooManyWaiting", "1")
        with stream(fresh.native("stranger"), foreign) as (answer, told):
            assert next(told).kind == "event", "another account has places of its own"
    until(lambda: waiting(fresh, job_id) == 0)
    with stream(client, job_id) as (_, told):
        assert next(told).kind == "event"


def test_the_end_of_the_server_ends_who_waits(fresh: Serving, pool: ThreadPoolExecutor) -> None:
    client = fresh.native()
    job_id = client.create()
    with stream(client, job_id) as (_, told):
        assert [next(told).kind for _ in range(2)] == ["event", "progress"]
        asked = pool.submit(client.get, f"jobs/{job_id}", query={"wait": 60})
        until(lambda: waiting(fresh, job_id) == 2)
        fresh.watching.close()
        assert list(told) == []
        assert asked.result(5).json["status"] == "New"


def test_hundreds_wait_without_a_thread_each(fresh: Serving) -> None:
    client = fresh.native()
    job_id = client.create()
    target = f"/api/v1/jobs/{job_id}/progress"
    host = f"127.0.0.1:{fresh.port}"
    headers = client.signed("GET", target, b"", {}, host)
    connections = [http.client.HTTPConnection("127.0.0.1", fresh.port, timeout=20) for _ in range(300)]
    with contextlib.ExitStack() as stack:
        for connection in connections:
            stack.callback(connection.close)
            connection.request("GET", target, headers=headers)
        until(lambda: waiting(fresh, job_id) == 300)
        before = threading.active_count()
        assert before < 60
        assert client.get("jobs").status == 200
        fresh.move(job_id, E.CANCEL_SETTLED)
        for connection in connections:
            with connection.getresponse() as answer:
                assert list(messages(answer))[-1].data == {"status": "Cancelled"}
