"""Backup and restore of a data directory, without a server; with one: `e2e/test_backup.py`."""

import contextlib
import json
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from haulier.audit import AuditLog
from haulier.audit.files import files, verify
from haulier.cli import main
from haulier.cli.exits import Exit
from haulier.core.chunk import Attempt, Chunk, Segment
from haulier.core.clock import SystemClock
from haulier.core.errors import SettingsError, Superseded
from haulier.core.lifecycle import JobEvent as E
from haulier.core.lifecycle import JobStatus
from haulier.core.ports import ChunksOpened, ChunksStaged, JobMoved, SegmentAdded
from haulier.core.restoring import brought_back, confirmation_due, in_doubt, may_have_run
from haulier.jobstore import SqlJobStore, copies
from haulier.upkeep.backup import TRIES, UpkeepRefused, backup
from haulier.upkeep.examine import examine
from haulier.upkeep.restore import restore
from unit.datafolder import DataFolder, outcome_file
from unit.values import a_job

TAKEN = 1_900_000_000_000
CLOCK = SystemClock()


def taken() -> int:
    return TAKEN


def an_audit_log(data_dir: Path) -> None:
    audit = AuditLog(data_dir / "audit", CLOCK)
    audit.start()
    audit.stop()


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    made = DataFolder(tmp_path / "data")
    an_audit_log(made.data_dir)
    return made


@contextlib.contextmanager
def opened(data_dir: Path) -> Any:
    with contextlib.closing(SqlJobStore.open(data_dir / "haulier.db", CLOCK)) as jobstore:
        yield jobstore


