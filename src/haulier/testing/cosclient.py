"""A small COS Batch client: signs with q-sign (cos-batch, "Request signature") and sends over plain HTTP.

It is written from the documents alone, apart from the server's verifier, so that each is a judge of the other.
"""

import hashlib
import hmac
import http.client
import time
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

VALID_SECONDS: Final = 3600


class CosAnswer(NamedTuple):
    """What the server answered."""

    status: int
    headers: Mapping[str, str]
    """Lower-case names."""
    body: bytes

    @property
    def xml(self) -> ET.Element:
        """The body, parsed. Raises ParseError when it is no XML."""
        return ET.fromstring(self.body)

    def text(self, path: str) -> str | None:
        """The text of the first element at an ElementTree path (`Job/Status`), None where it is missing."""
        return self.xml.findtext(path)


class CosError(RuntimeError):
    """The server refused; `code` is its error code."""

    def __init__(self, answer: CosAnswer) -> None:
        self.answer = answer
        self.code = answer.text("Code") if answer.body else None
        super().__init__(f"{answer.status} {self.code}: {answer.text('Message') if answer.body else ''}")


def authorization(
    secret_id: str,
    secret_key: str,
    method: str,
    path: str,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    *,
    starts: int,
    ends: int,
) -> str:
    """The value of the Authorization header over all given headers and parameters. `path` is decoded; times are Unix seconds."""
    key_time = f"{starts};{ends}"
    sign_key = _hmac_hex(secret_key.encode(), key_time)
    parameter_names, parameters = _canonical(query)
    header_names, header_lines = _canonical(headers)
    http_string = f"{method.lower()}\n{path}\n{parameters}\n{header_lines}\n"
    to_sign = f"sha1\n{key_time}\n{hashlib.sha1(http_string.encode()).hexdigest()}\n"
    return (
        f"q-sign-algorithm=sha1&q-ak={secret_id}&q-sign-time={key_time}&q-key-time={key_time}"
        f"&q-header-list={header_names}&q-url-param-list={parameter_names}&q-signature={_hmac_hex(sign_key.encode(), to_sign)}"
    )


def _canonical(pairs: Mapping[str, str]) -> tuple[str, str]:
    encoded = sorted((_encode(name).lower(), _encode(value)) for name, value in pairs.items())
    return ";".join(name for name, _ in encoded), "&".join(f"{name}={value}" for name, value in encoded)


def _encode(text: str) -> str:
    return quote(text, safe="-_.~")


def _hmac_hex(key: bytes, message: str) -> str:
    return hmac.new(key, message.encode(), "sha1").hexdigest()


class CosClient:
    """Calls the COS side of a Haulier server as one user. Every call has a connection of its own; safe in many threads."""

    def __init__(self, url: str, appid: str, secret_id: str, secret_key: str, *, timeout_seconds: float = 60.0) -> None:
        """`url` is `http://host:port`."""
        self.address = urlsplit(url).netloc
        self.appid = appid
        self.secret_id = secret_id
        self.secret_key = secret_key
        self.timeout_seconds = timeout_seconds

    def signed_headers(
        self, method: str, path: str, body: bytes, query: Mapping[str, str], more: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """All headers that the request should carry, Authorization included; `more` are further ones, with lower-case names."""
        headers = {"host": self.address, "x-cos-appid": self.appid, **(more or {})}
        if method == "POST":
            headers["content-length"] = str(len(body))
        if body:
            headers["content-type"] = "application/xml"
        now = int(time.time())
        value = authorization(
            self.secret_id, self.secret_key, method, path, query, headers, starts=now - 60, ends=now + VALID_SECONDS
        )
        return {**headers, "authorization": value}

    def send(
        self,
        method: str,
        path: str,
        body: bytes | str = b"",
        query: Mapping[str, str] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> CosAnswer:
        """One signed request, with these headers too; the answer whatever its status."""
        data = body.encode() if isinstance(body, str) else body
        all_headers = self.signed_headers(method, path, data, query or {}, headers)
        target = quote(path) + (f"?{urlencode(query)}" if query else "")
        connection = http.client.HTTPConnection(self.address, timeout=self.timeout_seconds)
        try:
            connection.request(method, target, data or None, all_headers)
            answer = connection.getresponse()
            return CosAnswer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def call(self, method: str, path: str, body: bytes | str = b"", query: Mapping[str, str] | None = None) -> CosAnswer:
        """As `send`; raises CosError for every status but 2xx."""
        answer = self.send(method, path, body, query)
        if not 200 <= answer.status < 300:
            raise CosError(answer)
        return answer

    def create_job(self, body: bytes | str) -> str:
        """CreateJob; the new job's id."""
        job_id = self.call("POST", "/jobs", body).text("JobId")
        assert job_id is not None
        return job_id

    def describe_job(self, job_id: str) -> CosAnswer:
        """DescribeJob."""
        return self.call("GET", f"/jobs/{job_id}")

    def confirm_job(self, job_id: str, reason: str = "confirmed") -> CosAnswer:
        """UpdateJobStatus to Ready."""
        query = {"requestedJobStatus": "Ready", "statusUpdateReason": reason}
        return self.call("POST", f"/jobs/{job_id}/status", query=query)
