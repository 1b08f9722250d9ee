"""Who names no key that is known: told so at once, and given neither room nor a turn that others need."""

import contextlib
import selectors
import socket
import threading
import time
from typing import Any

import pytest

from haulier.api.admission import WAITING_MAX, WORKING_MAX
from haulier.api.auth import Authenticator, RawRequest
from haulier.api.auth.naming import named
from haulier.core.accounts import Account, Key, KeyKind, User, hash_of
from haulier.core.directory import Directory
from haulier.core.errors import AccessRefused
from wire.serving import A_JOB, Serving

ROOTS = ["/jobs", "/v20180820/jobs", "/api/v1/jobs"]
TODAY = time.strftime("%Y%m%d", time.gmtime())
UNKNOWN = {
    "": "",
    "a word": "Authorization: x\r\n",
    "another's form": "Authorization: Basic eA==\r\n",
    "twice": "Authorization: q-ak=AKIDADMIN\r\nAuthorization: q-ak=AKIDADMIN\r\n",
    "SigV4": f"Authorization: AWS4-HMAC-SHA256 Credential=AKIDNOBODYS/{TODAY}/r/s3/aws4_request, "
    f"SignedHeaders=host, Signature={'0' * 64}\r\n",
    "q-sign": "Authorization: q-sign-algorithm=sha1&q-ak=AKIDNOBODYS&q-sign-time=1;2&q-key-time=1;2\r\n",
    "bearer": f"Authorization: Bearer hlr_{'0' * 43}\r\n",
}


def head(served: Serving, root: str, length: int, headers: str, method: str = "POST") -> bytes:
    return f"{method} {root} HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nContent-Length: {length}\r\n{headers}\r\n".encode()


