"""Files and folders that are put together under a name nobody looks for, and get their own once they are whole and durable."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_UNLINKABLE: Final = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP})
"""Why a second name for a file may not be had here, though a copy may."""
BLOCK: Final = 1 << 20
"""Bytes read at a time."""


@contextlib.contextmanager
def unfinished(target: Path, what: str) -> Iterator[Path]:
    """A new folder beside `target`, private to this user, which becomes `target` when the block ends well and is removed when it
    does not. Raises OSError, also where `target` is there by then and is not an empty folder."""
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.{what}-", dir=target.parent))
    try:
        yield folder
        sync_tree(folder)
        folder.rename(target)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    _sync_folder(target.parent)


def place(source: Path, target: Path) -> None:
    """Another name for a file that is never changed; where that cannot be, a copy of it. Raises OSError, FileNotFoundError where
    the source has gone."""
    make_folder(target.parent)
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in _UNLINKABLE:
            raise
        copy(source, target)


def copy(source: Path, target: Path, *, up_to: bytes = b"") -> None:
    """A durable copy, of a file that may grow meanwhile up to the last `up_to` in it. Raises OSError."""
    make_folder(target.parent)
    with source.open("rb") as reading, open(target, "xb", opener=_private) as writing:
        shutil.copyfileobj(reading, writing, BLOCK)
        writing.flush()
        if up_to:
            _cut_behind_last(target, writing.tell(), up_to)
        os.fsync(writing.fileno())


def _cut_behind_last(path: Path, size: int, mark: bytes) -> None:
    with path.open("rb+") as file:
        start = max(0, size - BLOCK)
        file.seek(start)
        file.truncate(start + file.read().rfind(mark) + len(mark) if size else 0)


def make_folder(folder: Path) -> None:
    """Make the folder and those above it, private to this user."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def write(target: Path, data: bytes) -> None:
    """A small new file, private to this user."""
    with open(target, "xb", opener=_private) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_tree(folder: Path) -> None:
    """Make the names in it durable; the files are so already."""
    for path, _, _ in os.walk(folder, topdown=False):
        _sync_folder(Path(path))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
