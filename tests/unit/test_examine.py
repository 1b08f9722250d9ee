"""`haulier doctor --job`: each invariant broken once by hand, and found."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from haulier.cli import main
from haulier.cli.exits import Exit
from haulier.core.errors import SettingsError
from haulier.reports import ReportFiles, manifest_json
from haulier.spool import files
from haulier.upkeep import examine as looking
from haulier.upkeep.examine import DAY_MS, examine
from haulier.upkeep.findings import CHECKS, Examined, Finding
from unit.datafolder import DataFolder, chunk_file, outcome_file

NOW_MS = 1_800_000_000_000
SEGMENT = "segments/00000002-1-3-0.arrow"
SEALED = "sealed/00000001-1-2.arrow"


def look(folder: DataFolder, *, report: Path | None = None, now_ms: int = NOW_MS, days: float = 10_000) -> Examined:
    found = examine(folder.data_dir, folder.job.id, now_ms=now_ms, spool_retention_days=days, report=report)
    assert found is not None
    return found


@pytest.mark.parametrize("status", ["Ready", "Active", "Complete"])
def test_of_a_sound_job_everything_is_checked_and_nothing_found(tmp_path: Path, status: str) -> None:
    found = look(DataFolder(tmp_path, status=status))
    assert (found.findings, found.notes) == ([], [])
    assert (found.status, found.total, found.chunks) == (status, 300, 3)
    assert found.checked == [check for check in CHECKS if check != "report"]


def sql(*statements: str) -> Callable[[DataFolder], None]:
    return lambda folder: folder.sql(*statements)


def removed(name: str) -> Callable[[DataFolder], None]:
    return lambda folder: folder.path(name).unlink()


def rewritten(name: str, data: bytes | memoryview) -> Callable[[DataFolder], None]:
    return lambda folder: (folder.path(name).write_bytes(data), None)[1]


BROKEN: dict[str, tuple[str, Callable[[DataFolder], None], Finding]] = {
    "a counter of the job": (
        "Active",
        sql("UPDATE job SET succeeded = succeeded - 1"),
        Finding(check="counters", problem="the job counts 250 succeeded, its chunks add up to 251"),
    ),
    "a counter of an open chunk": (
        "Active",
        sql('UPDATE chunk SET failed = 3 WHERE "index" = 2', "UPDATE job SET failed = failed + 1"),
        Finding(check="counters", chunk=2, row=200, problem="it counts 58 succeeded and 3 failed, its segments 58 and 2"),
    ),
    "a counter of a segment": (
        "Active",
        sql("UPDATE segment SET failed = 1 WHERE sequence = 0"),
        Finding(
            check="counters",
            chunk=2,
            row=200,
            file=SEGMENT,
            problem="it holds 28 succeeded and 2 failed, 29 succeeded and 1 failed are counted for it",
        ),
    ),
    "a counter of a sealed file": (
        "Complete",
        sql('UPDATE chunk SET failed = 6, succeeded = 94 WHERE "index" = 1'),
        Finding(
            check="counters",
            chunk=1,
            row=100,
            file=SEALED,
            problem="it holds 93 succeeded and 7 failed, 94 succeeded and 6 failed are counted for it",
        ),
    ),
    "a failure class": (
        "Active",
        sql('UPDATE failure_class SET "count" = "count" + 1'),
        Finding(check="counters", problem="the failure classes add up to 10, the job counts 9 failed"),
    ),
    "segments of a sealed chunk": (
        "Active",
        sql("UPDATE segment SET chunk = 1 WHERE sequence = 1"),
        Finding(
            check="counters", chunk=1, row=100, problem="it is sealed, and segments of it with 30 outcomes are still counted"
        ),
    ),
    "a chunk that is gone": (
        "Active",
        sql('DELETE FROM chunk WHERE "index" = 1'),
        Finding(check="coverage", chunk=2, row=200, problem="it begins at row 200 instead of 100: a gap before it"),
    ),
    "chunks that overlap": (
        "Active",
        sql('UPDATE chunk SET first_row = 90 WHERE "index" = 1'),
        Finding(
            check="coverage",
            chunk=1,
            row=90,
            problem="it begins at row 90 instead of 100: an overlap with the chunk before",
        ),
    ),
    "a total that is not that of the chunks": (
        "Active",
        sql("UPDATE job SET total = 301"),
        Finding(check="coverage", problem="the chunks have 300 rows, the job has 301 tasks"),
    ),
    "a chunk file that is gone": (
        "Active",
        removed("chunks/00000001-1-1.arrow"),
        Finding(check="files", chunk=1, row=100, file="chunks/00000001-1-1.arrow", problem="is missing from the spool"),
    ),
    "a sealed file that is gone": (
        "Complete",
        removed(SEALED),
        Finding(check="files", chunk=1, row=100, file=SEALED, problem="is missing from the spool"),
    ),
    "a segment that is cut off": (
        "Active",
        lambda folder: folder.path(SEGMENT).write_bytes(folder.path(SEGMENT).read_bytes()[:200]) and None,
        Finding(check="files", chunk=2, row=200, file=SEGMENT, problem="cannot be read"),
    ),
    "a chunk file of other rows": (
        "Active",
        rewritten("chunks/00000001-1-1.arrow", chunk_file(0)),
        Finding(
            check="files",
            chunk=1,
            row=100,
            file="chunks/00000001-1-1.arrow",
            problem="it does not hold rows 100 to 199, each once and in order",
        ),
    ),
    "a file that nothing names": (
        "Active",
        lambda folder: folder.spool.write(f"{folder.folder}/sealed/notes.arrow", b"x"),
        Finding(check="files", file="sealed/notes.arrow", problem="nothing names it"),
    ),
    "a file of an attempt that is yet to come": (
        "Active",
        lambda folder: folder.spool.write(f"{folder.folder}/segments/00000002-9-3-7.arrow", b"x"),
        Finding(check="files", file="segments/00000002-9-3-7.arrow", problem="nothing names it"),
    ),
    "a row with two outcomes": (
        "Active",
        rewritten("segments/00000002-1-3-1.arrow", outcome_file(range(229, 259))),
        Finding(
            check="outcomes",
            chunk=2,
            row=229,
            file="segments/00000002-1-3-1.arrow",
            problem="rows that have an outcome already: 1",
        ),
    ),
    "an outcome of another chunk's row": (
        "Active",
        rewritten("segments/00000002-1-3-1.arrow", outcome_file(range(271, 301))),
        Finding(
            check="outcomes", chunk=2, row=300, file="segments/00000002-1-3-1.arrow", problem="rows of no task of the chunk: 1"
        ),
    ),
    "a row without an outcome": (
        "Complete",
        rewritten("sealed/00000000-1-2.arrow", outcome_file([*range(42), *range(43, 100)])),
        Finding(check="outcomes", chunk=0, row=42, problem="rows without an outcome: 1"),
    ),
    "a horizon beyond its chunk": (
        "Active",
        sql('UPDATE chunk SET horizon = 101 WHERE "index" = 2'),
        Finding(check="horizons", chunk=2, row=200, problem="the horizon 101 is not within its 100 rows"),
    ),
    "an open chunk without a horizon": (
        "Active",
        sql('UPDATE chunk SET horizon = 0 WHERE "index" = 2'),
        Finding(
            check="horizons", chunk=2, row=200, problem="it may have been handed out, and none of its rows may have been started"
        ),
    ),
    "rows in doubt since nobody knows when": (
        "Active",
        sql('UPDATE chunk SET first_opened_ms = NULL, opened_ms = NULL WHERE "index" = 2'),
        Finding(check="horizons", chunk=2, row=200, problem="its rows may have been started, and since when is not known"),
    ),
    "an attempt of an epoch that has not been": (
        "Active",
        sql("UPDATE segment SET attempt_epoch = 2 WHERE sequence = 0"),
        Finding(check="horizons", chunk=2, file=SEGMENT, problem="segment 0 is of attempt 2-3, the epoch is 1"),
    ),
    "a job that is Complete with a chunk open": (
        "Active",
        sql("UPDATE job SET status = 'Complete', ended_ms = 5"),
        Finding(check="state", chunk=2, row=200, problem="the job is Complete, the chunk is not sealed"),
    ),
    "a job that ended and does not know when": (
        "Complete",
        sql("UPDATE job SET ended_ms = NULL"),
        Finding(check="state", problem="the job is Complete, and has no time at which it ended"),
    ),
    "outcomes before the job began": (
        "Active",
        sql("UPDATE job SET status = 'Ready'"),
        Finding(check="state", problem="the job is Ready, and 260 of its tasks have been run"),
    ),
    "an event that is gone": (
        "Complete",
        sql("DELETE FROM job_event WHERE sequence = 3"),
        Finding(check="events", problem="event 4 follows event 2"),
    ),
    "a record that leads elsewhere": (
        "Active",
        sql("UPDATE job SET status = 'Pausing', document = json_set(document, '$.paused_by', 'user')"),
        Finding(check="events", problem="the record leads to Active, the job is Pausing"),
    ),
    "a move that no job can do": (
        "Active",
        sql("UPDATE job_event SET document = json_set(document, '$.was', 'New') WHERE sequence = 4"),
        Finding(check="events", problem="event 4 leads from New to Active, which no job can do"),
    ),
    "moves that do not follow each other": (
        "Complete",
        sql("DELETE FROM job_event WHERE sequence = 4", "UPDATE job_event SET sequence = sequence - 1 WHERE sequence > 4"),
        Finding(check="events", problem="event 4 leads from Active to Completing, but by event 3 the job was Ready"),
    ),
}


@pytest.mark.parametrize(("status", "damage", "expected"), BROKEN.values(), ids=list(BROKEN))
def test_what_is_broken_is_found_and_told_where(
    tmp_path: Path, status: str, damage: Callable[[DataFolder], None], expected: Finding
) -> None:
    folder = DataFolder(tmp_path, status=status)
    damage(folder)
    found = look(folder)
    assert not found.sound
    told = [(each.check, each.chunk, each.row, (each.file or "").removeprefix(f"{folder.folder}/")) for each in found.findings]
    place = (expected.check, expected.chunk, expected.row, expected.file or "")
    assert place in told, found.findings
    assert any(each.problem.startswith(expected.problem) for each in found.findings), found.findings


def test_what_an_attempt_left_that_did_not_live_to_tell_of_it_is_a_note(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.spool.write(f"{folder.folder}/segments/00000002-1-3-2.arrow", outcome_file([245]))
    found = look(folder)
    assert found.sound
    assert found.notes[0].startswith("files of attempts that are at work, or did not live to tell of them: 1")


def test_a_server_at_work_makes_nothing_look_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the two looks at the database the open chunk is sealed, and its segments go."""
    folder = DataFolder(tmp_path)
    read, looks = looking._read, iter(range(2))

    def read_late(database: Path, job_id: str) -> Any:
        found = read(database, job_id)
        if next(looks) == 0:
            name = f"{folder.folder}/sealed/00000002-1-3.arrow"
            folder.spool.write(name, outcome_file(range(200, 300), failed=2))
            folder.spool.delete(f"{folder.folder}/segments/00000002-1-3-{sequence}.arrow" for sequence in range(2))
            folder.sql("DELETE FROM segment", f"UPDATE chunk SET sealed_name = '{name}', succeeded = 98 WHERE \"index\" = 2")
        return found

    monkeypatch.setattr(looking, "_read", read_late)
    found = look(folder)
    assert (found.findings, found.notes) == ([], [])