def everything(folder: Path) -> dict[str, bytes]:
    """All files but the companions of the database, which any reader may make."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("haulier.db-"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


# -- what becomes of jobs and chunks: pure ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "changes", "becomes"),
    [
        ("New", {}, ("New", None)),
        ("Preparing", {}, ("Preparing", None)),
        ("Suspended", {}, ("Suspended", None)),
        ("Ready", {}, ("Paused", "user")),
        ("Active", {}, ("Paused", "user")),
        ("Pausing", {"paused_by": "priority"}, ("Paused", "user")),
        ("Paused", {"paused_by": "priority"}, ("Paused", "user")),
        ("Paused", {"paused_by": "user"}, ("Paused", "user")),
        ("Completing", {"reporting_ms": 7}, ("Completing", None)),
        ("Cancelling", {"reporting_ms": 7}, ("Cancelling", None)),
        ("Failing", {"reporting_ms": 7}, ("Failing", None)),
    ],
)
def test_no_job_changes_objects_after_a_restore_unless_somebody_says_so(
    status: str, changes: dict[str, Any], becomes: tuple[str, str | None]
) -> None:
    job = a_job(status=status, confirmation_given=True, total=9, **changes)
    after = brought_back(job, TAKEN, TAKEN + 5)[-1]
    assert (after.status, after.paused_by) == becomes
    assert after.restored_ms == TAKEN
    assert after.status_reason == "restored from a backup taken at 2030-03-17T17:46:40.000Z"
    ends = status in ("Completing", "Cancelling", "Failing")
    assert confirmation_due(after) is not ends
    assert (job.status, job.restored_ms) == (status, None), "the job itself is left as it is"


def test_the_first_backup_of_all_lives_counts() -> None:
    job = brought_back(a_job(), TAKEN, TAKEN)[-1]
    assert brought_back(job, TAKEN + 1_000, TAKEN + 2_000)[-1].restored_ms == TAKEN


def a_chunk(**changes: Any) -> Chunk:
    return Chunk(**({"job": "j", "index": 0, "first_row": 0, "rows": 9_000, "name": "n"} | changes))


def test_every_row_of_a_chunk_is_in_doubt_from_the_backup_on_or_since_it_was_opened() -> None:
    fresh = in_doubt(a_chunk(), TAKEN)
    assert (fresh.opened_ms, fresh.first_opened_ms, fresh.horizon) == (None, TAKEN, 9_000)
    begun = in_doubt(a_chunk(opened_ms=90, first_opened_ms=50, horizon=5_000), TAKEN)
    assert (begun.opened_ms, begun.first_opened_ms, begun.horizon) == (None, 50, 9_000)


def test_only_what_may_have_run_is_put_in_doubt() -> None:
    sealed = a_chunk(sealed_name="s", succeeded=9_000)
    opened = a_chunk(opened_ms=50, first_opened_ms=50, horizon=5_000)
    for status in JobStatus:
        ends = status in (JobStatus.COMPLETING, JobStatus.CANCELLING, JobStatus.FAILING)
        job = a_job(status=status)
        assert [may_have_run(job, chunk) for chunk in (sealed, opened, a_chunk())] == [False, True, not ends]


# -- the backup ------------------------------------------------------------------------------------------------------------------


def test_a_backup_holds_what_is_named_and_nothing_else(folder: DataFolder, tmp_path: Path) -> None:
    folder.spool.write(f"{folder.folder}/segments/00000002-1-3-9.arrow", outcome_file([290]))
    (folder.data_dir / "secrets.key").write_bytes(b"1:secret")
    (folder.data_dir / "list-tokens.key").write_bytes(b"secret")
    before = everything(folder.data_dir)
    about = backup(folder.data_dir, tmp_path / "saved", now_ms=taken)
    assert everything(folder.data_dir) == before
    found = everything(tmp_path / "saved")
    spooled = {name for name in before if name.startswith("spool/") and not name.endswith("-9.arrow")}
    assert found.keys() == {"haulier.db", "backup.json", *spooled, *(name for name in before if name.startswith("audit/"))}
    assert all(found[name] == before[name] for name in spooled)
    assert (about.files, about.bytes) == (7, sum(len(before[name]) for name in spooled))
    assert json.loads(found["backup.json"])["taken"] == "2030-03-17T17:46:40.000Z"
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "saved").rglob("*")}
    assert modes <= {0o700, 0o600}
    assert [path.name for path in tmp_path.iterdir()] == ["data", "saved"]


def test_secrets_go_along_only_where_they_are_asked_for(folder: DataFolder, tmp_path: Path) -> None:
    (folder.data_dir / "secrets.key").write_bytes(b"1:secret")
    backup(folder.data_dir, tmp_path / "saved", now_ms=taken, master_keys=folder.data_dir / "secrets.key")
    assert (tmp_path / "saved" / "secrets.key").read_bytes() == b"1:secret"
    restore(tmp_path / "saved", tmp_path / "new", CLOCK)
    assert (tmp_path / "new" / "secrets.key").read_bytes() == b"1:secret"


def test_a_chunk_that_is_sealed_meanwhile_is_no_trouble(
    folder: DataFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Right behind the first copy of the database the chunk is sealed, and segments go that nobody has taken yet."""
    copy, calls = copies.copy, []
    late = f"{folder.folder}/segments/00000002-1-3-5.arrow"

    def copy_slowly(database: Path, target: Path) -> None:
        first = not calls
        calls.append(target)
        if first:
            folder.spool.write(late, outcome_file(range(240, 245)))
            add = Segment(job=folder.job.id, chunk=2, attempt=Attempt(1, 3), sequence=5, name=late, rows=5, failed=0)
            with opened(folder.data_dir) as jobstore:
                jobstore.commit(1, [SegmentAdded(add, 100)])
        copy(database, target)
        if first:
            with opened(folder.data_dir) as jobstore:
                jobstore.commit(1, [folder._sealed(2, failed=2, untold=0)])
            folder.spool.delete([*folder.spool.names(f"{folder.folder}/segments/")])

    monkeypatch.setattr(copies, "copy", copy_slowly)
    backup(folder.data_dir, tmp_path / "saved", now_ms=taken)
    assert len(calls) == 2
    assert not list((tmp_path / "saved" / "spool").rglob("segments"))
    restore(tmp_path / "saved", tmp_path / "new", CLOCK)
    assert DataFolder(tmp_path / "new").stored().executed == 300


