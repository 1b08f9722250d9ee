"""Jobs of users and roles that commands have made while the server runs, on a real store."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from e2e.workbench import Workbench
from haulier import boto3_client
from haulier.cli import main
from haulier.testing.server import AWS_ACCOUNT_ID, HaulierServer
from haulier.testing.stores import SeaweedFS

Haulier = Callable[..., Any]
TAGS = {"S3PutObjectTagging": {"TagSet": [{"Key": "made", "Value": "by a command"}]}}


@pytest.fixture
def haulier(server: HaulierServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Haulier:
    """Runs a command beside the server; its answer."""

    def run(*words: str, typed: str = "") -> Any:
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        capsys.readouterr()
        assert main([*words, "--config", str(server.config_file), "-o", "json"]) == 0
        return json.loads(capsys.readouterr().out)

    return run


class As:
    """The server, to clients that sign with another key."""

    def __init__(self, server: HaulierServer, key: dict[str, str]) -> None:
        self._server = server
        self._key = key

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)

    def s3control(self) -> Any:
        keys = {"aws_access_key_id": self._key["key"], "aws_secret_access_key": self._key["secret_key"]}
        return boto3_client(self._server.url, AWS_ACCOUNT_ID, region_name="us-east-1", **keys)


def test_a_job_acts_with_the_keys_of_a_role_that_a_command_made(
    store: SeaweedFS, server: HaulierServer, haulier: Haulier
) -> None:
    haulier("user", "create", "mover", "--policy", "operator")
    bench = Workbench(store, As(server, haulier("key", "create", "mover")))
    role = ("--store", "main", "--bucket", "*", "--user", "mover", "--keys")
    haulier("role", "create", "own-keys", *role, typed=f"main {store.access_key} {store.secret_key}\n")
    haulier("role", "create", "wrong-keys", *role, typed=f"main {store.access_key} not-the-secret\n")
    bench.put(["a", "b"])
    etag = bench.manifest([(bench.source, "a"), (bench.source, "b")])
    arn = f"arn:aws:iam::{AWS_ACCOUNT_ID}:role/"
    job = bench.wait(bench.s3_job(TAGS, etag, RoleArn=arn + "own-keys"))
    assert (job["Status"], bench.counts(job)) == ("Complete", (2, 2, 0))
    assert bench.tags("a") == {"made": "by a command"}
    job = bench.wait(bench.s3_job(TAGS, etag, RoleArn=arn + "wrong-keys"))
    assert (job["Status"], job["FailureReasons"][0]["FailureCode"]) == ("Failed", "ManifestAccessDenied")


def test_a_disabled_users_jobs_do_not_start(store: SeaweedFS, server: HaulierServer, haulier: Haulier) -> None:
    haulier("user", "create", "leaver", "--policy", "operator")
    bench = Workbench(store, As(server, haulier("key", "create", "leaver")))
    users = ("--user", "leaver", "--user", "admin")
    haulier("role", "create", "of-leaver", "--store", "main", "--bucket", "*", *users, "--use-store-keys")
    bench.put(["a"])
    etag = bench.manifest([(bench.source, "a")])
    role = f"arn:aws:iam::{AWS_ACCOUNT_ID}:role/of-leaver"
    job_id = bench.s3_job(TAGS, etag, RoleArn=role, ConfirmationRequired=True)
    server.wait_for(job_id, ("Suspended",))
    haulier("user", "disable", "leaver")
    server.s3control().update_job_status(JobId=job_id, RequestedJobStatus="Ready")  # another one confirms it
    server.wait_for(job_id, ("Failed",))
    job = server.s3control().describe_job(JobId=job_id)["Job"]
    assert job["FailureReasons"][0]["FailureCode"] == "RoleNotAllowed"
    assert "is disabled" in job["FailureReasons"][0]["FailureReason"]
    assert bench.tags("a") == {}
