"""How a command reaches a running server: one connection to a Unix socket in the data directory, one command, one answer.

Each is a frame: its length in four bytes, most significant first, then so much JSON. Not HTTP, on purpose: nothing that speaks
HTTP (a proxy, a browser, a forged request) can be led to it. Who may connect is a matter of the socket's file and of the kernel's
word on who the peer is; there is no other authentication.
"""

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from haulier.admin import Command
from haulier.core.errors import (
    AlreadyDefined,
    CommandRefused,
    DefinedInSettings,
    HaulierError,
    InvalidField,
    NotDefined,
    SecretsError,
    SettingsError,
    Unavailable,
)

SOCKET: Final = "admin.sock"
FRAME_BYTES_MAX: Final = 4 * 1024 * 1024
_LENGTH: Final = struct.Struct(">I")
_ANSWER_SECONDS_MAX: Final = 120.0

_KINDS: Final[tuple[type[HaulierError], ...]] = (
    NotDefined,
    AlreadyDefined,
    DefinedInSettings,
    InvalidField,
    SecretsError,
    SettingsError,
    Unavailable,
    CommandRefused,
)
"""What a command raises; the nearest of them travels by its name."""

_commands: Final = msgspec.json.Decoder(Command)


class Refusal(msgspec.Struct, frozen=True):
    """Why a command was refused."""

    kind: str
    message: str


class Answer(msgspec.Struct, frozen=True):
    """What a command answered, or why it was refused. It may hold a new secret, so it is never shown whole."""

    answer: Any = None
    refused: Refusal | None = None

    def __repr__(self) -> str:
        return f"Answer(refused={self.refused!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("refused", self.refused)]


class Refused(HaulierError):
    """The server refused the command."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.kind: type[HaulierError] = next((kind for kind in _KINDS if kind.__name__ == refusal.kind), CommandRefused)


class NobodyListens(HaulierError):
    """No server listens at the socket; nothing was sent."""


class AnswerLost(HaulierError):
    """The connection broke before the answer came: the command may have been carried out."""


class FrameTooLong(HaulierError):
    """More than FRAME_BYTES_MAX."""


def refusal_of(error: Exception) -> Refusal:
    """How an error travels. What is no error of ours is told without its text, which might hold anything."""
    for kind in _KINDS:
        if isinstance(error, kind):
            return Refusal(kind.__name__, str(error))
    return Refusal(CommandRefused.__name__, f"the command failed in the server ({type(error).__name__}); its log tells more")


def decode(frame: bytes) -> Command:
    """The command in a frame. Raises InvalidField, in which no value of the frame stands."""
    try:
        command: Command = _commands.decode(frame)
    except UnicodeDecodeError:
        raise InvalidField("command", "is not UTF-8 text") from None
    except msgspec.DecodeError as error:
        raise InvalidField("command", f"cannot be read: {error}") from None
    return command


def ask(data_dir: Path, command: Command) -> Any:
    """Have the server on this data directory carry the command out; its answer. Raises NobodyListens, AnswerLost, Refused."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_ANSWER_SECONDS_MAX)
        try:
            with address(data_dir) as path:
                connection.connect(path)
        except OSError as error:
            raise NobodyListens(f"no server answers at {data_dir / SOCKET}: {error.strerror or error}") from None
        try:
            send(connection, msgspec.json.encode(command))
            answer = msgspec.json.decode(receive(connection), type=Answer)
        except (OSError, EOFError, msgspec.DecodeError):
            raise AnswerLost(
                "the server ended the connection before it answered; whether the command was carried out, a list will tell"
            ) from None
    if answer.refused is not None:
        raise Refused(answer.refused)
    return answer.answer


@contextlib.contextmanager
def address(data_dir: Path) -> Iterator[str]:
    """The socket's address. It may have 107 bytes only, which a data directory's path may exceed: so it leads over the folder,
    held open meanwhile. Raises OSError."""
    folder = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{SOCKET}"
    finally:
        os.close(folder)


def send(connection: socket.socket, frame: bytes) -> None:
    """Raises OSError, FrameTooLong."""
    if len(frame) > FRAME_BYTES_MAX:
        raise FrameTooLong(f"{len(frame):,} bytes are more than a frame holds ({FRAME_BYTES_MAX:,})")
    connection.sendall(_LENGTH.pack(len(frame)) + frame)


def receive(connection: socket.socket) -> bytes:
    """Raises OSError, FrameTooLong, and EOFError where the connection ends before the frame."""
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    if length > FRAME_BYTES_MAX:
        raise FrameTooLong(f"{length:,} bytes are more than a frame holds ({FRAME_BYTES_MAX:,})")
    return _exactly(connection, length)


def _exactly(connection: socket.socket, length: int) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        part = connection.recv(min(length - len(parts), 65_536))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)
