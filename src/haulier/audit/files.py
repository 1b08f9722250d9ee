"""The audit log's files: `audit/<first sequence>.jsonl` in the data directory, a new one whenever one has grown large."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from haulier.audit.chain import LINE_BYTES_MAX, BrokenChain, Link, follow, read
from haulier.core.errors import AuditBroken

FILE_BYTES_MAX: Final = 64 * 1024 * 1024
"""A file that is larger is followed by a new one."""


def files(folder: Path) -> Sequence[Path]:
    """The log's files, oldest first."""
    return sorted(folder.glob("[0-9]*.jsonl"))


class Tail:
    """The end of the log, open for appending. For one thread of the process that holds the data directory's lock."""

    def __init__(self, folder: Path) -> None:
        """Opens the newest file, and cuts off a last line that a crash left half-written. Raises AuditBroken, OSError."""
        folder.mkdir(mode=0o700, exist_ok=True)
        self._folder = folder
        self._descriptor: int | None = None
        self._size = 0
        self._torn = False
        self.end = Link()
        self.torn_bytes = 0
        """Bytes of a half-written line that were cut off when the log was opened."""
        for path in reversed(files(folder)):
            self.end = self._open(path)
            if self.end.sequence:
                return
            self.close()  # its first line was never finished: the file before it holds the end

    def _open(self, path: Path) -> Link:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size
        start = max(0, self._size - 3 * LINE_BYTES_MAX)
        tail = os.pread(descriptor, self._size - start, start)
        whole = tail.rfind(b"\n") + 1
        if start and not tail.rfind(b"\n", 0, max(0, whole - 1)) + 1:
            raise AuditBroken(f"{path} cannot be continued: its last lines are longer than any that this log writes")
        if whole < len(tail):
            self.torn_bytes += len(tail) - whole
            self._size = start + whole
            os.ftruncate(descriptor, self._size)
        if not whole:
            return Link()
        last = tail[tail.rfind(b"\n", 0, whole - 1) + 1 : whole]
        try:
            return read(last)[0]
        except BrokenChain as error:
            raise AuditBroken(f"{path} cannot be continued, its last line was changed: {error}") from None

    def append(self, lines: bytes, end: Link) -> None:
        """Write whole lines that end at `end`, durably. Raises OSError, and has then written nothing, or what the next call (or
        whoever opens the log) cuts off first."""
        if self._descriptor is None or self._size > FILE_BYTES_MAX:
            self._begin_file()
        descriptor = self._descriptor
        assert descriptor is not None
        if self._torn:
            os.ftruncate(descriptor, self._size)  # half a line would break the chain for ever
        self._torn = True
        try:
            written = 0
            while written < len(lines):
                written += os.write(descriptor, lines[written:])
            os.fdatasync(descriptor)
        except OSError:
            with contextlib.suppress(OSError):  # a disk that refuses this too is asked again by the next call
                os.ftruncate(descriptor, self._size)
            raise
        self._torn = False
        self._size += len(lines)
        self.end = end

    def _begin_file(self) -> None:
        self.close()
        path = self._folder / f"{self.end.sequence + 1:020}.jsonl"
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._descriptor).st_size
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def close(self) -> None:
        """Close the file; the next `append` begins a new one."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Verified(msgspec.Struct, frozen=True):
    """A log that is whole."""

    end: Link
    lines: int
    tip_found: bool
    """Whether a line has the hash that was asked for."""


def verify(folder: Path, tip: str | None = None) -> Verified:
    """Check every line of the whole log. Raises AuditBroken naming file and line.

    Files may have been taken away from the beginning (retention), never from the middle.
    """
    end: Link | None = None
    lines = 0
    tip_found = False
    for path in files(folder):
        with path.open("rb") as file:
            for number, raw in enumerate(_lines(file), 1):
                try:
                    end = follow(raw, end)
                except BrokenChain as error:
                    raise AuditBroken(f"{path}, line {number}: {error}") from None
                lines += 1
                tip_found |= end.hash == tip
    return Verified(end or Link(), lines, tip_found)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Whole lines; a last one without its break is what a crash, or a server at work, has not finished."""
    rest = b""
    while piece := file.read(1 << 20):
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
