"""`haulier serve` as a process, without a store: how it begins, what it refuses, what it logs, what it takes over at SIGHUP."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from haulier.testing.server import HaulierServer, ServerDidNotStart

STORE = {"main": {"endpoint": "http://127.0.0.1:1", "default": True, "access_key": "k", "secret_key": "s"}}
Make = Callable[..., HaulierServer]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Make]:
    """Makes a server that is not started yet."""
    made: list[HaulierServer] = []

    def make(stores: dict[str, Any] = STORE, **arguments: Any) -> HaulierServer:
        made.append(HaulierServer(stores, folder=tmp_path / "server", runners=1, **arguments))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def log_of(server: HaulierServer) -> list[dict[str, Any]]:
    """Every line of the log; each is JSON."""
    return [json.loads(line) for line in server.log_file.read_text().splitlines()]


def logged(server: HaulierServer, event: str, times: int = 1) -> list[dict[str, Any]]:
    """The log lines of that event, once there are so many."""
    end = time.monotonic() + 10
    while len(found := [line for line in log_of(server) if line["event"] == event]) < times:
        assert time.monotonic() < end, server.log_tail()
        time.sleep(0.02)
    return found


def change(server: HaulierServer, *changes: tuple[str, str]) -> None:
    text = server.config_file.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    server.config_file.write_text(text)


def refusal(server: HaulierServer) -> tuple[int, str]:
    """Exit status and output of a server that does not start."""
    command = [sys.executable, "-m", "haulier", "serve", "--config", str(server.config_file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def test_a_port_in_use_is_one_clear_line_and_nothing_has_started(server: Make) -> None:
    started = server()
    with socket.create_server(("127.0.0.1", started.port)):
        status, said = refusal(started)
    assert status == 2
    assert said == f"haulier: server.listen: cannot listen on 127.0.0.1 port {started.port}: Address already in use\n"
    assert not (started.data_dir / "haulier.db").exists()


def test_a_host_that_has_no_address_is_one_clear_line(server: Make) -> None:
    started = server(extra={"server": {"listen": "no-such-host.invalid:0", "allow_plain_http": True}})
    status, said = refusal(started)
    assert (status, said.count("\n")) == (2, 1)
    assert said.startswith("haulier: server.listen: cannot listen on no-such-host.invalid port 0: ")


def test_a_key_that_does_not_fit_is_refused_before_anything_starts(server: Make) -> None:
    status, said = refusal(server(extra={"server": {"tls_certificate": "/etc/hostname", "tls_key": "/etc/hostname"}}))
    assert (status, said.count("\n")) == (2, 1)
    assert said.startswith("haulier: server.tls_certificate: ")


def test_the_port_that_the_kernel_chose_is_logged(server: Make) -> None:
    started = server(extra={"server": {"listen": "127.0.0.1:0"}})
    started.start_process()
    (line,) = logged(started, "serving")
    assert line["url"].startswith("http://127.0.0.1:")
    started.port = int(line["url"].rpartition(":")[2])
    started.url = line["url"]
    started.wait_healthy()
    (help_line,) = logged(started, "boto3 and aws-cli reach it without DNS by HTTP_PROXY")
    assert f"HTTP_PROXY={started.url} " in help_line["recipe"]


def test_without_stores_it_serves_and_its_log_is_json_whatever_happens(server: Make) -> None:
    with server({}) as started:
        assert started.s3control().list_jobs()["Jobs"] == []
        with socket.create_connection(("127.0.0.1", started.port)) as connection:
            connection.sendall(b"\x16\x03\x01 no HTTP\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 400 ")
        assert started.terminate() == 0
        warned = [line for line in log_of(started) if line["level"] == "warning"]
        assert any(line["event"].startswith("no [stores.NAME]") for line in warned)
        assert [line["event"] for line in warned if line.get("logger") == "uvicorn.error"] == ["Invalid HTTP request received."]


def test_a_data_directory_that_others_may_enter_is_made_private(server: Make) -> None:
    started = server()
    started.data_dir.mkdir(mode=0o755, parents=True)
    started.data_dir.chmod(0o755)
    with started:
        assert started.data_dir.stat().st_mode & 0o777 == 0o700
        (line,) = logged(started, "others had access to the data directory; it is private now")
        assert (line["was"], line["level"]) == ("0755", "warning")


def test_sighup_takes_over_what_it_can_and_names_the_rest(server: Make) -> None:
    with server(extra={"limits": {"body_bytes": 1024}}) as started:
        assert started.cos("POST", "/jobs", "x" * 2000).text("Code") == "XMLSizeLimit"
        change(
            started,
            ("body_bytes = 1024", "body_bytes = 4096\nretention_days = 10"),
            ("default = true", 'default = true\nprobe = "off"\nregions = ["ap-chengdu"]'),
            ("runners = 1", "runners = 2"),
            ("[server]", "[server]\ncos_signature_seconds_max = 60"),
        )
        started.config_file.chmod(0o644)
        os.kill(started.pid, signal.SIGHUP)
        (line,) = logged(started, "these settings have changed, but hold only after a restart")
        assert (line["keys"], line["level"]) == (["server.cos_signature_seconds_max", "engine.runners"], "warning")
        logged(started, "operations are not tried on this store before a job runs them")
        assert any(line["event"].endswith(f"chmod 600 {started.config_file}") for line in log_of(started))
        assert started.cos("POST", "/jobs", "x" * 2000).text("Code") == "MalformedXML"
        assert started.cos("POST", "/jobs", "x" * 5000).text("Code") == "XMLSizeLimit"
        os.kill(started.pid, signal.SIGHUP)  # what needs a restart is told again for as long as it does
        logged(started, "these settings have changed, but hold only after a restart", times=2)
        assert started.terminate() == 0


def test_settings_that_cannot_be_used_change_nothing(server: Make) -> None:
    with server() as started:
        change(started, ("[server]", "[server]\nnonsense = 1"), ('policy = "admin"', 'policy = "viewer"'))
        os.kill(started.pid, signal.SIGHUP)
        (line,) = logged(started, "settings were not reloaded; the old ones stay in force")
        assert "server.nonsense" in line["error"]
        with pytest.raises(ClientError, match="NotFoundException"):
            started.s3control().update_job_priority(JobId="0" * 36, Priority=1)


def policy(effect: str) -> str:
    every = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    listing = {"Effect": effect, "Action": "cos:ListJobs", "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [every, listing]})


def test_a_policy_document_is_read_at_start_and_at_sighup_and_a_broken_one_changes_nothing(server: Make) -> None:
    started = server()
    document = started.folder / "rights.json"
    change(started, ('policy = "admin"', 'policy = "rights.json"'))
    document.write_text(policy("Permit"))
    status, said = refusal(started)
    assert status == 2
    assert said == (f'haulier: accounts.acme.users[0].policy: {document}: Statement[1].Effect: must be "Allow" or "Deny"\n')
    document.write_text(policy("Allow"))
    with started:
        client = started.s3control()
        assert client.list_jobs()["Jobs"] == []
        document.write_text(policy("Deny"))
        os.kill(started.pid, signal.SIGHUP)
        logged(started, "settings reloaded: users, policies, roles, stores and limits")
        with pytest.raises(ClientError, match="AccessDenied"):
            client.list_jobs()
        document.write_text("{")
        os.kill(started.pid, signal.SIGHUP)
        (line,) = logged(started, "settings were not reloaded; the old ones stay in force")
        assert line["error"].startswith(f"accounts.acme.users[0].policy: {document}: is not JSON")
        with pytest.raises(ClientError, match="AccessDenied"):
            client.list_jobs()


def test_a_server_that_does_not_start_says_why(server: Make) -> None:
    started = server()
    change(started, ("[server]", "[server]\nnonsense = 1"))
    with pytest.raises(ServerDidNotStart, match=r"server\.nonsense"):
        started.start()


def test_a_record_of_logging_is_one_line_of_json_with_its_traceback_in_a_field() -> None:
    code = (
        "import logging\nfrom haulier import logs\nlogs.configure()\n"
        "try:\n    1 / 0\nexcept ZeroDivisionError:\n"
        "    logging.getLogger('uvicorn.error').exception('broken %s\\n', 'pipe')\n"
        "logging.getLogger('asyncio').log(35, '100 %% odd')\nlogging.getLogger('x').info('silent')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second = (json.loads(line) for line in done.stderr.splitlines())
    assert (first["event"], first["logger"], first["level"]) == ("broken pipe", "uvicorn.error", "error")
    assert first["exception"].endswith("ZeroDivisionError: division by zero")
    assert (second["event"], second["level"]) == ("100 %% odd", logging.getLevelName(30).lower())
    assert done.stdout == ""
