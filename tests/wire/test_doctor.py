"""`haulier doctor`: what it says of each way is so, and what it prints can be run."""

import socket
import stat
from collections.abc import Callable
from pathlib import Path

import boto3
import botocore.config
import pytest

from haulier.cli import main
from haulier.cli.exits import Exit
from wire.serving import AWS_ACCOUNT_ID, Serving
from wire.test_s3_judges import AWS

Doctor = Callable[..., tuple[int, str, str]]


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Doctor:
    """Runs the command beside a server; exit code, standard output and error."""
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))

    def run(endpoint: str, *, secret: str = "secret-of-admin", path: Path = tmp_path) -> tuple[int, str, str]:
        monkeypatch.setenv("PATH", str(path))
        monkeypatch.setenv("HAULIER_ACCESS_KEY", "AKIDADMIN")
        monkeypatch.setenv("HAULIER_SECRET_KEY", secret)
        code = main(["doctor", "--endpoint", endpoint, "--account-id", AWS_ACCOUNT_ID])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def results(text: str) -> dict[tuple[str, str], str]:
    """(client, way) → result, out of the printed table."""
    lines = text.split("\n\n")[1].splitlines()
    way, result = lines[0].index("WAY"), lines[0].index("RESULT")
    return {(line[:way].strip(), line[way:result].strip()): line[result:] for line in lines[1:]}


def test_it_tells_which_ways_work_and_prints_recipes_that_do(served: Serving, doctor: Doctor) -> None:
    code, text, _ = doctor(served.url)
    assert code == Exit.CLEAN
    assert f"{served.url} answers" in text
    assert "secret-of-admin" not in text
    found = results(text)
    assert found["boto3", "server as its proxy"] == "works"
    assert found["boto3", "haulier.boto3_client"] == "works"
    assert found["aws-cli", "server as HTTP_PROXY"] == "not tried: aws is not on the PATH"
    name = f"{AWS_ACCOUNT_ID}.localhost"
    try:
        socket.getaddrinfo(name, served.port)
    except OSError:
        assert found["boto3", "endpoint as it is"] == f"fails: {name} does not resolve here"
    else:
        assert found["boto3", "endpoint as it is"] == "works"
    assert f"HTTP_PROXY={served.url} aws s3control list-jobs --account-id {AWS_ACCOUNT_ID} " in text


def test_the_printed_python_reaches_the_server(served: Serving, doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDADMIN")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-admin")
    _, text, _ = doctor(served.url)
    printed = text.partition("boto3, server as its proxy:\n")[2].partition("boto3, ")[0]
    client = eval(" ".join(printed.split()), {"boto3": boto3, "botocore": botocore})
    assert "Jobs" in client.list_jobs(AccountId=AWS_ACCOUNT_ID)
    client.close()


def test_it_runs_the_aws_command_line_that_is_there(served: Serving, doctor: Doctor, tmp_path: Path) -> None:
    if not AWS.exists():
        pytest.skip("the AWS command line is not here; `make test` puts it into .tools/awscli")
    code, text, _ = doctor(served.url, path=AWS.parent)
    assert (code, results(text)["aws-cli", "server as HTTP_PROXY"]) == (Exit.CLEAN, "works")


def test_a_broken_aws_command_line_is_told_as_it_tells(served: Serving, doctor: Doctor, tmp_path: Path) -> None:
    program = tmp_path / "aws"
    program.write_text("#!/bin/sh\necho 'no such thing' >&2\nexit 255\n")
    program.chmod(stat.S_IRWXU)
    _, text, _ = doctor(served.url)
    assert results(text)["aws-cli", "server as HTTP_PROXY"] == "fails: no such thing"
    assert "aws-cli: no way works from here." in text
    assert f"  127.0.0.1 {AWS_ACCOUNT_ID}.localhost" in text


def test_keys_that_are_refused_are_told_apart_from_a_server_that_is_not_reached(served: Serving, doctor: Doctor) -> None:
    code, text, _ = doctor(served.url, secret="wrong")
    assert code == Exit.DENIED
    assert results(text)["boto3", "haulier.boto3_client"].startswith("refused: SignatureDoesNotMatch")


def test_no_server_is_one_line(doctor: Doctor) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        code, text, error = doctor(endpoint)
    assert (code, text) == (Exit.UNREACHABLE, "")
    assert error.startswith(f"haulier: {endpoint}/healthz does not answer as a Haulier server does")
    assert error.count("\n") == 1


def test_a_list_of_authorities_that_is_missing_is_one_line(
    served: Serving, doctor: Doctor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "missing.pem"))
    code, text, error = doctor(served.url)
    assert (code, text, error.count("\n")) == (Exit.UNREACHABLE, "", 1)


def test_without_keys_it_does_not_say_that_any_were_refused(
    served: Serving, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("HAULIER_ACCESS_KEY", "HAULIER_SECRET_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert main(["doctor", "--endpoint", served.url, "--account-id", AWS_ACCOUNT_ID]) == Exit.DENIED
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "haulier: no keys to sign with: set HAULIER_ACCESS_KEY and HAULIER_SECRET_KEY\n")
