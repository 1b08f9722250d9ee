"""Faults and attacks on a real server process, by the numbers of the acceptance table (reliability, §10)."""

import contextlib
import json
import random
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError

from haulier import boto3_client
from haulier.testing.cosclient import authorization
from haulier.testing.server import ACCESS_KEY, AWS_ACCOUNT_ID, COS_APPID, SECRET_KEY, HaulierServer
from wire.test_bad_requests import s3_body
from wire.test_cos import a_body
from wire.test_s3control import a_request

CANARY = "canary-7f3a9c51-secret"
STORE = {"endpoint": "http://127.0.0.1:1", "default": True, "access_key": "store", "secret_key": CANARY, "probe": "off"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[HaulierServer]:
    with HaulierServer({"main": STORE}, folder=tmp_path / "server", runners=1) as running:
        yield running


def impatient(server: HaulierServer) -> Any:
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=5)
    keys = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY}
    return boto3_client(server.url, AWS_ACCOUNT_ID, region_name="us-east-1", config=config, **keys)


def raw(server: HaulierServer, method: str, target: str, headers: dict[str, str], body: bytes) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join([*lines, f"Content-Length: {len(body)}", "Connection: close"]) + "\r\n\r\n").encode("latin-1") + body


def exchange(server: HaulierServer, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(data)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_row_2_what_was_answered_survives_kill_9_and_a_repeated_token_makes_no_second_job(server: HaulierServer) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    source = random.Random(seed)
    answered: dict[str, str] = {}
    tokens: list[str] = []
    clients = [impatient(server) for _ in range(2)]

    def speak(client: Any, name: str, underway: threading.Event) -> None:
        for number in range(10_000):
            token = f"{name}-{number}"
            tokens.append(token)
            try:
                answered[token] = client.create_job(**a_request(ClientRequestToken=token))["JobId"]
            except (ClientError, BotoCoreError):
                return
            underway.set()

    for round_number in range(4):
        underway = threading.Event()
        threads = [
            threading.Thread(target=speak, args=(client, f"{round_number}{letter}", underway))
            for client, letter in zip(clients, "ab", strict=True)
        ]
        for thread in threads:
            thread.start()
        assert underway.wait(10)
        time.sleep(source.uniform(0.0, 0.3))  # the moment is the experiment
        server.kill()
        for thread in threads:
            thread.join()
        server.restart()
    client = impatient(server)
    assert len(answered) >= 4
    for token, job_id in answered.items():
        assert client.create_job(**a_request(ClientRequestToken=token))["JobId"] == job_id
    again = {
        token: client.create_job(**a_request(ClientRequestToken=token))["JobId"] for token in tokens if token not in answered
    }
    listed: list[str] = []
    page: dict[str, Any] = {}
    while not listed or "NextToken" in page:
        page = client.list_jobs(MaxResults=1000, **({"NextToken": page["NextToken"]} if page else {}))
        listed += [job["JobId"] for job in page["Jobs"]]
    assert sorted(listed) == sorted([*answered.values(), *again.values()])


def test_row_33_a_captured_creation_makes_no_second_job(server: HaulierServer) -> None:
    body = s3_body().encode()
    request = AWSRequest("POST", server.url + "/v20180820/jobs", data=body)
    request.headers["x-amz-account-id"] = AWS_ACCOUNT_ID
    request.headers["host"] = f"127.0.0.1:{server.port}"
    S3SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", "us-east-1").add_auth(request)
    captured = raw(server, "POST", "/v20180820/jobs", dict(request.headers.items()), body)
    first, again = exchange(server, captured), exchange(server, captured)
    assert first.startswith(b"HTTP/1.1 200 ")
    assert first.partition(b"<JobId>")[2] == again.partition(b"<JobId>")[2]

    headers = {"host": f"127.0.0.1:{server.port}", "x-cos-appid": COS_APPID}
    now = int(time.time())
    headers["authorization"] = authorization(ACCESS_KEY, SECRET_KEY, "POST", "/jobs", {}, headers, starts=now, ends=now + 600)
    captured = raw(server, "POST", "/jobs", headers, a_body("once").encode())
    assert exchange(server, captured).startswith(b"HTTP/1.1 200 ")
    assert exchange(server, captured).startswith(b"HTTP/1.1 400 ")
    assert len(server.s3control().list_jobs()["Jobs"]) == 2


def test_row_44_half_open_connections_hold_nobody_else_and_are_closed(server: HaulierServer) -> None:
    held = []
    begun = time.monotonic()
    try:
        for number in range(1000):
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=40)
            connection.sendall(
                [b"", b"GET /jobs HTT", b"POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab"][number % 3]
            )
            held.append(connection)
        client = impatient(server)
        took = []
        for _ in range(100):
            asked = time.monotonic()
            client.list_jobs()
            took.append(time.monotonic() - asked)
        assert sorted(took)[98] < 1.0
        for connection in held[:2]:  # heads are due after 10 s; bodies after 30, which a shorter test shows
            while connection.recv(65536):
                pass
        assert time.monotonic() - begun < 30
    finally:
        for connection in held:
            connection.close()


