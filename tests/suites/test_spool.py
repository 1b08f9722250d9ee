import os
import stat
from pathlib import Path

import pytest

from haulier.core.errors import SpoolError
from haulier.core.ports import Spool
from haulier.spool import FolderSpool
from haulier.testing.suites.spool import CHUNK, SpoolSuite


class TestFolderSpool(SpoolSuite):
    @pytest.fixture
    def spool(self, tmp_path: Path) -> Spool:
        return FolderSpool(tmp_path / "spool")

    def test_only_the_owner_may_look(self, spool: Spool, tmp_path: Path) -> None:
        spool.write(CHUNK, b"x")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "spool").rglob("*")}
        assert modes == {"acme": 0o700, "job-1": 0o700, "chunks": 0o700, CHUNK.rsplit("/", 1)[1]: 0o600}

    def test_file_and_folder_are_synced_before_write_returns(self, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
        spool.write(CHUNK, b"makes the folders")
        steps: list[str] = []
        fsync, replace = os.fsync, Path.replace

        def synced(descriptor: int) -> None:
            steps.append("fsync folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "fsync file")
            fsync(descriptor)

        def renamed(path: Path, target: Path) -> Path:
            steps.append("rename")
            return replace(path, target)

        monkeypatch.setattr(os, "fsync", synced)
        monkeypatch.setattr(Path, "replace", renamed)
        spool.write("acme/job-1/chunks/second", b"x")
        assert steps == ["fsync file", "rename", "fsync folder"]

    def test_a_refusing_disk_leaves_nothing_behind(self, spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        spool.write(CHUNK, b"x")

        def refused(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", refused)
        with pytest.raises(SpoolError, match="No space left"):
            spool.write("acme/job-1/chunks/second", b"y")
        assert [path.name for path in (tmp_path / "spool/acme/job-1/chunks").iterdir()] == [CHUNK.rsplit("/", 1)[1]]

    def test_what_a_crash_left_is_not_listed_and_can_be_removed(self, tmp_path: Path) -> None:
        spool = FolderSpool(tmp_path)
        spool.write(CHUNK, b"x")
        left = (tmp_path / CHUNK).with_name(".half.123-0")
        left.write_bytes(b"half")
        assert list(spool.names("acme/")) == [CHUNK]
        spool.remove_unfinished()
        assert not left.exists()
        assert list(spool.names("acme/")) == [CHUNK]

    def test_deleting_the_last_file_of_a_job_removes_its_folders(self, spool: Spool, tmp_path: Path) -> None:
        spool.write(CHUNK, b"x")
        spool.delete([CHUNK])
        assert list((tmp_path / "spool").iterdir()) == []
