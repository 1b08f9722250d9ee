"""Behind HAProxy, configured as the documentation says: signed requests pass, and no second request comes out of one (row 45)."""

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from haulier.api.http import HaulierHttpProtocol
from haulier.testing.stores import free_ports
from wire.serving import Serving
from wire.test_http import Server, everything

PROGRAM = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
PAGE = Path(__file__).parents[2] / "docs" / "howto" / "behind-a-proxy.md"

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="haproxy is not installed (Debian: apt-get install haproxy)")


def configuration(front: int, back: int) -> str:
    found = re.search(r"<!-- run: haproxy -->\n```haproxy\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1].replace("127.0.0.1:8443", f"127.0.0.1:{front}").replace("127.0.0.1:9444", f"127.0.0.1:{back}")


class Proxy:
    def __init__(self, folder: Path, back: int) -> None:
        [self.port] = free_ports(1)
        config = folder / "haproxy.cfg"
        config.write_text(configuration(self.port, back))
        assert PROGRAM is not None
        self.process = subprocess.Popen([PROGRAM, "-db", "-q", "-f", str(config)], stdin=subprocess.DEVNULL)
        end = time.monotonic() + 10
        while time.monotonic() < end and self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError("haproxy did not start")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture(scope="module")
def bare() -> Iterator[Server]:
    server = Server(HaulierHttpProtocol, "uvloop")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def behind(bare: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    proxy = Proxy(tmp_path_factory.mktemp("haproxy"), bare.port)
    yield proxy
    proxy.stop()


SECOND = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKS = b"0\r\n\r\n"


@pytest.mark.parametrize(
    "request_text",
    [
        b"POST /jobs HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n" % len(CHUNKS + SECOND)
        + CHUNKS
        + SECOND,
        b"POST /jobs HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n"
        + b"%x\r\n" % len(SECOND)
        + SECOND
        + b"\r\n0\r\n\r\n",
        b"POST /jobs HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\nContent-Length: %d\r\n\r\n" % len(CHUNKS + SECOND)
        + CHUNKS
        + SECOND,
        b"POST /jobs HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\nContent-Length: %d\r\n\r\n" % len(CHUNKS + SECOND)
        + CHUNKS
        + SECOND,
        b"POST /jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(SECOND) + SECOND,
        b"POST /jobs HTTP/1.1\nHost: a\nContent-Length: 0\n\n",
        b"GET /jobs HTTP/1.1\r\nHost: a\r\nX: y\n\nGET /smuggled HTTP/1.1\r\nX: z\r\n\r\n",
        b"POST /jobs HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;\n\nabcde\r\n0\r\n\r\n",
        b"POST /jobs HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n" + SECOND,
        b"POST /jobs HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n00000000000000001\r\nx\r\nfffffffffffffffff\r\n"
        + SECOND,
        b"GET http://other/jobs HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /jobs HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /jobs HTTP/1.1\r\nHost: a\r\n Folded: x\r\n\r\n",
    ],
    ids=range(13),
)
@pytest.mark.parametrize("alone", [True, False], ids=["alone", "behind"])
def test_no_second_request_comes_out_of_one(bare: Server, behind: Proxy, request_text: bytes, alone: bool) -> None:
    bare.seen.clear()
    with socket.create_connection(("127.0.0.1", bare.port if alone else behind.port), timeout=15) as connection:
        connection.sendall(request_text)
        connection.shutdown(socket.SHUT_WR)
        answer = everything(connection)
    assert "/smuggled" not in bare.seen
    assert answer.count(b"HTTP/1.1 2") <= len(bare.seen) <= 1
    if alone:
        assert (
            not bare.seen or answer[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 501") or b"\n\n" in request_text or b";" in request_text
        )


def test_signed_requests_of_both_wires_pass(fresh: Serving, tmp_path: Path) -> None:
    proxy = Proxy(tmp_path, fresh.port)
    try:
        direct = fresh.url
        fresh.url = f"http://127.0.0.1:{proxy.port}"
        assert fresh.s3().list_jobs()["Jobs"] == []
        assert fresh.cos().call("GET", "/jobs", query={"maxResults": "5"}).status == 200
        fresh.url = direct
    finally:
        proxy.stop()
