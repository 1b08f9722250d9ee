"""Users, keys and roles made by commands, beside a real server: boto3 and Tencent's SDK sign with them at once."""

import contextlib
import http.client
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from qcloud_cos import CosConfig, CosS3Auth, CosS3Client
from qcloud_cos.cos_exception import CosServiceError

from haulier import boto3_client
from haulier.cli import main
from haulier.core.sealing import MasterKeys
from haulier.testing.server import AWS_ACCOUNT_ID, COS_APPID, HaulierServer
from wire.native import A_JOB

STORE = {"main": {"endpoint": "http://127.0.0.1:1", "default": True, "access_key": "k", "secret_key": "s"}}
Haulier = Callable[..., Any]
UNKNOWN = "403 InvalidAccessKeyId"


@pytest.fixture(scope="module")
def server() -> Iterator[HaulierServer]:
    with HaulierServer(STORE, runners=1) as started:
        yield started


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[HaulierServer]:
    """A server of the test's own, not yet started."""
    made = HaulierServer(STORE, folder=tmp_path / "server", runners=1)
    yield made
    made.stop()


@pytest.fixture
def haulier(capsys: pytest.CaptureFixture[str]) -> Haulier:
    """Runs a command; its answer (JSON), or what it said where another exit code is expected."""

    def run(server: HaulierServer, *words: str, code: int = 0) -> Any:
        capsys.readouterr()
        found = main([*words, "--config", str(server.config_file), *(["-o", "json"] if code == 0 else [])])
        shown = capsys.readouterr()
        assert found == code, shown.out + shown.err
        return json.loads(shown.out) if code == 0 else shown.err

    return run


def boto(server: HaulierServer, key: dict[str, Any], **more: Any) -> Any:
    """`list_jobs` of a boto3 client with the key: a function that returns the error's status and code, or None."""
    client = boto3_client(
        server.url,
        more.get("account_id", AWS_ACCOUNT_ID),
        region_name="us-east-1",
        aws_access_key_id=key["key"],
        aws_secret_access_key=key["secret_key"],
        aws_session_token=more.get("token", key.get("token")),
    )

    def list_jobs() -> str | None:
        try:
            client.list_jobs()
        except ClientError as error:
            return f"{error.response['ResponseMetadata']['HTTPStatusCode']} {error.response['Error']['Code']}"
        return None

    return list_jobs


def cos_sdk(server: HaulierServer, key: dict[str, Any], token: str | None) -> str | None:
    """The error's status and code of a list by Tencent's SDK with the key, or None."""
    domain = server.url.removeprefix("http://")
    config = CosConfig(
        Region="ap-chengdu", SecretId=key["key"], SecretKey=key["secret_key"], Token=token, Scheme="http", Domain=domain
    )
    headers = {"x-cos-appid": COS_APPID, **({} if token is None else {"x-cos-security-token": token})}
    try:
        CosS3Client(config, retry=0).send_request(
            "GET", f"{server.url}/jobs", bucket=None, auth=CosS3Auth(config, "/jobs", {}), headers=headers, timeout=30
        )
    except CosServiceError as error:
        return f"{error.get_status_code()} {error.get_error_code()}"
    return None


def test_a_user_made_while_the_server_runs_signs_at_once_until_it_is_disabled(server: HaulierServer, haulier: Haulier) -> None:
    haulier(server, "user", "create", "carol", "--policy", "viewer")
    key = haulier(server, "key", "create", "carol")
    list_jobs = boto(server, key)
    assert list_jobs() is None
    assert cos_sdk(server, key, None) is None
    haulier(server, "user", "disable", "carol")
    assert list_jobs() == cos_sdk(server, key, None) == UNKNOWN
    haulier(server, "user", "enable", "carol")
    assert list_jobs() is None
    haulier(server, "key", "disable", key["key"])
    assert list_jobs() == UNKNOWN
    haulier(server, "key", "enable", key["key"])
    assert list_jobs() is None
    haulier(server, "key", "delete", key["key"])
    assert list_jobs() == UNKNOWN
    again = haulier(server, "key", "create", "carol")
    haulier(server, "user", "delete", "carol")
    assert boto(server, again)() == UNKNOWN


