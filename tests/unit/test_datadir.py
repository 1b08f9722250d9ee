"""The data directory: whose it is, who may enter it, what is kept in it."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from haulier import datadir
from haulier.core.errors import DataDirectoryBusy, SettingsError


def test_a_new_directory_is_private_and_held_by_one(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    with datadir.locked(folder):
        assert folder.stat().st_mode & 0o777 == 0o700
        with pytest.raises(DataDirectoryBusy, match=str(os.getpid())), datadir.locked(folder):
            pass
    with datadir.locked(folder):
        pass


@pytest.mark.parametrize("mode", [0o750, 0o701, 0o777])
def test_an_existing_directory_is_made_private(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with datadir.locked(tmp_path):
        assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_a_directory_of_another_user_is_refused_and_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o755)
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(SettingsError, match=r"server\.data_dir: .*belongs to user"), datadir.locked(tmp_path):
        pass
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_made_is_a_fault_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="cannot be used: Not a directory"), datadir.locked(tmp_path / "file" / "data"):
        pass


def test_the_secret_outlives_a_restart_and_is_made_anew_when_it_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "key"
    first = datadir.kept_secret(path)
    assert len(first) == datadir.SECRET_BYTES
    assert datadir.kept_secret(path) == first
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(b"short")
    assert len(datadir.kept_secret(path)) == datadir.SECRET_BYTES


def test_a_server_waits_for_a_command_that_holds_the_directory(tmp_path: Path) -> None:
    held, let_go = threading.Event(), threading.Event()

    def command() -> None:
        with datadir.locked(tmp_path, "command"):
            held.set()
            assert let_go.wait(30)

    def server() -> None:
        with datadir.locked(tmp_path):
            pass

    with ThreadPoolExecutor(2) as pool:
        holds = pool.submit(command)
        assert held.wait(30)
        waits = pool.submit(server)
        with pytest.raises(TimeoutError):
            waits.result(0.1)
        let_go.set()
        holds.result(30)
        waits.result(30)
