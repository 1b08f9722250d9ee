"""The command line without a server: what it imports, how it starts the server, how progress reads."""

import io
import subprocess
import sys
import types
from datetime import UTC, datetime

import pytest
from rich.console import Console

import haulier
from haulier.cli import main
from haulier.cli.output import printable
from haulier.cli.progress import Bar, Lines, Pace, State, duration, summary, text
from haulier.core.errors import DataDirectoryBusy

NOON = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
HEAVY = (
    "boto3",
    "botocore",
    "pyarrow",
    "pycurl",
    "sqlalchemy",
    "starlette",
    "uvicorn",
    "haulier.app",
    "haulier.boto",
    "haulier.settings",
)


@pytest.mark.parametrize(
    ("words", "absent"),
    [(["--version"], (*HEAVY, "cyclopts", "rich", "msgspec")), (["--help"], HEAVY), (["job", "--help"], HEAVY)],
)
def test_what_needs_no_server_imports_little(words, absent):
    program = f"import sys; from haulier.cli import main; code = main({words!r}); print(code, *sys.modules, file=sys.stderr)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    code, *modules = ended.stderr.split()
    assert code == "0"
    assert not set(modules) & set(absent)
    assert ended.stdout


def test_the_version_is_the_packages(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"haulier {haulier.__version__}\n"


# -- serve --------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def served(monkeypatch):
    """Settings that the server was started with."""
    settings = []
    module = types.ModuleType("haulier.app")
    module.serve = lambda found: settings.append(found) or 0  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "haulier.app", module)
    return settings


def test_serve_runs_the_server_with_its_settings(served, tmp_path, monkeypatch):
    monkeypatch.setenv("HAULIER_ENGINE__RUNNERS", "3")
    path = tmp_path / "haulier.toml"
    path.write_text('[server]\nlisten = "127.0.0.1:0"\n')
    assert main(["serve", "--config", str(path)]) == 0
    assert [(settings.server.port, settings.engine.runners) for settings in served] == [(0, 3)]


def test_serve_with_settings_that_cannot_be_used_is_one_line(served, tmp_path, capsys):
    path = tmp_path / "haulier.toml"
    path.write_text("[server]\nport = 1\n")
    assert main(["serve", "--config", str(path)]) == 2
    assert capsys.readouterr().err.startswith("haulier: server.port: unknown key")
    assert served == []


def test_serve_on_a_busy_data_folder_is_one_line(served, tmp_path, capsys, monkeypatch):
    def busy(_settings):
        raise DataDirectoryBusy("the data directory is in use")

    monkeypatch.setattr(sys.modules["haulier.app"], "serve", busy)
    path = tmp_path / "haulier.toml"
    path.touch()
    assert main(["serve", "--config", str(path)]) == 1
    assert capsys.readouterr().err == "haulier: the data directory is in use\n"


def test_serve_without_settings_is_wrong_usage(capsys):
    assert main(["serve"]) == 2
    assert "--config" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_traceback():
    program = "import sys; from haulier.cli import main; sys.exit(main(['--help']))"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


# -- progress -----------------------------------------------------------------------------------------------------------------


def state(status: str = "Active", total: int = 1000, succeeded: int = 0, failed: int = 0) -> State:
    return State("job-1", status, total, succeeded, failed)


def test_the_rate_is_that_of_the_last_15_seconds():
    pace = Pace()
    assert pace.rate is None
    pace.add(0.0, 0)
    assert pace.rate is None
    for second in range(1, 21):
        pace.add(float(second), second * 100)
    assert pace.rate == 100
    for second in range(21, 41):
        pace.add(float(second), 2000 + (second - 20) * 10)
    assert pace.rate == 10


def test_text_of_others_cannot_steer_the_terminal():
    assert printable("a\x1b[31m\r\nb\u202eü 中") == "a\ufffd[31m\ufffd\ufffdb\ufffdü 中"