def test_files_that_retention_took_are_not_missed_and_others_are(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path, status="Complete")
    folder.spool.delete(folder.spool.names(""))
    ended_ms = folder.stored().ended_ms or 0
    over = look(folder, now_ms=ended_ms + 7 * DAY_MS, days=7)
    assert over.sound
    assert "files" not in over.checked
    assert over.notes == ["its files are no longer kept: the job ended more than 7 days ago"]
    assert len(look(folder, now_ms=ended_ms + 7 * DAY_MS - 1, days=7).findings) == 6


def test_a_job_that_is_not_there_is_none_and_a_database_that_is_none_is_refused(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    assert examine(folder.data_dir, "no-such-job", now_ms=NOW_MS, spool_retention_days=7) is None
    folder.sql("UPDATE alembic_version SET version_num = '0001'")
    with pytest.raises(SettingsError, match="was written by an earlier version of Haulier"):
        look(folder)
    folder.sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SettingsError, match="was written by a newer version of Haulier"):
        look(folder)


# -- the report ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def reported(tmp_path: Path) -> tuple[DataFolder, Path]:
    """A Complete job and a copy of its report."""
    folder = DataFolder(tmp_path / "data", status="Complete")
    (report := tmp_path / "report").mkdir()
    (results := report / "results").mkdir()
    written = ReportFiles(job := folder.stored(), tmp_path)
    for index in range(3):
        (sealed,) = folder.path("sealed").glob(f"{index:08d}-*")
        rows = files.decode_chunk(folder.spool.read(folder.chunks[index].name))
        written.add(rows, files.decode_outcomes(sealed.read_bytes()))
    parts = written.finish()
    for part in parts:
        part.path.rename(results / part.key.rpartition("/")[2])
    (report / "manifest.json").write_bytes(manifest_json(job, parts))
    return folder, report


