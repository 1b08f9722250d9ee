"""What is fuzzed: each target takes any bytes and raises AssertionError, or whatever escapes, when it has found something.

A request is written as text: `METHOD target`, a line per header, an empty line, the body. The wires are the real ones over a real
job store; for the XML targets only the signature is left out, for nothing would get past it.
"""

import atexit
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from fuzz.policies import policy
from haulier.api.auth import Authenticator, RawRequest
from haulier.api.cos.routes import CosWire
from haulier.api.s3control.routes import S3ControlWire
from haulier.api.wire import Wire
from haulier.core.accounts import Account, Caller
from haulier.core.directory import Directory
from wire.serving import NullAudit, SettableClock, accounts, new_service

NOW_MS: Final = 1_800_000_000_000
"""The seeds of the signature targets were signed then."""
CORPUS: Final = Path(__file__).parent / "corpus"

Target = Callable[[bytes], None]


class _World:
    """The two wires over one job store in a temporary folder."""

    def __init__(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="haulier-fuzz-")
        atexit.register(folder.cleanup)
        clock = SettableClock()
        clock.fixed_ms = NOW_MS
        self.accounts = accounts()
        service, jobstore = new_service(Path(folder.name), clock)
        atexit.register(jobstore.close)
        authenticator = Authenticator(Directory(self.accounts), clock)
        self.s3 = S3ControlWire(service, authenticator, NullAudit())
        self.cos = CosWire(service, authenticator, NullAudit())


_world: _World | None = None


def world() -> _World:
    """Made when it is first needed, then shared."""
    global _world  # noqa: PLW0603 - a fuzzer calls a plain function
    _world = _world or _World()
    return _world


class _LetIn:
    """Stands where the signature is checked, and lets everybody in as the first account's first user."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def authenticate_s3(self, _request: RawRequest) -> Caller:
        return Caller(self._account, self._account.users[0], "s3control", "us-east-1")

    def authenticate_cos(self, _request: RawRequest) -> Caller:
        return Caller(self._account, self._account.users[0], "cos", "ap-chengdu")


def request_of(data: bytes) -> RawRequest:
    """The request that the text describes; a method that the HTTP parser would not let through is GET."""
    head, _, body = data.partition(b"\n\n")
    first, *lines = head.split(b"\n")
    method, _, target = first.partition(b" ")
    if method not in (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS"):
        method = b"GET"
    path, _, query = target.partition(b"?")
    pairs = (each.partition(b":") for each in lines)
    headers = [(name.strip().lower(), value.strip(b" \t")) for name, _, value in pairs if name.strip()]
    return RawRequest(method.decode("latin-1"), path, query, headers, body, secure=False, peer="127.0.0.1")


def _answered(wire: Wire, request: RawRequest) -> None:
    reply = wire.answer(request)
    assert 200 <= reply.status < 500 or reply.status == 501, (reply.status, reply.body)
    assert reply.body or reply.status in (200, 204)


def _xml(wire_of: Callable[[_World], Wire], path: bytes) -> Target:
    def target(data: bytes) -> None:
        wire = wire_of(world())
        checked, wire.authenticator = wire.authenticator, _LetIn(world().accounts[0])
        try:
            _answered(wire, RawRequest("POST", path, b"", [], data, secure=False, peer="127.0.0.1"))
        finally:
            wire.authenticator = checked

    return target


TARGETS: Final[Mapping[str, Target]] = {
    "xml_s3": _xml(lambda world: world.s3, b"/v20180820/jobs"),
    "xml_cos": _xml(lambda world: world.cos, b"/jobs"),
    "sigv4": lambda data: _answered(world().s3, request_of(data)),
    "qsign": lambda data: _answered(world().cos, request_of(data)),
    "policy": policy,
}


def corpus(name: str) -> list[bytes]:
    """The committed seeds of a target, and what was once found with it."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]