def test_no_rate_is_made_up_from_samples_that_say_nothing():
    pace = Pace()
    pace.add(5.0, 10)
    pace.add(5.0, 20)
    assert pace.rate is None
    pace.add(6.0, 5)
    assert pace.rate is None


@pytest.mark.parametrize(
    ("shown", "rate", "line"),
    [
        (state("New", 0), None, "New (waits to be prepared)"),
        (state("Preparing", 0), None, "Preparing (reads the manifest)"),
        (state("Suspended"), None, "Suspended, 1,000 tasks wait for: haulier job confirm job-1"),
        (state("Ready"), None, "Ready, 0 %, 0 of 1,000"),
        (state(succeeded=100), 10.0, "Active, 10 %, 100 of 1,000, 10/s, 1 m 30 s left, ends 12:01:30"),
        (state(succeeded=90, failed=10), 1234.5, "Active, 10 %, 100 of 1,000, 1,234/s, 1 s left, ends 12:00:01, 10 failed"),
        (state(succeeded=100), 0.0, "Active, 10 %, 100 of 1,000, 0/s"),
        (state(succeeded=100), 0.01, "Active, 10 %, 100 of 1,000, 0/s, 1 d 1 h left, ends 2026-11-24 13:00"),
        (state(total=10**15), 0.001, "Active, 0 %, 0 of 1,000,000,000,000,000, 0/s, "),
        (state("Paused", succeeded=999), 10.0, "Paused, 99 %, 999 of 1,000"),
        (state("Completing", succeeded=1000), 10.0, "Completing (writes the report), 100 %, 1,000 of 1,000"),
    ],
)
def test_progress_reads_as_one_line(shown, rate, line):
    said = text(shown, rate, NOON)
    assert said.startswith(line) if line.endswith(", ") else said == line


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (59, "59 s"), (65, "1 m 05 s"), (15_000, "4 h 10 m"), (183_600, "2 d 3 h")]
)
def test_durations_have_two_units_at_most(seconds, words):
    assert duration(seconds) == words


def test_the_summary_counts_what_was_done():
    assert summary(state("Complete", 10, 7, 3)) == "job-1 Complete: 7 succeeded, 3 failed of 10"
    assert summary(state("Failed", 0)) == "job-1 Failed: no task ran"


def test_a_state_is_read_from_a_job_that_tells_little():
    assert State.of({"JobId": "j", "Status": "New"}) == State("j", "New", 0, 0, 0)


def test_lines_come_at_each_change_and_every_ten_seconds():
    screen, now = io.StringIO(), [0.0]
    lines = Lines(Console(file=screen, width=40), lambda: now[0])
    for moment, shown in [
        (0, state("Ready")),
        (1, state()),
        (2, state()),
        (10.9, state()),
        (11, state(succeeded=500)),
        (12, state()),
    ]:
        now[0] = float(moment)
        lines.show(shown)
    lines.close()
    said = [line.split(" ", 1)[1] for line in screen.getvalue().splitlines()]
    assert [line.split(",")[0] for line in said] == ["Ready", "Active", "Active"]
    assert "500 of 1,000, 45/s" in said[2]


@pytest.mark.parametrize("no_color", [True, False])
def test_a_terminal_gets_a_bar_that_ends_in_order(no_color):
    screen, now = io.StringIO(), [0.0]
    bar = Bar(Console(file=screen, force_terminal=True, width=120, no_color=no_color, color_system="standard"), lambda: now[0])
    bar.show(state("Preparing", 0))
    now[0] = 1.0
    bar.show(state(succeeded=500))
    bar.say("a line that stays")
    bar.close()
    bar.close()
    shown = screen.getvalue()
    assert "━" in shown
    assert "Active, 50 %, 500 of 1,000, 500/s, 1 s left" in shown
    assert "a line that stays" in shown
    assert ("\x1b[3" in shown) is not no_color
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h")
