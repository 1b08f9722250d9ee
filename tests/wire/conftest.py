from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from haulier.cli import main
from wire.canned import ACCOUNT, CannedServer, canned_server
from wire.serving import Serving, serving


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server that the tests of a file share."""
    with serving(tmp_path_factory.mktemp("served")) as running:
        yield running


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Serving]:
    """A server of the test's own, without jobs."""
    with serving(tmp_path) as running:
        yield running


@pytest.fixture
def server() -> Iterator[CannedServer]:
    with canned_server() as server:
        yield server


@pytest.fixture
def environment(server: CannedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {
        "HAULIER_ENDPOINT": server.url,
        "HAULIER_ACCOUNT_ID": ACCOUNT,
        "HAULIER_ACCESS_KEY": "key-id",
        "HAULIER_SECRET_KEY": "hidden-value",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }
    for name in (
        "NO_PROXY",
        "no_proxy",
        "http_proxy",
        "AWS_PROFILE",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "FORCE_COLOR",
        "TTY_COMPATIBLE",
    ):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def haulier(environment: None, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command line against the server that answers prepared documents: its exit code, standard output and error."""

    def run(*words: str) -> tuple[int, str, str]:
        code = main(words)
        shown = capsys.readouterr()
        assert "hidden-value" not in shown.out + shown.err
        assert "\x1b" not in shown.out + shown.err
        assert "Traceback" not in shown.err
        return code, shown.out, shown.err

    return run
