"""A proxy before a real store that keeps what it was asked, in order: what reached the store, and what did not.

with RecordingProxy(store.endpoint) as proxy:
    ...
    assert not proxy.touching("their-bucket")
"""

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import unquote, urlsplit

import msgspec

_HOP_BY_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})


class Passed(msgspec.Struct, frozen=True):
    """A request that went through."""

    method: str
    target: str
    """As sent, still percent-encoded."""
    copy_source: str
    """The other object that it names; empty where it names none."""

    def touches(self, bucket: str) -> bool:
        """Whether the bucket stands anywhere in it, be it behind dots that a store may take for a way up."""
        names = f"{unquote(self.target.partition('?')[0])}/{unquote(self.copy_source)}"
        return bucket in names.split("/")


class RecordingProxy:
    """Forwards to one store, with the Host it was asked for: signatures stay good."""

    def __init__(self, endpoint: str) -> None:
        self.passed: list[Passed] = []
        where = urlsplit(endpoint)
        assert where.hostname is not None
        self._server = _Server(("127.0.0.1", 0), _handler(self, where.hostname, where.port or 80))
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def touching(self, bucket: str) -> list[Passed]:
        """What named the bucket."""
        return [passed for passed in self.passed if passed.touches(bucket)]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def _handler(proxy: RecordingProxy, host: str, port: int) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60

        def _forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            # Kept before it is passed on: what the store was asked is known, whatever becomes of the answer.
            proxy.passed.append(Passed(self.command, self.path, self.headers.get("x-amz-copy-source") or ""))
            store = http.client.HTTPConnection(host, port, timeout=60)
            try:
                store.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() not in _HOP_BY_HOP:
                        store.putheader(name, value)
                store.putheader("content-length", str(len(body)))
                store.endheaders(body)
                answer = store.getresponse()
                self._answer(answer.status, answer.getheaders(), answer.read())
            finally:
                store.close()

        def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, value)
            length = next((value for name, value in headers if name.lower() == "content-length"), str(len(body)))
            self.send_header("content-length", length if self.command == "HEAD" else str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing: what passed is kept."""

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _forward  # noqa: N815 - the names that http.server looks for

    return Handler