def open_files(pid: int) -> list[str]:
    """The soft and the hard limit."""
    [line] = [each for each in Path(f"/proc/{pid}/limits").read_text().splitlines() if each.startswith("Max open files")]
    return line.split()[3:5]


def limited(option: str) -> list[str]:
    return ["sh", "-c", f'ulimit {option} 500; exec "$@"', "sh"]


def test_a_low_soft_limit_of_open_files_is_raised_for_the_server_and_its_runners(tmp_path: Path) -> None:
    with HaulierServer({"main": STORE}, folder=tmp_path / "server", runners=1, launcher=limited("-Sn")) as server:
        for pid in (server.pid, *server.runner_pids()):
            soft, hard = open_files(pid)
            assert int(soft) == min(int(hard), 65_536) > 500


def test_silent_connections_leave_files_to_the_server_where_there_are_few(tmp_path: Path) -> None:
    with HaulierServer({"main": STORE}, folder=tmp_path / "server", runners=1, launcher=limited("-n")) as server:
        assert open_files(server.pid) == ["500", "500"]
        assert b"too few files for limits.connections" in server.log_file.read_bytes()
        with contextlib.ExitStack() as held:
            for number in range(600):
                address = f"127.0.0.{2 + number % 3}"
                held.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20, source_address=(address, 0)))
            client = impatient(server)
            assert client.create_job(**a_request())["JobId"]
            assert client.list_jobs()["Jobs"]


def test_rows_46_and_47_no_secret_gets_out_and_no_line_is_forged(server: HaulierServer) -> None:
    client = impatient(server)
    forged = 'x\r\n{"event": "forged"}\x1b[31m'
    for attempt in (
        {"Description": forged},
        {"ClientRequestToken": forged},
        {"RoleArn": f"arn:aws:iam::{AWS_ACCOUNT_ID}:role/{forged}"},
        {"Operation": {"S3PutObjectTagging": {"TagSet": [{"Key": forged, "Value": CANARY[:3]}]}}},
    ):
        with pytest.raises(ClientError):
            client.create_job(**a_request(**attempt))
    with pytest.raises(ClientError):
        client.update_job_status(JobId="0" * 36, RequestedJobStatus="Ready", StatusUpdateReason=forged)
    job_id = client.create_job(**a_request(ConfirmationRequired=False))["JobId"]  # its store refuses connections
    server.wait_for(job_id, ["Failed", "Preparing"])
    answers = b""
    for headers in (
        {"Authorization": f"AWS4-HMAC-SHA256 Credential={CANARY}, Signature={CANARY}"},
        {"Authorization": f"Bearer {CANARY}"},
        {"Authorization": f"q-sign-algorithm=sha1&q-ak=A&q-signature={CANARY}"},
        {"x-amz-security-token": CANARY, "Authorization": "x"},
        {"x-cos-security-token": CANARY, "Cookie": CANARY},
    ):
        for target in (
            "/jobs",
            f"/jobs?x-cos-security-token={CANARY}",
            f"/v20180820/jobs?X-Amz-Signature={CANARY}",
            "/api/v1/jobs",
        ):
            for method in ("GET", "POST"):
                host = {"Host": f"127.0.0.1:{server.port}"}
                answers += exchange(server, raw(server, method, target, host | headers, CANARY.encode()))
    answers += json.dumps([client.list_jobs(), client.describe_job(JobId=job_id)], default=str).encode()
    assert server.terminate() == 0
    for secret in (CANARY, SECRET_KEY):
        assert secret.encode() not in answers
        for path in [server.log_file, *(path for path in server.data_dir.rglob("*") if path.is_file())]:
            assert secret.encode() not in path.read_bytes(), path
    log = server.log_file.read_bytes()
    for line in log.splitlines():
        assert json.loads(line)["event"] != "forged"
    assert b"\x1b" not in log
    assert not list(Path.cwd().glob("core*"))


def test_row_46_no_core_is_left_of_the_server_and_its_runners(server: HaulierServer) -> None:
    for pid in (server.pid, *server.runner_pids()):
        [line] = [each for each in Path(f"/proc/{pid}/limits").read_text().splitlines() if each.startswith("Max core file size")]
        assert line.split()[4:6] == ["0", "0"]
