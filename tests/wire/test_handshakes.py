"""Connections whose TLS handshake is late, bad, or never comes: they count, and end in time."""

import contextlib
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from haulier.api import tls
from haulier.api.http import HaulierHttpProtocol, protocol
from haulier.api.tls import server_context
from wire.test_http import Server, everything
from wire.test_tls import Authority

REQUEST = b"POST /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
Start = Callable[..., tuple[Server, type[HaulierHttpProtocol]]]


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(params=["uvloop", "asyncio"])
def start(ca: Authority, request: pytest.FixtureRequest) -> Iterator[Start]:
    running: list[Server] = []

    def started(**limits: Any) -> tuple[Server, type[HaulierHttpProtocol]]:
        http = protocol()
        for name, value in limits.items():
            setattr(http, name, value)
        running.append(Server(http, request.param, server_context(*ca.issue())))
        return running[-1], http

    yield started
    for server in running:
        server.stop()


def client_context(ca: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(ca.file))


def ask(server: Server, ca: Authority, body: bytes = b"") -> bytes:
    with client_context(ca).wrap_socket(server.connect(), server_hostname="localhost") as secured:
        secured.sendall(REQUEST % (len(body), body))
        return everything(secured)


def emptied(connected: Counter[str]) -> bool:
    end = time.monotonic() + 10
    while connected.total() and time.monotonic() < end:
        time.sleep(0.01)
    return not connected


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01"])
def test_a_handshake_that_is_not_finished_ends_with_its_connection(start: Start, sent: bytes) -> None:
    server, http = start(head_seconds=0.3)
    with server.connect() as connection:
        connection.sendall(sent)
        assert everything(connection) == b""
    assert emptied(http.connected)


def test_connections_count_before_their_handshake(start: Start, ca: Authority) -> None:
    server, http = start(connections_max=3)
    with contextlib.ExitStack() as held:
        waiting = [held.enter_context(server.connect()) for _ in range(3)]
        with server.connect() as refused:
            assert everything(refused) == b""
        assert sum(http.connected.values()) == 3
        waiting[0].close()
        end = time.monotonic() + 10
        while http.connected.total() == 3 and time.monotonic() < end:
            time.sleep(0.01)
        assert ask(server, ca).startswith(b"HTTP/1.1 200 ")
    assert emptied(http.connected)


def test_what_is_no_tls_ends_the_connection_and_no_other(start: Start, ca: Authority) -> None:
    server, http = start()
    with server.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 100)
        assert not everything(connection).startswith(b"HTTP/")
    assert ask(server, ca).startswith(b"HTTP/1.1 200 ")
    assert emptied(http.connected)


def test_a_request_may_come_in_one_packet_with_the_end_of_the_handshake(
    start: Start, ca: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "FAREWELL_SECONDS", 1.0)  # this client says none
    server, http = start()
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context(ca).wrap_bio(received, sent, server_hostname="localhost")
    body = b"b" * 100_000
    with server.connect() as connection:
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                connection.sendall(sent.read())
                received.write(connection.recv(65536))
        client.write(REQUEST % (len(body), body))
        connection.sendall(sent.read())
        received.write(everything(connection))
    answer = b""
    with contextlib.suppress(ssl.SSLZeroReturnError, ssl.SSLWantReadError):
        while part := client.read(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert body in answer
    assert b'"secure": true' in answer
    assert emptied(http.connected)


def test_a_server_that_stops_waits_for_no_handshake(start: Start) -> None:
    server, http = start()
    with server.connect() as connection:
        end = time.monotonic() + 10
        while not http.connected and time.monotonic() < end:
            time.sleep(0.01)
        begun = time.monotonic()
        server.stop()
        assert time.monotonic() - begun < 5
        assert everything(connection) == b""


def test_clients_that_reset_are_forgotten(start: Start, ca: Authority) -> None:
    server, http = start()
    for _ in range(20):
        connection = server.connect()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
    assert ask(server, ca).startswith(b"HTTP/1.1 200 ")
    assert emptied(http.connected)
