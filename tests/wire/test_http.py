"""What happens below ASGI, tried with raw sockets against a real uvicorn server: also the guard of its pinned version."""

import asyncio
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import pytest
import uvicorn
from starlette.requests import ClientDisconnect

from haulier.api.bodies import raw_request, read_body
from haulier.api.http import HaulierHttpProtocol, protocol
from haulier.api.tls import SecuringServer
from haulier.core.errors import DocumentTooLarge


class Quick(HaulierHttpProtocol):
    """With deadlines that a test can wait for."""

    head_seconds = 0.3
    body_seconds = 0.6


class Server:
    """A uvicorn server in a thread, whose application tells what it was given."""

    def __init__(
        self, protocol: type[HaulierHttpProtocol], loop: Literal["asyncio", "uvloop"], context: ssl.SSLContext | None = None
    ) -> None:
        self.seen: list[str] = []
        self.gone = threading.Event()
        self.proceed = threading.Event()
        config = uvicorn.Config(
            self.app,
            interface="asgi3",
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            loop=loop,
        )
        self.server = SecuringServer(config, context)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.server.run, args=([self.socket],))
        self.thread.start()

    async def app(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.seen.append(scope["path"])
        status = 200
        try:
            if scope["path"] == "/held":
                await asyncio.to_thread(self.proceed.wait, 10)
            request = raw_request(scope, await read_body(receive))
            told = {
                "method": request.method,
                "path": request.path,
                "query": request.query,
                "body": request.body.decode("latin-1"),
                "target": scope["haulier.raw_target"].decode(),
                "loopback": request.peer_is_loopback,
                "secure": request.secure,
                "host": request.needed(b"host").decode(),
            }
        except DocumentTooLarge as error:
            status, told = 400, {"error": str(error)}
        except ClientDisconnect:
            self.gone.set()
            return
        body = json.dumps(told).encode()
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    def stop(self) -> None:
        self.proceed.set()
        self.server.should_exit = True
        self.thread.join()
        self.socket.close()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def exchange(self, *parts: bytes) -> bytes:
        """Everything that comes back until the server closes; our side stays open meanwhile."""
        with self.connect() as connection:
            for part in parts:
                connection.sendall(part)
            return everything(connection)

    def ask(
        self, target: str, *headers: str, method: str = "GET", body: bytes = b"", host: str | None = None
    ) -> tuple[int, dict, bytes]:
        lines = [
            f"{method} {target} HTTP/1.1",
            f"Host: {self.host if host is None else host}",
            "Connection: close",
            *headers,
            "",
            "",
        ]
        answer = self.exchange("\r\n".join(lines).encode("latin-1") + body)
        return told_by(answer)


def everything(connection: socket.socket) -> bytes:
    answer = b""
    try:
        while part := connection.recv(65536):
            answer += part
    except ConnectionResetError:
        pass
    return answer


def one_answer(connection: socket.socket) -> bytes:
    """The next answer on a connection that stays open."""
    with connection.makefile("rb") as stream:
        head = b"".join(iter(stream.readline, b"\r\n"))
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        return head + b"\r\n" + stream.read(length)


def told_by(answer: bytes) -> tuple[int, dict, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split()[1]) if head else 0
    return status, json.loads(body) if body.startswith(b"{") else {}, body


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    running = Server(HaulierHttpProtocol, "uvloop")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def quick() -> Iterator[Server]:
    running = Server(Quick, "asyncio")
    yield running
    running.stop()


def test_a_request_reaches_the_application_undecoded(server: Server) -> None:
    status, told, _ = server.ask("/jobs/a%2Fb/%7e?x=%2B+y&x=2", "Content-Length: 3", method="POST", body=b"abc")
    assert status == 200
    assert told == {
        "method": "POST",
        "path": "/jobs/a%2Fb/%7e",
        "query": "x=%2B+y&x=2",
        "body": "abc",
        "target": "/jobs/a%2Fb/%7e?x=%2B+y&x=2",
        "loopback": True,
        "secure": False,
        "host": server.host,
    }


def test_a_chunked_body_is_read(server: Server) -> None:
    status, told, _ = server.ask("/jobs", "Transfer-Encoding: chunked", method="POST", body=b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    assert (status, told["body"]) == (200, "abcde")


# -- absolute targets: our port as somebody's HTTP_PROXY


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/v20180820/jobs", ""),
        ("/v20180820/jobs/job-1/status", "requestedJobStatus=Ready"),
        ("/v20180820/jobs%2F", ""),
        ("/base/of/url/v20180820/jobs", ""),
        ("/jobs", ""),
        ("/jobs", "maxResults=2"),
        ("/jobs/x", ""),
    ],
)
def test_an_absolute_target_of_a_wire_is_served_and_kept_as_sent(server: Server, path: str, query: str) -> None:
    host = "123456789012.s3control.test"
    target = f"http://{host}{path}" + (f"?{query}" if query else "")
    status, told, _ = server.ask(target, host=host)
    assert (status, told["path"], told["query"], told["target"], told["host"]) == (200, path, query, target, host)


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("http://example.com:80/jobs", "example.com"),
        ("http://example.com/jobs", "example.com:80"),
        ("HTTP://Example.com:80/jobs", "example.COM"),
        ("https://example.com:443/jobs", "example.com"),
        ("http://[::1]:80/jobs", "[::1]"),
    ],
)
def test_the_schemes_own_port_is_the_same_as_none(server: Server, target: str, host: str) -> None:
    status, told, _ = server.ask(target, host=host)
    assert (status, told["path"], told["host"]) == (200, "/jobs", host)


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://example.com/", "example.com", 403),
        ("http://example.com", "example.com", 403),
        ("http://example.com/index.html", "example.com", 403),
        ("http://example.com/jobsearch", "example.com", 403),
        ("http://example.com/v2018/jobs", "example.com", 403),
        ("http://example.com/v20180820x/jobs", "example.com", 403),
        ("http://example.com/search?q=/v20180820/jobs", "example.com", 403),
        ("http://example.com/base/jobs", "example.com", 403),
        ("http://example.com/console", "example.com", 403),
        ("http://example.com/api/v1/jobs", "example.com", 403),
        ("ftp://example.com/jobs", "example.com", 403),
        ("http://example.com/jobs", "example.org", 400),
        ("http://example.com:443/jobs", "example.com", 400),
        ("http://example.com:8080/jobs", "example.com", 400),
        ("http://example.com:80/jobs", "example.com:8080", 400),
        ("http://user@example.com/jobs", "example.com", 400),
        ("http:///jobs", "example.com", 400),
        ("*", "example.com", 400),
        ("jobs", "example.com", 400),
        ("/jobs#part", "example.com", 400),
    ],
)
def test_any_other_target_is_refused_before_the_application(server: Server, target: str, host: str, status: int) -> None:
    server.seen.clear()
    assert server.ask(target, host=host)[0] == status
    assert server.seen == []