def test_a_policy_takes_effect_at_the_next_request(server: HaulierServer, haulier: Haulier, tmp_path: Path) -> None:
    haulier(server, "user", "create", "dave", "--policy", "viewer")
    list_jobs = boto(server, haulier(server, "key", "create", "dave"))
    assert list_jobs() is None
    document = tmp_path / "policy.json"
    document.write_text('{"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "s3:ListJobs", "Resource": "*"}}')
    haulier(server, "user", "set-policy", "dave", "--file", str(document))
    assert list_jobs() == "403 AccessDenied"
    haulier(server, "user", "set-policy", "dave", "admin")
    assert list_jobs() is None
    document.write_text('{"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Actoin": "*"}}')
    assert "policy.Statement" in haulier(server, "user", "set-policy", "dave", "--file", str(document), code=2)


def test_a_session_goes_with_its_token_on_both_wires(server: HaulierServer, haulier: Haulier) -> None:
    haulier(server, "user", "create", "erin", "--policy", "viewer")
    session = haulier(server, "key", "create", "erin", "--session", "--hours", "2")
    lasting = haulier(server, "key", "create", "erin")
    token = session["token"]
    assert boto(server, session)() is None
    assert cos_sdk(server, session, token) is None
    for wrong in (None, "another"):
        assert boto(server, session, token=wrong)() == UNKNOWN
        assert cos_sdk(server, session, wrong) == UNKNOWN
    assert boto(server, lasting, token=token)() == UNKNOWN
    assert cos_sdk(server, lasting, token) == UNKNOWN


def test_a_new_account_is_served_and_kept_apart(server: HaulierServer, haulier: Haulier) -> None:
    haulier(server, "account", "create", "other", "--aws-account-id", "000000000009")
    haulier(server, "user", "create", "owner", "--policy", "admin", "--account", "other")
    key = haulier(server, "key", "create", "owner", "--account", "other")
    assert boto(server, key, account_id="000000000009")() is None
    assert boto(server, key)() == "403 AccessDenied"
    said = haulier(server, "user", "create", "x", "--policy", "admin", code=2)
    assert "must be named: there are acme, other" in said
    assert "delete first: user owner" in haulier(server, "account", "delete", "other", code=1)
    haulier(server, "user", "delete", "owner", "--account", "other")
    haulier(server, "account", "delete", "other")
    assert boto(server, key, account_id="000000000009")() == UNKNOWN


def test_what_the_settings_define_is_read_only_and_said_so(server: HaulierServer, haulier: Haulier) -> None:
    said = haulier(server, "user", "disable", "admin", code=1)
    assert "is defined in the settings (accounts.acme.users[0])" in said
    assert "no user 'nobody'" in haulier(server, "user", "delete", "nobody", code=5)