def test_a_report_that_is_what_was_recorded_is_sound(reported: tuple[DataFolder, Path]) -> None:
    folder, report = reported
    found = look(folder, report=report)
    assert found.sound
    assert found.checked[-1] == "report"


@pytest.mark.parametrize("damage", ["changed", "changed with its MD5", "gone", "not named", "named and foreign"])
def test_a_report_that_is_not_is_found(reported: tuple[DataFolder, Path], damage: str) -> None:
    folder, report = reported
    listing = json.loads((report / "manifest.json").read_bytes())
    first = report / "results" / listing["Results"][0]["Key"].rpartition("/")[2]
    if damage == "gone":
        first.unlink()
    elif damage == "not named":
        del listing["Results"][0]
    elif damage == "named and foreign":
        listing["Results"].append({"Key": "reports/other.csv", "MD5Checksum": "0", "TaskExecutionStatus": "failed"})
    else:
        first.write_bytes(changed := first.read_bytes().replace(b"key-0", b"key-X"))
        if damage == "changed with its MD5":
            listing["Results"][0]["MD5Checksum"] = hashlib.md5(changed).hexdigest()
    (report / "manifest.json").write_text(json.dumps(listing))
    found = look(folder, report=report)
    expected = {
        "changed": "the file's MD5 is ",
        "changed with its MD5": "by manifest.json its MD5 is ",
        "gone": "it is missing",
        "not named": "manifest.json does not name it",
        "named and foreign": "manifest.json names it, and the recorded outcomes do not give it",
    }
    (finding,) = found.findings
    assert finding.check == "report"
    assert finding.problem.startswith(expected[damage])


