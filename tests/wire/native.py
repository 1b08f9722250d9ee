"""A client of the native API that signs as botocore does and shows all of an answer."""

import contextlib
import http.client
import json
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

A_JOB: dict[str, Any] = {
    "operation": {"name": "put_tagging", "parameters": {"tags": {"k": "v"}}},
    "manifest": {"bucket": "lists", "key": "m.csv", "etag": "60e4"},
    "role": "batch",
}
"""A new job in the API's own words."""


class Answered(NamedTuple):
    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def etag(self) -> str:
        return self.headers["etag"]


class Message(NamedTuple):
    """A server-sent event."""

    kind: str
    id: int
    data: Any


class NativeClient:
    """One user of the API on this machine."""

    def __init__(self, port: int, access_key: str, secret_key: str) -> None:
        self.port = port
        self.credentials = Credentials(access_key, secret_key)

    def signed(self, method: str, target: str, body: bytes, headers: dict[str, str], host: str) -> dict[str, str]:
        request = AWSRequest(method, f"http://{host}{target}", data=body, headers={**headers, "Host": host})
        S3SigV4Auth(self.credentials, "s3", "us-east-1").add_auth(request)
        return dict(request.headers.items())

    def presigned(self, path: str) -> str:
        """A target that can be asked for without headers."""
        request = AWSRequest("GET", f"http://127.0.0.1:{self.port}{path}")
        S3SigV4QueryAuth(self.credentials, "s3", "us-east-1", expires=60).add_auth(request)
        return str(request.url).partition(f":{self.port}")[2]

    def begin(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Any = None,
        headers: dict[str, str] | None = None,
        timeout: float = 20,
        host: str | None = None,
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """The connection and the answer's head; its body can be read from it."""
        content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        target = quote(path, safe="/%") + (f"?{urlencode(query, quote_via=quote)}" if query else "")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        names = self.signed(method, target, content, headers or {}, host or f"127.0.0.1:{self.port}")
        connection.request(method, target, content, names)
        return connection, connection.getresponse()

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> Answered:
        connection, answer = self.begin(method, f"/api/v1/{path}", body, **options)
        with contextlib.closing(connection), answer:
            names = {name.lower(): value for name, value in answer.getheaders()}
            return Answered(answer.status, names, answer.read())

    def get(self, path: str, **options: Any) -> Answered:
        return self.call("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> Answered:
        return self.call("POST", path, body, **options)

    def create(self, **changes: Any) -> str:
        """The id of a new job."""
        answer = self.post("jobs", {**A_JOB, **changes}, headers={"Idempotency-Key": str(uuid.uuid4())})
        assert answer.status == 201, answer.body
        return str(answer.json["id"])


@contextlib.contextmanager
def stream(client: NativeClient, job_id: str, **options: Any) -> Iterator[tuple[http.client.HTTPResponse, Iterator[Message]]]:
    """A job's progress: the answer and its messages, as they come."""
    connection, answer = client.begin("GET", f"/api/v1/jobs/{job_id}/progress", **options)
    with contextlib.closing(connection), answer:
        yield answer, messages(answer)


def messages(answer: http.client.HTTPResponse) -> Iterator[Message]:
    """The messages of a stream, as they come; comments are passed over."""
    fields: dict[str, str] = {}
    while line := answer.readline():
        text = line.decode().rstrip("\n")
        if text:
            name, _, value = text.partition(": ")
            fields[name] = value
        elif "event" in fields:
            yield Message(fields["event"], int(fields["id"]), json.loads(fields["data"]))
            fields = {}
        else:
            fields = {}
