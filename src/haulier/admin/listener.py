"""The server's side of the socket: a thread that takes connections, and one for each while its command is carried out."""

import contextlib
import os
import socket
import struct
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from haulier.admin import Command, Peer
from haulier.admin.protocol import SOCKET, Answer, FrameTooLong, address, decode, receive, refusal_of, send
from haulier.core.errors import HaulierError, SettingsError

RECEIVE_SECONDS_MAX: Final = 10.0
STOP_SECONDS_MAX: Final = 1.0
"""How long the end of the server waits for commands; one takes milliseconds, but somebody may hold a connection open."""
AGAIN_SECONDS: Final = 1.0
CONNECTIONS_MAX: Final = 8
"""At a time; further ones wait in the kernel's queue."""
_PEER: Final = struct.Struct("3i")

_log = structlog.get_logger(__name__)


class Listener:
    """Carries out commands that come over the socket in the data directory. Only root and this process's own user are let in."""

    def __init__(self, data_dir: Path, execute: Callable[[Command, Peer], Any]) -> None:
        """Listens from now on. The data directory's lock is held, so a socket that lies there is nobody's.

        Raises SettingsError.
        """
        self._path = data_dir / SOCKET
        self._execute = execute
        self._path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with address(data_dir) as path:
                self._socket.bind(path)
            self._path.chmod(0o600)  # nobody came before: the directory is this user's alone
            self._socket.listen(CONNECTIONS_MAX)
        except OSError as error:
            self._socket.close()
            raise SettingsError("server.data_dir", f"{self._path} cannot be listened on: {error.strerror}") from None
        self._places = threading.BoundedSemaphore(CONNECTIONS_MAX)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._take_connections, name="haulier-admin", daemon=True)

    def start(self) -> None:
        """Let commands in."""
        self._thread.start()

    def stop(self) -> None:
        """Let no further command in, and wait a moment for those that are being carried out."""
        self._stopping.set()
        self._path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # ends the waiting for connections
        end = time.monotonic() + STOP_SECONDS_MAX
        if self._thread.ident is not None:
            self._thread.join(STOP_SECONDS_MAX)
        for _ in range(CONNECTIONS_MAX):
            self._places.acquire(timeout=max(0.0, end - time.monotonic()))
        self._socket.close()

    def _take_connections(self) -> None:
        while True:
            self._places.acquire()
            try:
                connection, _ = self._socket.accept()
            except OSError as error:
                self._places.release()
                if self._stopping.is_set():
                    return
                _log.warning("connections for commands cannot be taken now", error=error.strerror)
                self._stopping.wait(AGAIN_SECONDS)
                continue
            threading.Thread(target=self._serve, args=[connection], name="haulier-admin-command", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                connection.settimeout(RECEIVE_SECONDS_MAX)
                self._answer(connection)
        except (OSError, EOFError, FrameTooLong) as error:
            _log.info("a connection for commands ended early", error=type(error).__name__)
        finally:
            self._places.release()

    def _answer(self, connection: socket.socket) -> None:
        pid, uid, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        if uid not in (0, os.geteuid()):
            _log.warning("a command of another user is refused", uid=uid)
            return
        frame = receive(connection)
        try:
            answer = Answer(answer=self._execute(decode(frame), Peer(uid, pid)))
        except HaulierError as error:
            answer = Answer(refused=refusal_of(error))
        except Exception as error:  # noqa: BLE001 - whatever it was, the one who asked is told that it failed
            _log.error("a command failed", stack="".join(traceback.format_exception(error)))
            answer = Answer(refused=refusal_of(error))
        send(connection, msgspec.json.encode(answer))