# -- the command -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def doctor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(folder: DataFolder, *arguments: str, job: str | None = None) -> tuple[int, str, str]:
        config = tmp_path / "haulier.toml"
        config.write_text(f'[server]\ndata_dir = "{folder.data_dir}"\n')
        code = main(["doctor", "--job", job or folder.job.id, "--config", str(config), *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_the_command_says_what_was_checked_and_ends_with_0(tmp_path: Path, doctor: Callable[..., tuple[int, str, str]]) -> None:
    code, text, _ = doctor(DataFolder(tmp_path / "data"))
    assert code == Exit.CLEAN
    assert "251 succeeded, 9 failed, of 300 tasks; 3 chunks" in text
    assert all(f"{check}  " in text for check in CHECKS if check != "report")
    assert text.count("  holds  ") == len(CHECKS) - 1


def test_the_command_says_what_is_broken_and_ends_with_1(tmp_path: Path, doctor: Callable[..., tuple[int, str, str]]) -> None:
    folder = DataFolder(tmp_path / "data")
    folder.path(SEGMENT).unlink()
    code, text, _ = doctor(folder)
    assert code == Exit.FAILED
    assert f"files: chunk 2, row 200, {folder.folder}/{SEGMENT}: is missing from the spool" in text
    code, text, _ = doctor(folder, "-o", "json")
    found = json.loads(text)
    assert (code, found["sound"]) == (Exit.FAILED, False)
    assert [(each["check"], each["chunk"], each["row"]) for each in found["findings"]] == [("files", 2, 200)]
    assert doctor(folder, "-o", "name")[:2] == (Exit.FAILED, "files\n")


def test_the_command_refuses_what_it_cannot_do(tmp_path: Path, doctor: Callable[..., tuple[int, str, str]]) -> None:
    folder = DataFolder(tmp_path / "data")
    assert doctor(folder, job="nobody")[0] == Exit.NOT_FOUND
    code, _, said = doctor(folder, "--report", str(tmp_path))
    assert code == Exit.FAILED
    assert "is Active and has no report" in said
    assert main(["doctor", "-o", "json"]) == Exit.USAGE
