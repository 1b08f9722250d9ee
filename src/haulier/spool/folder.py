"""A spool in a local folder (decisions §3, "data_dir"): folders 0700, files 0600, durable before anything names them."""

import errno
import itertools
import mmap
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from haulier.core.errors import SpoolError, SpoolUnavailable

_UNFINISHED: Final = "."
"""Names of unfinished files begin so; no valid name does."""
FREE_SHARE_MIN: Final = 0.05
FREE_BYTES_ENOUGH: Final = 1 << 30
"""Less than 5 % of a large disk is plenty: docs/decisions/0008."""


class FolderSpool:
    """Implements `core.ports.Spool`. Several processes may use one folder; every file is written by one of them, once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._counter = itertools.count()

    def write(self, name: str, data: bytes | memoryview) -> None:
        """Durable when it returns. Writing the same bytes again is fine.

        Raises SpoolError when the file exists with other bytes, and when the disk refuses.
        """
        path = self._path(name)
        with _translated(name):
            if path.exists():
                if path.read_bytes() != memoryview(data).cast("B"):
                    raise SpoolError(name, "exists already with other content; a file of the spool is never changed")
            else:
                try:
                    self._write(path, data)
                except FileNotFoundError:  # `delete` took the emptied folder away between our mkdir and our open
                    self._write(path, data)
            _sync_folder(path.parent)

    def read(self, name: str) -> memoryview:
        """The file mapped into memory, so that only what is looked at is read. Raises SpoolError when it is missing."""
        path = self._path(name)
        with _translated(name), path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return memoryview(b"")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def names(self, prefix: str) -> Sequence[str]:
        """Names below a prefix that ends at a `/` (or of everything: ""), sorted; files that were never finished are left out."""
        folder = self._path(prefix.removesuffix("/")) if prefix else self._root
        if prefix and not prefix.endswith("/"):
            raise SpoolError(prefix, "a prefix ends with /")
        found = (path for path in folder.rglob("*") if not path.name.startswith(_UNFINISHED) and path.is_file())
        return sorted(path.relative_to(self._root).as_posix() for path in found)

    def delete(self, names: Iterable[str]) -> None:
        """Remove files, and folders that this leaves empty; a missing one is no error."""
        folders: set[Path] = set()
        for name in names:
            path = self._path(name)
            with _translated(name):
                path.unlink(missing_ok=True)
            folders.add(path.parent)
        for folder in sorted(folders, reverse=True):
            self._remove_empty(folder)

    def used(self, prefix: str) -> int:
        """See `core.ports.Spool`. Files that come or go meanwhile may count or not."""
        return sum(map(self._size, self.names(prefix)))

    def _size(self, name: str) -> int:
        with suppress(FileNotFoundError):
            return self._path(name).stat().st_size
        return 0

    def shortage(self) -> str | None:
        """See `core.ports.Spool`."""
        disk = os.statvfs(self._root if self._root.exists() else self._root.parent)
        free, total = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
        if free >= min(total * FREE_SHARE_MIN, FREE_BYTES_ENOUGH):
            return None
        return f"the disk of {str(self._root)!r} has only {free >> 20} MiB free"

    def remove_unfinished(self) -> None:
        """Remove what a crash left half-written. Only while no other process writes: at start, under the data folder's lock."""
        for path in self._root.rglob(f"{_UNFINISHED}*"):
            path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        parts = name.split("/")
        if any(not part or part.startswith(".") or "\0" in part for part in parts):
            raise SpoolError(
                name, "is not a name of the spool: parts joined by single slashes, none empty or beginning with a dot"
            )
        return self._root.joinpath(*parts)

    def _write(self, path: Path, data: bytes | memoryview) -> None:
        _make_folders(path.parent)
        temporary = path.with_name(f"{_UNFINISHED}{path.name}.{os.getpid()}-{next(self._counter)}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                rest = memoryview(data).cast("B")
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _remove_empty(self, folder: Path) -> None:
        with suppress(OSError):  # not empty, or gone already
            while folder != self._root:
                folder.rmdir()
                folder = folder.parent


def _make_folders(folder: Path) -> None:
    """Make the folder and those above it; each new one is made durable in its parent."""
    if folder.is_dir():
        return
    _make_folders(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _translated(name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise SpoolError(name, "is missing from the spool") from error
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.EISDIR):
            raise SpoolError(name, "names a folder, or lies below a file") from error
        raise SpoolUnavailable(name, f"the spool's disk refuses: {error.strerror}") from error