def connect(served: Serving, address: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", served.port), timeout=10, source_address=(address, 0))


def answer(connection: socket.socket) -> bytes:
    found = b""
    while b"\r\n\r\n" not in found:
        found += connection.recv(65_536)
    return found


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("headers", UNKNOWN.values(), ids=UNKNOWN)
def test_of_a_large_body_no_more_is_read_than_its_beginning(served: Serving, root: str, headers: str) -> None:
    with connect(served) as connection:
        connection.sendall(head(served, root, 1_000_000, headers) + b"x" * 20_000)
        told = answer(connection)
    assert told.split()[1] == (b"401" if "api" in root else b"403")
    assert b"connection: close" in told.lower()


@pytest.mark.parametrize("size", [0, 10_000, 20_000, 100_000])
def test_the_json_api_asks_a_stranger_for_a_key_whatever_the_size_of_the_body(served: Serving, size: int) -> None:
    with connect(served) as connection:
        connection.sendall(head(served, "/api/v1/jobs", size, "") + b"x" * size)
        told = answer(connection)
    assert told.startswith(b"HTTP/1.1 401 ")
    assert b"\r\nwww-authenticate: AWS4-HMAC-SHA256" in told


@pytest.mark.parametrize("root", ROOTS)
def test_who_would_send_a_large_body_is_not_told_to_go_on(served: Serving, root: str) -> None:
    with connect(served) as connection:
        connection.sendall(head(served, root, 20_000, UNKNOWN["q-sign"] + "Expect: 100-continue\r\n"))
        assert answer(connection).split()[1] in (b"401", b"403")


def test_beginnings_of_large_bodies_keep_nobody_from_creating_a_job(served: Serving) -> None:
    with contextlib.ExitStack() as held:
        for headers in [*UNKNOWN.values()] * 12:
            connection = held.enter_context(connect(served))
            with contextlib.suppress(ConnectionError):  # it is answered before it has sent everything
                connection.sendall(head(served, "/v20180820/jobs", 1 << 20, headers) + b"x" * ((1 << 20) - 1))
        for number in range(3):
            assert served.s3().create_job(**A_JOB, ClientRequestToken=f"beside strangers {number}")["JobId"]


def test_one_address_that_names_a_known_key_cannot_take_all_the_room(served: Serving) -> None:
    known = f"Authorization: AWS4-HMAC-SHA256 Credential=AKIDADMIN/{TODAY}/r/s3/aws4_request\r\n"
    with contextlib.ExitStack() as held:
        ended = held.enter_context(selectors.DefaultSelector())
        for _ in range(20):
            connection = held.enter_context(connect(served, "127.0.0.2"))
            with contextlib.suppress(ConnectionError):  # who is refused may be cut off while it sends
                connection.sendall(head(served, "/v20180820/jobs", 1 << 20, known) + b"x" * ((1 << 20) - 1))
            ended.register(connection, selectors.EVENT_READ)
        end = time.monotonic() + 10
        while len(ended.select(0.1)) < 4 and time.monotonic() < end:
            time.sleep(0.01)
        assert len(ended.select(0.1)) == 4
        assert served.s3().create_job(**A_JOB, ClientRequestToken="beside one that is known")["JobId"]


def test_an_address_that_fills_the_queue_waits_for_itself(fresh: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()

    def slowly(*_: Any) -> Any:
        assert gate.wait(20)
        raise AccessRefused("no")

    monkeypatch.setattr(Authenticator, "authenticate_cos", slowly)
    answers: list[int] = []
    one = threading.Thread(target=lambda: answers.append(fresh.native().get("jobs").status))
    with contextlib.ExitStack() as held:
        crowd = [held.enter_context(connect(fresh, "127.0.0.2")) for _ in range(WORKING_MAX + WAITING_MAX)]
        waiting = held.enter_context(selectors.DefaultSelector())
        for connection in crowd:
            waiting.register(connection, selectors.EVENT_READ)
            connection.sendall(head(fresh, "/jobs", 0, "Authorization: q-ak=AKIDADMIN\r\n", "GET"))
        with connect(fresh, "127.0.0.2") as refused:
            refused.sendall(head(fresh, "/jobs", 0, "Authorization: q-ak=AKIDADMIN\r\n", "GET"))
            assert answer(refused).startswith(b"HTTP/1.1 503 ")
        with connect(fresh, "127.0.0.2") as stranger:
            stranger.sendall(head(fresh, "/api/v1/jobs", 0, "", "GET"))
            assert answer(stranger).startswith(b"HTTP/1.1 401 ")
        one.start()
        gone = [key.fileobj for key, _ in waiting.select(10)]  # one has given way
        assert len(gone) == 1
        assert answer(gone[0]).startswith(b"HTTP/1.1 503 ")  # type: ignore[arg-type]
        gate.set()
        one.join()
        assert (
            sum(answer(connection).startswith(b"HTTP/1.1 403 ") for connection in crowd if connection not in gone)
            == len(crowd) - 1
        )
    assert answers == [200]


def test_strangers_fill_neither_log(served: Serving, capsys: pytest.CaptureFixture[str]) -> None:
    request = head(served, "/jobs", 0, "", "GET")
    with connect(served) as connection, connection.makefile("rb") as stream:
        for _ in range(260):
            connection.sendall(request)
            fields = b"".join(iter(stream.readline, b"\r\n"))
            assert fields.startswith(b"HTTP/1.1 403 ")
            stream.read(next(int(line[15:]) for line in fields.split(b"\r\n") if line.startswith(b"content-length:")))
    printed = capsys.readouterr()
    assert (printed.out + printed.err).count("request refused") < 260


# -- whose key a head names

ADMIN = User(
    account="a",
    name="u",
    policy="admin",
    keys=(
        Key(id="AKIDONE", secret_key="s"),
        Key(id="token", kind=KeyKind.BEARER, token_hash=hash_of(b"hlr_" + b"t" * 43)),
    ),
)
DIRECTORY = Directory([Account(name="a", users=(ADMIN,))])


def request(*authorization: bytes, query: bytes = b"") -> RawRequest:
    fields: list[Any] = [(b"authorization", value) for value in authorization]
    return RawRequest("GET", b"/jobs", query, fields, b"", secure=False, peer="127.0.0.1")


@pytest.mark.parametrize(
    ("asked", "key"),
    [
        (request(b"AWS4-HMAC-SHA256 Credential=AKIDONE/20200101/r/s3/aws4_request, SignedHeaders=host, Signature=0"), "AKIDONE"),
        (request(b"q-sign-algorithm=sha1&q-ak=AKIDONE&q-sign-time=1;2"), "AKIDONE"),
        (request(b"q-ak=AKIDONE"), "AKIDONE"),
        (request(b"bEARER hlr_" + b"t" * 43), "token"),
        (request(query=b"X-Amz-Credential=AKIDONE%2F20200101%2Fr%2Fs3%2Faws4_request"), "AKIDONE"),
        (request(query=b"a=b&q-ak=AKIDONE"), "AKIDONE"),
        (request(), None),
        (request(b""), None),
        (request(b"AKIDONE"), None),
        (request(b"xq-ak=AKIDONE"), None),
        (request(b"q-ak=AKIDTWO"), None),
        (request(b"q-ak=token"), None),
        (request(b"q-ak=" + b"\xff" * 20), None),
        (request(b"q-ak=AKIDONE", b"q-ak=AKIDONE"), None),
        (request(b"Bearer hlr_" + b"u" * 43), None),
        (request(query=b"q-ak=AKIDONE&q-ak=AKIDONE"), None),
        (request(b"x", query=b"q-ak=AKIDONE"), None),
    ],
)
def test_a_head_names_a_key_in_any_form_that_is_taken(asked: RawRequest, key: str | None) -> None:
    found = named(asked, DIRECTORY)
    assert (found and found.key.id) == key
