"""What an operation may await. Operations and object stores are coroutines that know no event loop: they yield one of these
values and are resumed with its answer by a *driver*: curl's own loop in production, fake time in the simulation.

Only these exist (decisions §3, "Data loop"): `Request`, `Sleep`, `Gather`.
"""

from collections.abc import Coroutine, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

T = TypeVar("T")
Effect = Coroutine[Any, Any, T]
"""A coroutine that awaits nothing but the effects of this module."""


class Stopped(Exception):
    """A coroutine was wound down before its end: what it was about may have been done in part."""


class FileBody:
    """A request body that is read from a file while it is sent, so that memory stays flat."""

    __slots__ = ("path", "size")

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size


class HashedFile(FileBody):
    """A file and its digests, in hexadecimal: made by the caller, on a thread that may wait for the disk."""

    __slots__ = ("md5", "sha256")

    def __init__(self, path: Path, size: int, *, sha256: str, md5: str) -> None:
        super().__init__(path, size)
        self.sha256 = sha256
        self.md5 = md5


class Request:
    """One signed HTTP request, ready to send; awaiting it gives an `Answer`, never an exception.

    `headers` are `name: value` lines, the signature included; `url` is absolute. `ca_file` is used for https only. `once`: the
    transport must not repeat it by itself, not even when a kept connection closes before the first byte of the answer.
    """

    __slots__ = ("body", "ca_file", "headers", "method", "once", "timeout_seconds", "url")

    def __init__(
        self,
        method: str,
        url: str,
        headers: list[str],
        body: bytes | FileBody | None = None,
        *,
        ca_file: str | None = None,
        timeout_seconds: float = 60.0,
        once: bool = False,
    ) -> None:
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.ca_file = ca_file
        self.timeout_seconds = timeout_seconds
        self.once = once

    def __await__(self) -> Generator[Self, Any, "Answer"]:
        return (yield self)  # type: ignore[no-any-return]


class Answer:
    """What came back. `status` 0 means that no complete answer came: `failure` says why, `sent` whether the request may have
    reached the store all the same."""

    __slots__ = ("body", "failure", "raw_headers", "sent", "status")

    def __init__(
        self, status: int, raw_headers: bytes = b"", body: bytes = b"", *, failure: str | None = None, sent: bool = True
    ) -> None:
        self.status = status
        self.raw_headers = raw_headers
        self.body = body
        self.failure = failure
        self.sent = sent

    @property
    def headers(self) -> Mapping[str, str]:
        """Parsed on demand (most successes never ask): lower-case names, the last of repeated ones wins."""
        found: dict[str, str] = {}
        for line in self.raw_headers.split(b"\r\n"):
            name, colon, value = line.partition(b":")
            if colon:
                found[name.strip().lower().decode("latin-1")] = value.strip().decode("latin-1")
        return found


class Sleep:
    """Awaiting it resumes after `seconds`."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __await__(self) -> Generator[Self, Any, None]:
        yield self


class Gather(Generic[T]):
    """Runs coroutines side by side, at most `width` at a time; awaiting it gives their results in order.

    The first exception is raised once all have ended.
    """

    __slots__ = ("coroutines", "width")

    def __init__(self, coroutines: Sequence[Effect[T]], width: int = 16) -> None:
        self.coroutines = coroutines
        self.width = width

    def __await__(self) -> Generator[Self, Any, list[T]]:
        return (yield self)  # type: ignore[no-any-return]
