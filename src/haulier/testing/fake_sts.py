"""A small STS on a real socket: credentials that live as short as a test wants, refusals, and a count of what it was asked.

with FakeSts(life_seconds=4) as sts, FaultyS3(...) as store:
    store.guard = sts.guard                    # the store knows which tokens are over
    ...
    assert sts.busiest == 1
"""

import itertools
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Final, Self
from urllib.parse import parse_qsl

from haulier.core.errors import StoreError
from haulier.testing.s3answers import Seen

_ANSWER: Final = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>{token}</SessionToken>
<Expiration>{until}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"""
_REFUSAL: Final = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>{code}</Code>
<Message>{message}</Message></Error></ErrorResponse>"""


class FakeSts:
    """`asked` are the fields of every question, `signed` its Authorization header; both grow in order."""

    def __init__(self, life_seconds: float = 3600.0) -> None:
        self.life_seconds = life_seconds
        self.refusal: tuple[int, str, str] | None = None
        """Status, code and message of every answer from now on; an empty code = an empty body."""
        self.answer_seconds = 0.0
        """How long every answer takes."""
        self.asked: list[Mapping[str, str]] = []
        self.signed: list[str] = []
        self.busiest = 0
        """Questions under way at the same time, at most."""
        self._busy = 0
        self._until: dict[str, float] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        sts = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                status, answer = sts._answer(dict(parse_qsl(body)), self.headers["authorization"])
                self.send_response(status)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="fake-sts", daemon=True)

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def _answer(self, fields: Mapping[str, str], signed: str) -> tuple[int, bytes]:
        with self._lock:
            self.asked.append(fields)
            self.signed.append(signed)
            self._busy += 1
            self.busiest = max(self.busiest, self._busy)
        time.sleep(self.answer_seconds)
        with self._lock:
            self._busy -= 1
            if self.refusal is not None:
                status, code, message = self.refusal
                return status, _REFUSAL.format(code=code, message=message).encode() if code else b""
            number = next(self._numbers)
            token = f"token-{number}"
            self._until[token] = time.monotonic() + self.life_seconds
            until = datetime.fromtimestamp(time.time() + self.life_seconds, UTC).isoformat()
            return 200, _ANSWER.format(key=f"ASIA{number:04}", token=token, until=until).encode()

    def end(self) -> None:
        """All that was given out is over at once, before its time."""
        with self._lock:
            self._until = dict.fromkeys(self._until, 0.0)

    def guard(self, seen: Seen) -> StoreError | None:
        """What a store answers to a request without a token of ours that lives (`FaultyS3.guard`)."""
        token = seen.headers.get("x-amz-security-token", "")
        with self._lock:
            until = self._until.get(token)
        if until is None:
            return StoreError(403, "AccessDenied", "no token of this STS")
        return None if time.monotonic() < until else StoreError(400, "ExpiredToken", "The provided token has expired.")