def test_connect_is_not_allowed(server: Server) -> None:
    answer = server.exchange(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nallow: " in answer


# -- heads


@pytest.mark.parametrize(
    "lines",
    [
        b"",
        b"Host: a\r\nHost: a\r\n",
        b"Host:\r\n",
        b"Host: a b\r\n",
        b"Host: a/b\r\n",
        b"Host: a@b\r\n",
        b"Host: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        b"Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        b"Host: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n",
        b"Host: a\r\nContent-Length: +3\r\n",
        b"Host: a\r\nTransfer-Encoding: chunked, chunked\r\n",
        b"Host: a\r\nBroken header\r\n",
        b"Host: a\r\n folded: x\r\n",
    ],
)
def test_a_head_that_two_servers_could_read_differently_is_refused(server: Server, lines: bytes) -> None:
    server.seen.clear()
    answer = server.exchange(b"POST /jobs HTTP/1.1\r\n" + lines + b"\r\nabc")
    assert answer[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 501")
    assert b"connection: close" in answer
    assert server.seen == []


@pytest.mark.parametrize(
    ("encoding", "status"), [(b"gzip, chunked", b"501"), (b"gzip", b"501"), (b"chunked\r\nTransfer-Encoding: chunked", b"400")]
)
def test_another_transfer_encoding_is_refused(server: Server, encoding: bytes, status: bytes) -> None:
    answer = server.exchange(b"POST /jobs HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: " + encoding + b"\r\n\r\n")
    assert answer.split()[1] == status


def test_two_hundred_parameters_are_let_in_and_one_more_is_not(server: Server) -> None:
    query = "&".join(f"{number}=a" for number in range(200))
    assert server.ask(f"/jobs?{query}")[0] == 200
    status, _, said = server.ask(f"/jobs?{query}&more")
    assert (status, said) == (400, b"The request's query has more than 200 parameters.")


def test_a_hundred_headers_are_let_in_and_one_more_is_not(server: Server) -> None:
    fields = [f"x-{number}: y" for number in range(98)]
    assert server.ask("/jobs", *fields)[0] == 200
    assert server.ask("/jobs", *fields, "x-one-more: y")[0] == 431


@pytest.mark.parametrize("where", ["header", "target", "unfinished header", "many headers"])
def test_a_head_of_more_than_16_kib_is_refused(server: Server, where: str) -> None:
    server.seen.clear()
    long = b"y" * 17_000
    head = {
        "header": [b"GET /jobs HTTP/1.1\r\nHost: a\r\nx: " + long + b"\r\n\r\n"],
        "target": [b"GET /jobs?" + long + b" HTTP/1.1\r\nHost: a\r\n\r\n"],
        "unfinished header": [b"GET /jobs HTTP/1.1\r\nHost: a\r\nx: ", long],
        "many headers": [
            b"GET /jobs HTTP/1.1\r\nHost: a\r\n" + b"".join(b"x: " + b"y" * 400 + b"\r\n" for _ in range(60)) + b"\r\n"
        ],
    }[where]
    assert server.exchange(*head).startswith(b"HTTP/1.1 431 ")
    assert server.seen == []


def test_garbage_is_answered_400(server: Server) -> None:
    assert server.exchange(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n").startswith(b"HTTP/1.1 400 ")


def test_bytes_beyond_ascii_in_the_target_are_refused(server: Server) -> None:
    assert server.exchange("GET /jobs/é HTTP/1.1\r\nHost: a\r\n\r\n".encode()).startswith(b"HTTP/1.1 400 ")


# -- bodies


def test_a_body_of_a_mebibyte_is_read_and_one_byte_more_is_not(server: Server) -> None:
    most = 1 << 20
    status, told, _ = server.ask("/jobs", f"Content-Length: {most}", method="POST", body=b"x" * most)
    assert (status, len(told["body"])) == (200, most)
    status, told, _ = server.ask("/jobs", f"Content-Length: {most + 1}", method="POST", body=b"x" * (most + 1))
    assert (status, told) == (400, {"error": "the body is larger than 1,048,576 bytes"})


def test_a_body_without_end_is_refused_long_before_its_end(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(
            b"POST /jobs HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 50000000\r\n\r\n" + b"x" * 1_200_000
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")


def test_a_client_that_waits_for_the_word_gets_it(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(
            b"POST /jobs HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        )
        assert connection.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"abc")
        assert told_by(everything(connection))[1]["body"] == "abc"


@pytest.mark.parametrize("trailer", [b"Authorization: late", b"Host: b", b"x: y"])
def test_fields_after_a_chunked_body_are_refused_and_never_become_headers(server: Server, trailer: bytes) -> None:
    server.gone.clear()
    answer = server.exchange(
        b"POST /jobs HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n" + trailer + b"\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert server.gone.wait(5)


# -- deadlines


def elapsed(started: float) -> float:
    return time.monotonic() - started


@pytest.mark.parametrize("sent", [b"", b"GET /jobs HT", b"GET /jobs HTTP/1.1\r\nHost: a\r\nx: y"])
def test_a_head_that_does_not_come_ends_the_connection(quick: Server, sent: bytes) -> None:
    quick.seen.clear()
    started = time.monotonic()
    answer = quick.exchange(sent)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert 0.2 < elapsed(started) < 5
    assert quick.seen == []


def test_a_head_that_drips_in_has_the_same_deadline(quick: Server) -> None:
    with quick.connect() as connection:
        connection.sendall(b"GET /jobs HTTP/1.1\r\nHost: a\r\n")
        started = time.monotonic()
        connection.settimeout(0.05)
        answer = b""
        while not answer and elapsed(started) < 5:
            try:
                connection.sendall(b"x-a: b\r\n")
                answer = connection.recv(65536)
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert elapsed(started) < 5


def test_a_body_that_does_not_come_ends_the_connection_and_tells_the_application(quick: Server) -> None:
    quick.gone.clear()
    answer = quick.exchange(b"POST /jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert quick.gone.wait(5)


def test_a_body_may_come_slowly_but_not_stand_still() -> None:
    limited = protocol()
    limited.still_seconds = 0.2
    server = Server(limited, "uvloop")
    head = b"POST /jobs HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 120000\r\n\r\n"
    try:
        with server.connect() as connection:
            connection.sendall(head)
            for _ in range(12):
                connection.sendall(b"x" * 10_000)
                threading.Event().wait(0.05)
            assert everything(connection).startswith(b"HTTP/1.1 200 ")
        started = time.monotonic()
        assert server.exchange(head, b"x" * 100_000).startswith(b"HTTP/1.1 408 ")
        assert elapsed(started) < 5
    finally:
        server.stop()


def test_empty_lines_after_a_request_do_not_keep_the_connection(quick: Server) -> None:
    with quick.connect() as connection:
        connection.sendall(b"GET /jobs HTTP/1.1\r\nHost: a\r\n\r\n")
        assert one_answer(connection).startswith(b"HTTP/1.1 200 ")
        started = time.monotonic()
        connection.settimeout(0.05)
        ended = False
        while not ended and elapsed(started) < 5:
            try:
                connection.sendall(b"\r\n")
                ended = connection.recv(65536) == b""
            except TimeoutError:
                continue
            except ConnectionError:
                ended = True
    assert ended
    assert elapsed(started) < 5


def test_deadlines_are_per_request_on_one_connection(quick: Server) -> None:
    with quick.connect() as connection:
        for _ in range(3):
            connection.sendall(b"POST /jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n")
            connection.sendall(b"abc")
            assert one_answer(connection).startswith(b"HTTP/1.1 200 ")
            threading.Event().wait(0.2)  # together longer than the first head's deadline


def test_a_slow_answer_is_not_the_clients_fault(quick: Server) -> None:
    quick.proceed.clear()
    with quick.connect() as connection:
        connection.sendall(b"GET /held HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        connection.settimeout(1.0)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        quick.proceed.set()
        connection.settimeout(10)
        assert everything(connection).startswith(b"HTTP/1.1 200 ")


# -- one connection, several requests


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    first = b"POST /jobs/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"
    second = b"GET http://a/jobs/2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    answer = server.exchange(first + second)
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert answer.index(b'"/jobs/1"') < answer.index(b'"/jobs/2"')


def test_a_refusal_is_never_taken_for_the_answer_to_an_earlier_request(server: Server) -> None:
    server.proceed.clear()
    server.seen.clear()
    with server.connect() as connection:
        connection.sendall(b"GET /held HTTP/1.1\r\nHost: a\r\n\r\nGET /jobs HTTP/1.1\r\n\r\n")
        assert everything(connection) == b""
    server.proceed.set()
    assert server.seen == ["/held"]


@pytest.mark.parametrize("limits", [{"connections_max": 3}, {"connections_per_peer_max": 3}])
def test_connections_beyond_the_limit_are_told_so_and_closed(limits: dict[str, int]) -> None:
    few = protocol()
    for name, value in limits.items():
        setattr(few, name, value)
    server = Server(few, "uvloop")
    try:
        held = [server.connect() for _ in range(3)]
        for connection in held:  # answered, so all three are known to the server
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 200"
        with server.connect() as refused:
            assert everything(refused).startswith(b"HTTP/1.1 503 ")
        held.pop().close()
        for connection in held:
            connection.close()
        assert server.ask("/")[0] == 200
        assert few.connected.total() <= 1
    finally:
        server.stop()


def test_a_server_that_stops_does_not_wait_for_a_body_that_never_comes() -> None:
    server = Server(HaulierHttpProtocol, "uvloop")
    with server.connect() as connection:
        connection.sendall(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab")
        while not server.seen:
            time.sleep(0.01)
        begun = time.monotonic()
        server.stop()
        assert server.gone.is_set()
        assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    "offer", [b"Upgrade: h2c\r\nConnection: upgrade, HTTP2-Settings\r\n", b"Upgrade: x\r\nConnection: Upgrade\r\n"]
)
@pytest.mark.parametrize("size", [b"Content-Length: %d\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_the_body_of_a_request_that_offers_another_protocol_is_no_second_request(
    server: Server, offer: bytes, size: bytes
) -> None:
    server.seen.clear()
    hidden = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
    framed = size % len(hidden) if b"%" in size else size
    answer = server.exchange(b"POST /jobs HTTP/1.1\r\nHost: a\r\n" + offer + framed + b"\r\n", hidden)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"without the Upgrade header" in answer
    assert server.seen == []


def test_a_request_without_a_body_may_offer_another_protocol_and_is_served(server: Server) -> None:
    offer = b"Upgrade: h2c\r\nConnection: close, upgrade\r\n"
    assert server.exchange(b"GET /jobs HTTP/1.1\r\nHost: a\r\n" + offer + b"\r\n").startswith(b"HTTP/1.1 200 ")


def test_http_1_0_has_no_transfer_encoding(server: Server) -> None:
    server.seen.clear()
    answer = server.exchange(b"POST /jobs HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert server.seen == []


@pytest.mark.parametrize("path", ["/api/v1/v20180820/jobs", "/%61pi/v1/v20180820/jobs", "/api/v20180820"])
def test_the_native_api_is_served_to_nobody_who_takes_it_for_a_proxy(server: Server, path: str) -> None:
    assert server.ask(f"http://{server.host}{path}")[0] == 403


# -- answers


class Spied(HaulierHttpProtocol):
    """Keeps what is written to the transport, write by write."""

    written: ClassVar[list[bytes]] = []

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.transport = SpyTransport(transport, self.written)  # type: ignore[assignment]


class SpyTransport:
    def __init__(self, transport: asyncio.Transport, written: list[bytes]) -> None:
        self._transport = transport
        self._written = written

    def write(self, data: bytes) -> None:
        self._written.append(bytes(data))
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def test_an_answers_head_goes_out_with_its_body_in_one_write() -> None:
    """A server killed between the two leaves a head, which botocore takes for a success without members."""
    Spied.written.clear()
    server = Server(Spied, "uvloop")
    try:
        head = b"POST /jobs HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
        assert server.exchange(head, b"x").count(b"HTTP/1.1 ") == 2
        assert [part[:13] for part in Spied.written] == [b"HTTP/1.1 100 ", b"HTTP/1.1 200 "]
        assert Spied.written[1].endswith(b"}")
        Spied.written.clear()
        assert server.ask("/jobs", method="HEAD")[0] == 200
        assert len(Spied.written) == 1
    finally:
        server.stop()
