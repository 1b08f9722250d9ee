"""The data directory: private to this user, held by one server, and the secret that outlives restarts."""

import contextlib
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import structlog

from haulier.core.errors import DataDirectoryBusy, SettingsError

SECRET_BYTES: Final = 32
COMMAND_SECONDS_MAX: Final = 10.0
"""How long a command may hold the directory that a server wants to have."""

Holder = Literal["server", "command"]
"""Who holds the directory: a server for as long as it runs, a command while it is carried out."""
_KEY: Final = "server.data_dir"

_log = structlog.get_logger(__name__)


@contextlib.contextmanager
def locked(data_dir: Path, holder: Holder = "server") -> Iterator[None]:
    """Make the directory, private to this user, and hold its lock. A command holds it for a moment only, which is waited for.

    Raises DataDirectoryBusy, SettingsError.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_private(data_dir)
        lock = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SettingsError(_KEY, f"{data_dir} cannot be used: {error.strerror}") from None
    try:
        _take(lock, data_dir)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()} {holder}\n".encode(), 0)
        yield
    finally:
        os.close(lock)


def _take(lock: int, data_dir: Path) -> None:
    """Take the lock. Raises DataDirectoryBusy."""
    end = time.monotonic() + COMMAND_SECONDS_MAX
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner, _, holder = os.pread(lock, 32, 0).decode("ascii", "replace").strip().partition(" ")
            if holder != "command" or time.monotonic() > end:
                raise DataDirectoryBusy(
                    f"the data directory {str(data_dir)!r} is in use by another haulier {holder or 'server'}"
                    f" (process {owner or 'unknown'}); stop it, or set server.data_dir to another folder"
                ) from None
            time.sleep(0.02)
        else:
            return


def _make_private(data_dir: Path) -> None:
    """Names of objects and accounts lie here. A directory of another user could be read and changed by them at any time."""
    found = data_dir.stat()
    if found.st_uid != os.geteuid():
        raise SettingsError(_KEY, f"{data_dir} belongs to user {found.st_uid}, and this process runs as user {os.geteuid()}")
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        data_dir.chmod(0o700)
        mode = f"{stat.S_IMODE(found.st_mode):04o}"
        _log.warning("others had access to the data directory; it is private now", data_dir=str(data_dir), was=mode, mode="0700")


def kept_secret(path: Path) -> bytes:
    """A random secret that survives restarts, so that a list token given before one is good after it."""
    try:
        kept = path.read_bytes()
    except FileNotFoundError:
        kept = b""
    if len(kept) != SECRET_BYTES:
        kept = secrets.token_bytes(SECRET_BYTES)
        path.touch(0o600)
        path.write_bytes(kept)
    return kept