def test_of_a_job_whose_files_retention_takes_meanwhile_none_is_in_the_backup(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data", status="Complete")
    folder.path("sealed/00000001-1-2.arrow").unlink()
    assert backup(folder.data_dir, tmp_path / "saved", now_ms=taken).files == 0
    restore(tmp_path / "saved", tmp_path / "new", CLOCK)
    assert DataFolder(tmp_path / "new").stored().status == "Complete"


def test_a_file_that_is_really_missing_is_told_and_leaves_nothing_behind(folder: DataFolder, tmp_path: Path) -> None:
    folder.path("sealed/00000001-1-2.arrow").unlink()
    with pytest.raises(
        UpkeepRefused, match=rf"00000001-1-2.arrow is missing from the spool: haulier doctor --job {folder.job.id}"
    ):
        backup(folder.data_dir, tmp_path / "saved", now_ms=taken)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_backup_that_fails_half_way_leaves_nothing_behind(
    folder: DataFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(database: Path, target: Path) -> None:
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(copies, "copy", full)
    with pytest.raises(UpkeepRefused, match="No space left on device"):
        backup(folder.data_dir, tmp_path / "saved", now_ms=taken)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert TRIES > 1


@pytest.mark.parametrize(
    ("place", "said"),
    [("there", "is there already"), ("no/folder", "there is no folder"), ("data/inside", "lies in the data directory")],
)
def test_where_a_backup_cannot_be(folder: DataFolder, tmp_path: Path, place: str, said: str) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(UpkeepRefused, match=said):
        backup(folder.data_dir, tmp_path / place, now_ms=taken)
    with pytest.raises(SettingsError, match="there is no database"):
        backup(tmp_path / "there", tmp_path / "saved", now_ms=taken)


def test_across_disks_files_are_copied(folder: DataFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other_disk(self: Path, target: Path) -> None:
        raise OSError(18, "Invalid cross-device link", str(self))

    monkeypatch.setattr(Path, "hardlink_to", other_disk)
    backup(folder.data_dir, tmp_path / "saved", now_ms=taken)
    for name in folder.spool.names(""):
        copied = tmp_path / "saved" / "spool" / name
        assert copied.stat().st_nlink == 1
        assert copied.read_bytes() == folder.spool.read(name)


def test_the_audit_log_is_copied_up_to_its_last_whole_line(folder: DataFolder, tmp_path: Path) -> None:
    (log,) = files(folder.data_dir / "audit")
    whole = log.read_bytes()
    log.write_bytes(whole + b'{"half')
    backup(folder.data_dir, tmp_path / "saved", now_ms=taken)
    (copied,) = files(tmp_path / "saved" / "audit")
    assert copied.read_bytes() == whole


# -- the restore -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(folder: DataFolder, tmp_path: Path) -> Path:
    backup(folder.data_dir, tmp_path / "saved", now_ms=taken)
    return tmp_path / "saved"


def test_a_restored_job_is_sound_paused_explained_and_all_its_open_rows_in_doubt(
    folder: DataFolder, saved: Path, tmp_path: Path
) -> None:
    before = everything(saved)
    done = restore(saved, tmp_path / "new", CLOCK)
    assert everything(saved) == before
    assert done.brought_back.jobs == 1
    found = examine(tmp_path / "new", folder.job.id, now_ms=TAKEN, spool_retention_days=7)
    assert found is not None
    assert found.sound
    with opened(tmp_path / "new") as jobstore:
        job = jobstore.get("acme", folder.job.id)
        assert (job.status, job.paused_by, job.succeeded, job.failed) == ("Paused", "user", 251, 9)
        (open_chunk,) = [chunk for chunk in jobstore.chunks(job.id) if not chunk.sealed]
        assert (open_chunk.opened_ms, open_chunk.first_opened_ms, open_chunk.horizon) == (None, 2_000, 100)
        told = [(event.kind, event.facts.get("status")) for event in jobstore.events(job.id)][-3:]
        assert told == [("restored", None), ("status", "Pausing"), ("status", "Paused")]
    assert verify(tmp_path / "new" / "audit").lines == 5, "two sessions of the log, and the restore"


def test_nothing_of_the_old_life_is_accepted(folder: DataFolder, saved: Path, tmp_path: Path) -> None:
    with opened(folder.data_dir) as jobstore:  # the old life started again, and again, after the backup
        old = [jobstore.begin_epoch() for _ in range(5)]
    done = restore(saved, tmp_path / "new", CLOCK)
    with opened(tmp_path / "new") as jobstore:
        new = jobstore.begin_epoch()
        assert new > done.brought_back.epoch > max(old) + 1_000_000
        for epoch in old:
            with pytest.raises(Superseded):
                jobstore.commit(epoch, [])


def test_a_job_that_was_not_prepared_when_the_backup_was_taken_gets_all_its_rows_in_doubt(tmp_path: Path) -> None:
    """After the backup it may have been prepared, confirmed and run."""
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    job = a_job()
    with opened(data_dir) as jobstore:
        jobstore.create(job, unfinished_max=10)
    backup(data_dir, tmp_path / "saved", now_ms=taken)
    restore(tmp_path / "saved", tmp_path / "new", CLOCK)
    with opened(tmp_path / "new") as jobstore:
        epoch = jobstore.begin_epoch()
        chunk = Chunk(job=job.id, index=0, first_row=0, rows=9_000, name="acme/j/chunks/0")
        jobstore.commit(epoch, [JobMoved(job.id, E.PICKED_UP), ChunksStaged(job.id, (chunk,), first=True)])
        jobstore.commit(epoch, [JobMoved(job.id, E.PREPARED, total=9_000)])
        (staged,) = jobstore.chunks(job.id)
        assert (staged.opened_ms, staged.first_opened_ms, staged.horizon) == (None, TAKEN, 9_000)
        jobstore.commit(epoch, [ChunksOpened(job.id, (0,), at_ms=TAKEN + 9), JobMoved(job.id, E.STARTED)])
        (opened_chunk,) = jobstore.chunks(job.id)
        assert (opened_chunk.first_opened_ms, opened_chunk.horizon) == (TAKEN, 9_000)


@pytest.mark.parametrize("there", ["file", "folder"])
def test_a_data_directory_that_is_not_empty_is_left_alone(saved: Path, tmp_path: Path, there: str) -> None:
    target = tmp_path / "new"
    if there == "folder":
        target.mkdir()
        (target / "lock").touch()
    else:
        target.touch()
    with pytest.raises(UpkeepRefused, match="is not empty"):
        restore(saved, target, CLOCK)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "new", "saved"]


def test_an_empty_one_is_taken(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    restore(saved, tmp_path / "new", CLOCK)
    assert (tmp_path / "new" / "haulier.db").exists()


def damage_database(saved: Path) -> None:
    with contextlib.closing(sqlite3.connect(saved / "haulier.db")) as database, database:
        database.execute("UPDATE job SET succeeded = succeeded - 1")


def damage_file(saved: Path) -> None:
    path = next((saved / "spool").rglob("sealed/*"))
    data = path.read_bytes()
    path.unlink()  # it is another name of the data directory's own file
    path.write_bytes(data[:-40])


def damage_audit(saved: Path) -> None:
    (log,) = files(saved / "audit")
    log.write_bytes(log.read_bytes().replace(b"log opened", b"log opens!"))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damage_database, "counters: .*the job counts 250 succeeded"),
        (damage_file, "files: .*cannot be read"),
        (damage_audit, "hash is not that of its content"),
        (lambda saved: next((saved / "spool").rglob("*.arrow")).unlink(), "not whole: it had 7 files in its spool, 6 are left"),
        (lambda saved: (saved / "haulier.db").write_bytes(b"x" * 5_000), "cannot be used"),
        (lambda saved: (saved / "haulier.db").unlink(), "No such file"),
        (lambda saved: (saved / "backup.json").unlink(), "is no backup, or one that was never finished"),
        (lambda saved: (saved / "backup.json").write_text('{"format":1}'), "is no backup, or one that was never finished"),
    ],
)
def test_a_backup_that_is_broken_is_not_put_in_place(
    saved: Path, tmp_path: Path, damage: Callable[[Path], object], said: str
) -> None:
    damage(saved)
    with pytest.raises(Exception, match=said) as raised:
        restore(saved, tmp_path / "new", CLOCK)
    assert type(raised.value).__module__ == "haulier.core.errors" or isinstance(raised.value, UpkeepRefused)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "saved"]


def test_the_commands(folder: DataFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configs = []
    for name in ("data", "new"):
        configs.append(tmp_path / f"{name}.toml")
        configs[-1].write_text(f'[server]\ndata_dir = "{tmp_path / name}"\n')
    old, new = map(str, configs)
    saved = str(tmp_path / "saved")
    assert main(["backup", saved, "--config", old, "--with-secrets"]) == Exit.USAGE
    assert "there are no master keys" in capsys.readouterr().err
    assert main(["backup", saved, "--config", old, "-o", "json"]) == Exit.CLEAN
    assert json.loads(capsys.readouterr().out)["files"] == 7
    assert main(["backup", saved, "--config", old]) == Exit.FAILED
    assert main(["restore", saved, "--config", old]) == Exit.FAILED
    assert "is not empty" in capsys.readouterr().err
    assert main(["restore", saved, "--config", new]) == Exit.CLEAN
    said = capsys.readouterr()
    assert "unfinished jobs  1" in said.out
    assert "look at each, then resume, confirm or cancel it" in said.err