def test_a_role_with_keys_from_standard_input(server: HaulierServer, haulier: Haulier, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("role", "create", "mover", "--store", "main", "--bucket", "a*", "--user", "admin", "--keys")
    monkeypatch.setattr(sys, "stdin", io.StringIO("main AK\n"))
    assert "line 1 of the keys has 2 words" in haulier(server, *words, code=2)
    monkeypatch.setattr(sys, "stdin", io.StringIO("\nmain AK hush-hush token\n"))
    haulier(server, *words)
    rows = {row["role"]: row for row in haulier(server, "role", "list")}
    assert (rows["mover"]["keys"], rows["mover"]["buckets"]) == (["main"], ["a*"])
    haulier(server, "role", "set", "mover", "--bucket", "b*", "--bucket", "c*")
    haulier(server, "role", "set", "mover", "--use-store-keys")
    rows = {row["role"]: row for row in haulier(server, "role", "list")}
    assert (rows["mover"]["buckets"], rows["mover"]["use_store_keys"]) == (["b*", "c*"], True)
    haulier(server, "role", "delete", "mover")


def test_tables_show_every_kind_of_row(server: HaulierServer, capsys: pytest.CaptureFixture[str]) -> None:
    for noun in ("account", "user", "key", "role"):
        assert main([noun, "list", "--config", str(server.config_file)]) == 0
        assert "accounts.acme" in capsys.readouterr().out
        assert main([noun, "list", "--config", str(server.config_file), "-o", "name"]) == 0
        assert capsys.readouterr().out


def test_commands_work_without_a_server_and_a_restart_keeps_everything(fresh: HaulierServer, haulier: Haulier) -> None:
    haulier(fresh, "user", "create", "frank", "--policy", "viewer")
    first = haulier(fresh, "key", "create", "frank")
    fresh.start()
    second = haulier(fresh, "key", "create", "frank")
    haulier(fresh, "key", "new-master")
    haulier(fresh, "key", "reencrypt")
    assert boto(fresh, first)() is boto(fresh, second)() is None
    fresh.kill()
    used = {row["key"]: row["last_used"] for row in haulier(fresh, "key", "list", "--user", "frank")}
    assert set(used) == {first["key"], second["key"]}
    fresh.restart()
    assert boto(fresh, first)() is boto(fresh, second)() is None
    assert fresh.terminate() == 0
    used = {row["key"]: row["last_used"] for row in haulier(fresh, "key", "list", "--user", "frank")}
    assert all(used.values())


def test_a_reload_keeps_what_commands_have_made_and_refuses_what_both_define(fresh: HaulierServer, haulier: Haulier) -> None:
    fresh.start()
    haulier(fresh, "user", "create", "gina", "--policy", "viewer")
    list_jobs = boto(fresh, haulier(fresh, "key", "create", "gina"))
    text = fresh.config_file.read_text()
    doubled = text.replace('name = "admin"', 'name = "gina"', 1)
    assert doubled != text
    for written, said in ((text, "settings reloaded"), (doubled, "accounts.acme.users[0]: user 'gina' is defined here and in")):
        fresh.config_file.write_text(written)
        os.kill(fresh.pid, signal.SIGHUP)
        _until(fresh, said)
        assert list_jobs() is None


def _until(server: HaulierServer, said: str) -> None:
    end = time.monotonic() + 10
    while said not in server.log_file.read_text():
        assert time.monotonic() < end, server.log_tail()
        time.sleep(0.02)


def refusal(server: HaulierServer, **environment: str) -> str:
    """What a server that does not start says."""
    command = [sys.executable, "-m", "haulier", "serve", "--config", str(server.config_file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **environment})
    assert done.returncode == 2, done.stderr
    return done.stdout + done.stderr


def test_a_server_without_the_right_master_key_does_not_start(fresh: HaulierServer, haulier: Haulier, tmp_path: Path) -> None:
    haulier(fresh, "user", "create", "hal", "--policy", "viewer")
    haulier(fresh, "key", "create", "hal")
    key_file = fresh.data_dir / "secrets.key"
    good = key_file.read_text()
    key_file.unlink()
    assert refusal(fresh).splitlines()[-1] == (
        "haulier: server.secrets_key_file: the database holds 1 sealed secrets, and there is no master key to open them with;"
        " haulier key delete and haulier role delete take away what is lost"
    )
    wrong = MasterKeys.line(1, b"w" * 32)
    said = refusal(fresh, HAULIER_SERVER__SECRETS_KEY=wrong)
    assert "server.secrets_key_file: the master key of version 1 is another one" in said
    assert wrong.strip()[2:] not in said
    moved = tmp_path / "elsewhere.key"
    moved.write_text(good)
    moved.chmod(0o644)
    fresh.config_file.write_text(fresh.config_file.read_text().replace("[server]", f'[server]\nsecrets_key_file = "{moved}"', 1))
    with fresh:
        _until(fresh, f"chmod 600 {moved}")


def test_a_changed_row_is_told_and_lets_nobody_in(fresh: HaulierServer, haulier: Haulier) -> None:
    haulier(fresh, "user", "create", "ivy", "--policy", "viewer")
    key, other = (haulier(fresh, "key", "create", "ivy") for _ in range(2))
    database = sqlite3.connect(fresh.data_dir / "haulier.db")
    with database:
        database.execute("UPDATE user_key SET secret = zeroblob(60) WHERE id = ?", [key["key"]])
    database.close()
    with fresh:
        assert boto(fresh, key)() == UNKNOWN
        assert boto(fresh, other)() is None
        (line,) = [
            line
            for line in map(json.loads, fresh.log_file.read_text().splitlines())
            if line["event"] == "a stored secret cannot be used"
        ]
        assert (line["level"], line["of"]) == ("warning", f"key {key['key']} of account acme")


def test_no_secret_is_found_anywhere_but_where_it_was_told(fresh: HaulierServer, haulier: Haulier) -> None:
    """Row 46 of the acceptance table, for everything that commands touch."""
    fresh.start()
    haulier(fresh, "user", "create", "judy", "--policy", "viewer")
    told = [haulier(fresh, "key", "create", "judy", *kind) for kind in ([], ["--session"], ["--bearer"])]
    canaries = [answer[name] for answer in told for name in ("secret_key", "token") if name in answer]
    assert len(canaries) == 4
    boto(fresh, told[0])()
    boto(fresh, told[1])()
    boto(fresh, {**told[0], "secret_key": "wrong"})()
    haulier(fresh, "key", "disable", told[0]["key"])
    os.kill(fresh.pid, signal.SIGHUP)
    _until(fresh, "settings reloaded")
    assert fresh.terminate() == 0
    files = [path for path in fresh.folder.rglob("*") if path.is_file()]
    assert {"haulier.db", "server.log", "secrets.key"} <= {path.name for path in files}
    for path in files:
        content = path.read_bytes()
        assert not [canary for canary in canaries if canary.encode() in content], path


# -- bearer tokens


def call(server: HaulierServer, token: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Status and document of a request to the native API with the token."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        connection.request(method, f"/api/v1/{path}", None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_a_bearer_token_may_what_its_user_may_and_its_actions_name(server: HaulierServer, haulier: Haulier) -> None:
    whole = haulier(server, "key", "create", "admin", "--bearer")
    narrow = haulier(
        server, "key", "create", "admin", "--bearer", "--hours", "1", "--action", "s3:DescribeJob", "--action", "s3:ListJobs"
    )
    assert call(server, whole["token"], "GET", "jobs")[0] == 200
    assert call(server, narrow["token"], "GET", "jobs")[0] == 200
    status, problem = call(server, narrow["token"], "POST", "jobs", A_JOB)
    assert (status, problem["code"]) == (403, "AccessDenied")
    assert narrow["key"] in problem["detail"]
    assert call(server, whole["token"], "POST", "jobs", A_JOB)[0] == 201
    assert call(server, whole["token"] + "x", "GET", "jobs")[1]["code"] == "NotAuthenticated"
    used = {row["key"] for row in haulier(server, "key", "list", "--user", "admin")}
    assert {whole["key"], narrow["key"]} <= used
    haulier(server, "key", "disable", whole["key"])
    assert call(server, whole["token"], "GET", "jobs")[0] == 401
    assert boto(server, {"key": whole["key"], "secret_key": whole["token"]})() == UNKNOWN  # and it signs nothing


def test_a_stream_ends_with_the_key_that_began_it(server: HaulierServer, haulier: Haulier) -> None:
    key = haulier(server, "key", "create", "admin", "--bearer")
    job_id = call(server, key["token"], "POST", "jobs", A_JOB)[1]["id"]
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", f"/api/v1/jobs/{job_id}/progress", headers={"Authorization": f"Bearer {key['token']}"})
        answer = connection.getresponse()
        assert (answer.status, answer.readline() != b"") == (200, True)
        haulier(server, "key", "disable", key["key"])
        disabled = time.monotonic()
        answer.read()
        assert time.monotonic() - disabled < 5
