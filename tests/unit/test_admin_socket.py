"""Commands over the socket: who is let in, what travels, and what happens to frames that are none."""

import contextlib
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haulier.admin import Peer, listener
from haulier.admin.accounts import CreateAccount, ListAccounts
from haulier.admin.listener import Listener
from haulier.admin.protocol import (
    FRAME_BYTES_MAX,
    SOCKET,
    AnswerLost,
    FrameTooLong,
    NobodyListens,
    Refused,
    address,
    ask,
    decode,
    receive,
    send,
)
from haulier.admin.roles import CreateRole, StoreKey
from haulier.core.errors import CommandRefused, DefinedInSettings, InvalidField, NotDefined, SettingsError


class Server:
    """Answers with what a test says, and remembers what came."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.came: list[tuple[Any, Peer]] = []
        self.answer: Any = None
        self.error: Exception | None = None
        self.listener = Listener(folder, self.execute)
        self.listener.start()

    def execute(self, command: Any, peer: Peer) -> Any:
        self.came.append((command, peer))
        if self.error is not None:
            raise self.error
        return self.answer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / ("long" * 40)  # a path that no address of a socket can hold
    made.mkdir(mode=0o700)
    return made


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    made = Server(folder)
    yield made
    made.listener.stop()


def sent(folder: Path, data: bytes) -> bytes:
    """What is answered to these bytes, after which nothing more comes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, address(folder) as path:
        connection.settimeout(30)
        connection.connect(path)
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65_536), b""))
        except (BrokenPipeError, ConnectionResetError):
            return b""


def test_a_command_arrives_whole_and_its_answer_comes_back(server: Server, folder: Path) -> None:
    command = CreateRole(name="r", stores=("main",), keys={"main": StoreKey(access_key="a", secret_key="s„ä“")})
    server.answer = {"role": "r", "rows": [1, None, "ä"]}
    assert ask(folder, command) == server.answer
    assert server.came == [(command, Peer(os.geteuid(), os.getpid()))]
    assert (folder / SOCKET).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "error",
    [NotDefined("no such account"), DefinedInSettings("x", "accounts.x"), InvalidField("path", "wrong"), CommandRefused("no")],
)
def test_a_refusal_keeps_its_kind_and_its_words(server: Server, folder: Path, error: Exception) -> None:
    server.error = error
    with pytest.raises(Refused) as refused:
        ask(folder, ListAccounts())
    assert (refused.value.kind, str(refused.value)) == (type(error), str(error))


def test_an_error_that_is_not_ours_is_told_without_its_text(server: Server, folder: Path) -> None:
    server.error = ZeroDivisionError("a secret")
    with pytest.raises(Refused, match="ZeroDivisionError") as refused:
        ask(folder, ListAccounts())
    assert "secret" not in str(refused.value)
    server.error = None
    assert ask(folder, ListAccounts()) is None  # and it serves on


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"{}",
        b"not json",
        b'{"type": "nonsense"}',
        b'{"type": "account create", "name": 7}',
        b'{"type": "account create", "name": "x", "more": 1}',
        b'{"type": "role create", "name": "r", "keys": {"m": {"access_key": "k", "secret_key": 5}}}',
        b'{"type": "account create", "name": "\xff"}',
    ],
)
def test_what_is_no_command_is_refused(server: Server, folder: Path, frame: bytes) -> None:
    answer = sent(folder, struct.pack(">I", len(frame)) + frame)
    refused = msgspec.json.decode(answer[4:])["refused"]
    assert refused["kind"] == "InvalidField"
    assert server.came == []


@pytest.mark.parametrize(
    "data", [b"", b"\0\0", b"\0\0\0\7abc", struct.pack(">I", FRAME_BYTES_MAX + 1), b"GET / HTTP/1.1\r\n\r\n"]
)
def test_what_is_no_frame_is_not_answered(server: Server, folder: Path, data: bytes) -> None:
    assert sent(folder, data) == b""
    assert server.came == []
    assert ask(folder, ListAccounts()) is None


def test_another_user_is_not_let_in(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Other:
        size = listener._PEER.size

        def unpack(self, _credentials: bytes) -> tuple[int, int, int]:
            return (1, os.geteuid() + 1, 0)

    monkeypatch.setattr(listener, "_PEER", Other())
    with pytest.raises(AnswerLost):
        ask(folder, ListAccounts())
    assert server.came == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_the_kernel_tells_another_user_apart(server: Server, folder: Path) -> None:
    folder.chmod(0o711)
    (folder / SOCKET).chmod(0o666)  # as if someone had made it so
    program = (
        "import os, socket, sys\n"
        "os.chdir(sys.argv[1])\n"
        "os.setuid(65534)\n"
        "connection = socket.socket(socket.AF_UNIX)\n"
        "connection.connect('admin.sock')\n"
        "try:\n"
        '    connection.sendall(b\'\\0\\0\\0\\x17{"type":"account list"}\')\n'
        "    print(len(connection.recv(10)))\n"
        "except (BrokenPipeError, ConnectionResetError):\n"
        "    print(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr
    assert server.came == []


def test_commands_are_taken_while_another_one_runs(server: Server, folder: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def execute(command: Any, peer: Peer) -> Any:
        if isinstance(command, CreateAccount):
            begun.set()
            assert go_on.wait(30)
        return command.name if isinstance(command, CreateAccount) else "listed"

    server.listener._execute = execute
    slow: list[Any] = []
    thread = threading.Thread(target=lambda: slow.append(ask(folder, CreateAccount(name="slow"))))
    thread.start()
    assert begun.wait(30)
    assert ask(folder, ListAccounts()) == "listed"
    go_on.set()
    thread.join(30)
    assert slow == ["slow"]


def test_who_connects_and_says_nothing_holds_nobody_up(server: Server, folder: Path) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(listener.CONNECTIONS_MAX):
            idle = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            with address(folder) as path:
                idle.connect(path)
        begun = time.monotonic()
        server.listener.stop()
        assert time.monotonic() - begun < 5
    assert server.came == []


def test_a_folder_that_cannot_hold_a_socket_is_a_fault_of_the_settings(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"server\.data_dir: .*admin\.sock cannot be listened on"):
        Listener(tmp_path / "gone", lambda _command, _peer: None)


@given(st.binary(max_size=200))
def test_no_frame_is_too_strange(frame: bytes) -> None:
    with pytest.raises(InvalidField):
        decode(frame)


def test_after_the_end_nobody_listens(folder: Path) -> None:
    with pytest.raises(NobodyListens, match="No such file"):
        ask(folder, ListAccounts())
    Server(folder).listener.stop()
    assert list(folder.iterdir()) == []
    (folder / SOCKET).touch()  # what a killed server leaves is in nobody's way
    again = Server(folder)
    assert ask(folder, ListAccounts()) is None
    again.listener.stop()
    with pytest.raises(NobodyListens):
        ask(folder / "gone", ListAccounts())


def test_a_frame_that_is_too_long_is_not_even_sent() -> None:
    here, there = socket.socketpair()
    with here, there:
        with pytest.raises(FrameTooLong):
            send(here, b"x" * (FRAME_BYTES_MAX + 1))
        send(here, b"short")
        assert receive(there) == b"short"
