"""A real HTTP server that answers S3 Batch requests with prepared XML, and remembers what it was asked."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

NAMESPACE = "http://awss3control.amazonaws.com/doc/2018-08-20/"
ACCOUNT = "123456789012"
JOB = "0f5c1c0e-6d0d-4d6f-9a51-0d7f4a3d2b10"


class Asked(NamedTuple):
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes


class Answer(NamedTuple):
    status: int
    body: str


HANG_UP = Answer(0, "")
"""The connection is closed without an answer."""


class CannedServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[Answer] = []
        self.asked: list[Asked] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, *answers: Answer) -> None:
        """In this order; the last one again and again."""
        self.answers = list(answers)


class _Handler(BaseHTTPRequestHandler):
    server: CannedServer
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        with self.server.lock:
            self.server.asked.append(
                Asked(
                    self.command,
                    url.path,
                    parse_qs(url.query),
                    {name.lower(): value for name, value in self.headers.items()},
                    body,
                )
            )
            answers = self.server.answers
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
        self.close_connection = True
        if answer is HANG_UP:
            return
        content = answer.body.encode()
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")  # or the client may send the next request into the closing connection
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def canned_server() -> Iterator[CannedServer]:
    with CannedServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def described(status: str, total: int = 0, succeeded: int = 0, failed: int = 0, more: str = "") -> Answer:
    return Answer(
        200,
        f'<DescribeJobResult xmlns="{NAMESPACE}"><Job><JobId>{JOB}</JobId><Status>{status}</Status><Priority>10</Priority>'
        f"<ProgressSummary><TotalNumberOfTasks>{total}</TotalNumberOfTasks><NumberOfTasksSucceeded>{succeeded}"
        f"</NumberOfTasksSucceeded><NumberOfTasksFailed>{failed}</NumberOfTasksFailed></ProgressSummary>"
        f"<CreationTime>2026-11-23T10:00:00.000Z</CreationTime>{more}</Job></DescribeJobResult>",
    )


def updated(status: str) -> Answer:
    return Answer(
        200, f'<UpdateJobStatusResult xmlns="{NAMESPACE}"><JobId>{JOB}</JobId><Status>{status}</Status></UpdateJobStatusResult>'
    )


def listed(*jobs: str, token: str = "") -> Answer:
    more = f"<NextToken>{token}</NextToken>" if token else ""
    members = "".join(f"<member>{job}</member>" for job in jobs)
    return Answer(200, f'<ListJobsResult xmlns="{NAMESPACE}">{more}<Jobs>{members}</Jobs></ListJobsResult>')


def refused(status: int, code: str, message: str) -> Answer:
    return Answer(
        status,
        f'<ErrorResponse xmlns="{NAMESPACE}"><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>'
        "<RequestId>r</RequestId></ErrorResponse>",
    )
