"""Clients that send faster than they are answered, and clients that do not read: what they cost is bounded, and they end."""

import contextlib
import errno
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from haulier.api import listening, pacing, tls
from haulier.api.http import HaulierHttpProtocol, protocol
from haulier.api.listening import listen
from haulier.api.tls import server_context
from wire.test_http import Server, one_answer
from wire.test_tls import Authority

SMALL = b"GET / HTTP/1.1\r\nHost:a\r\n\r\n"
HELD = b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n"
Start = Callable[..., "Paced"]


class Paced(Server):
    """Over TLS or not."""

    trusted: ssl.SSLContext | None = None

    @contextlib.contextmanager
    def connection(self, receives: int | None = None) -> Iterator[socket.socket]:
        """`receives` is the size of the client's buffer."""
        with socket.socket() as plain:
            if receives is not None:
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
            plain.settimeout(10)
            plain.connect(("127.0.0.1", self.port))
            if self.trusted is None:
                yield plain
                return
            with self.trusted.wrap_socket(plain, server_hostname="localhost") as secured:
                yield secured


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(params=["plain", "TLS"])
def start(request: pytest.FixtureRequest, ca: Authority) -> Iterator[Start]:
    running: list[Paced] = []

    def started(**limits: Any) -> Paced:
        limited = protocol()
        for name, value in limits.items():
            setattr(limited, name, value)
        secured = request.param == "TLS"
        server = Paced(limited, "uvloop", server_context(*ca.issue()) if secured else None)
        server.trusted = ssl.create_default_context(cafile=str(ca.file)) if secured else None
        running.append(server)
        return server

    yield started
    for server in running:
        server.stop()


def connections(server: Server) -> list[HaulierHttpProtocol]:
    return list(server.server.server_state.connections)  # type: ignore[arg-type]


def all_ended(server: Server, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while connections(server) and time.monotonic() < end:
        time.sleep(0.01)
    return not connections(server)


def sent_until_it_stalls(connection: socket.socket, data: bytes, most: int) -> int:
    """So many bytes of it, over and over, does the server take from somebody who does not read."""
    connection.settimeout(0.3)
    sent = 0
    try:
        while sent < most:
            sent += connection.send(data)
    except OSError:
        pass
    return sent


def test_requests_sent_ahead_wait_with_their_sender(start: Start) -> None:
    server = start()
    most = 40_000_000
    with server.connection() as connection:
        connection.sendall(HELD)
        assert sent_until_it_stalls(connection, SMALL * 4_000, most) < most
        [one] = connections(server)
        assert 1 <= len(one.pipeline) <= 20
        assert one.all_held.bytes == len(one._held) <= 512 * 1024
        server.proceed.set()
        assert sent_until_it_stalls(connection, SMALL * 4_000, most) < most  # nobody reads the answers
        assert len(one.pipeline) <= 20
    assert all_ended(server)
    assert type(one).all_held.bytes == 0


def test_an_orderly_client_that_sends_ahead_gets_every_answer_in_order(start: Start) -> None:
    server = start()
    requests = [b"GET /jobs/%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(2_000)]
    requests[500] = b"POST /jobs/500 HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000
    requests[501] = (
        b"POST /jobs/501 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"3\r\nabc\r\n" * 9_000 + b"0\r\n\r\n"
    )
    with server.connection() as connection:
        sender = threading.Thread(target=lambda: connection.sendall(b"".join(requests)))
        sender.start()
        with connection.makefile("rb") as stream:
            for number in range(2_000):
                head = b"".join(iter(stream.readline, b"\r\n"))
                assert head.startswith(b"HTTP/1.1 200 ")
                length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
                assert b'"path": "/jobs/%d"' % number in stream.read(length)
        sender.join()
    assert all_ended(server)


@pytest.mark.parametrize("behind", [SMALL, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2_000])
def test_who_sends_ahead_is_not_called_late_for_our_slowness(start: Start, behind: bytes) -> None:
    server = start(head_seconds=0.2, body_seconds=0.2)
    with server.connection() as connection:
        connection.sendall(HELD + behind * 3)
        threading.Event().wait(0.4)
        server.proceed.set()
        assert one_answer(connection).startswith(b"HTTP/1.1 200 ")


def test_what_is_held_of_all_connections_is_bounded(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "HELD_BYTES_MAX", 100_000)
    server = start()
    with contextlib.ExitStack() as held:
        for _ in range(8):
            connection = held.enter_context(server.connection())
            with contextlib.suppress(OSError):  # that one was ended already
                connection.sendall(HELD + SMALL * 2_000)
        end = time.monotonic() + 10
        while time.monotonic() < end and (len(server.seen) < 8 or len(connections(server)) == 8):
            time.sleep(0.01)
        assert 1 <= len(connections(server)) < 8
        server.proceed.set()
    assert all_ended(server)


@pytest.mark.parametrize("ends", [b"", b"Connection: close\r\n"])
def test_a_client_that_does_not_take_its_answer_is_ended(start: Start, ends: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "FAREWELL_SECONDS", 0.3)
    server = start(taking_seconds=0.3)
    server.server.config.timeout_keep_alive = 1
    with server.connection(receives=2_048) as connection:
        head = b"POST / HTTP/1.1\r\nHost: a\r\n" + ends + b"Content-Length: 1000000\r\n\r\n"
        connection.sendall(head + b"\0" * 1_000_000)  # answered with six times as much: more than the kernel holds
        begun = time.monotonic()
        while not server.seen:
            time.sleep(0.01)
        assert all_ended(server)
        assert time.monotonic() - begun > 0.2


def test_a_small_answer_that_is_not_taken_does_not_outlive_the_connection(start: Start) -> None:
    server = start(taking_seconds=0.3)
    with server.connection(receives=2_048) as connection:
        sent_until_it_stalls(connection, SMALL * 100, 50_000_000)
        assert all_ended(server)


def test_what_the_kernel_holds_has_to_be_taken_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "TAKING_MS", 300)
    [listener] = listen("127.0.0.1", 0)
    with listener, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
        client.connect(listener.getsockname())
        accepted, _ = listener.accept()
        with accepted:
            accepted.settimeout(10)
            accepted.sendall(b"x" * 100_000)
            with pytest.raises(OSError, match="timed out") as ended:
                accepted.recv(1)
    assert ended.value.errno == errno.ETIMEDOUT


def test_a_client_that_reads_slowly_gets_all_of_it(start: Start) -> None:
    server = start(taking_seconds=5)
    with server.connection(receives=16_384) as connection:
        head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1000000\r\n\r\n"
        connection.sendall(head + b"\0" * 1_000_000)
        received = 0
        begun = time.monotonic()
        while part := connection.recv(65_536):
            received += len(part)
            if time.monotonic() - begun < 2.5:
                time.sleep(0.02)
    assert received > 6_000_000


def test_a_server_that_stops_waits_little_for_who_says_no_farewell(start: Start) -> None:
    server = start()
    with server.connection() as connection:
        connection.sendall(SMALL)
        assert one_answer(connection).startswith(b"HTTP/1.1 200 ")
        begun = time.monotonic()
        server.stop()
        assert time.monotonic() - begun < 4
