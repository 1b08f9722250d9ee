"""A real `haulier serve` in a process of its own, for tests, the demo and the benchmarks: start it, kill it, start it again."""

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from haulier.boto import boto3_client
from haulier.core.lifecycle import TERMINAL
from haulier.testing.cosclient import CosAnswer, CosClient
from haulier.testing.stores import free_ports

START_SECONDS_MAX: Final = 30.0
STOP_SECONDS_MAX: Final = 15.0
AWS_ACCOUNT_ID: Final = "123456789012"
COS_UIN: Final = "100000000001"
COS_APPID: Final = "1250000000"
ACCESS_KEY: Final = "AKIDEMOADMIN00000001"
SECRET_KEY: Final = "demo-admin-secret-key"
S3_ROLE: Final = f"arn:aws:iam::{AWS_ACCOUNT_ID}:role/batch"
COS_ROLE: Final = f"qcs::cam::uin/{COS_UIN}:roleName/batch"
# A proxy of the environment is for the world outside, never for loopback.
_DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ServerDidNotStart(RuntimeError):
    """The server's process ended or did not answer in time; the text ends with the last lines of its log."""


class WaitedTooLong(RuntimeError):
    """A job did not reach the state that was waited for."""


def toml(tables: Mapping[str, Any], path: str = "", *, begun: bool = False) -> str:
    """Settings as TOML text: nested mappings are tables, sequences of mappings arrays of tables, the rest plain values."""
    plain, nested = [], []
    for name, value in tables.items():
        inner = f"{path}.{name}" if path else name
        if isinstance(value, Mapping):
            nested.append(toml(value, inner))
        elif isinstance(value, Sequence) and value and isinstance(value[0], Mapping):
            nested += [f"[[{inner}]]\n" + toml(table, inner, begun=True) for table in value]
        else:
            plain.append(f"{name} = {json.dumps(value)}\n")  # a string of JSON is a basic string of TOML
    head = f"[{path}]\n" if path and plain and not begun else ""
    return head + "".join(plain) + ("\n" if plain else "") + "".join(nested)


class HaulierServer:
    """One `haulier serve` on a free port of 127.0.0.1, with one account (both identities), its user `admin` and its role `batch`.

    Use it as a context manager, or call `start` and `stop`. Settings, data and log lie under `folder` (a new temporary one unless
    given, removed at the end).
    """

    def __init__(
        self,
        stores: Mapping[str, object],
        *,
        folder: Path | None = None,
        runners: int = 2,
        extra: Mapping[str, Mapping[str, object]] | None = None,
        role_keys: Mapping[str, object] | None = None,
        environment: Mapping[str, str] | None = None,
        launcher: Sequence[str] = (),
    ) -> None:
        """`stores` are the `[stores.…]` tables (see `SeaweedFS.settings`), `extra` keys that are added to the other tables.
        `role_keys`: store → keys of the role's own, or how it gets them; without it uses the stores' keys. `environment` is added
        to ours. `launcher` is a command that puts the command behind it, which is the server's, in its own place."""
        self._own_folder = folder is None
        self._launcher = launcher
        self.folder = folder or Path(tempfile.mkdtemp(prefix="haulier-server-"))
        self.config_file = self.folder / "haulier.toml"
        self.log_file = self.folder / "server.log"
        self.data_dir = self.folder / "data"
        self.port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._environment = {**os.environ, **(environment or {})}
        tables = _settings(stores, self.port, self.data_dir, runners)
        if role_keys is not None:
            tables["accounts"]["acme"]["roles"][0] |= {"use_store_keys": False, "keys": role_keys}
        for name, keys in (extra or {}).items():
            tables[name] = {**tables.get(name, {}), **keys}
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config_file.touch(0o600)
        self.config_file.write_text(toml(tables))

    # -- its life

    def start(self) -> Self:
        """Start it and wait for `GET /healthz` to answer 200. Raises ServerDidNotStart."""
        self.start_process()
        self.wait_healthy()
        return self

    def start_process(self) -> None:
        """Start it and do not wait."""
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._launcher, sys.executable, "-m", "haulier", "serve", "--config", str(self.config_file)],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_healthy(self, seconds: float = START_SECONDS_MAX) -> None:
        """Wait until it serves. Raises ServerDidNotStart when it ended or the time is over."""
        end = time.monotonic() + seconds
        while self.running and time.monotonic() < end:
            if self.healthy():
                return
            time.sleep(0.02)
        raise ServerDidNotStart(f"haulier serve did not become healthy on {self.url}\n{self.log_tail()}")

    def healthy(self) -> bool:
        """Whether `/healthz` answers 200 now."""
        try:
            with _DIRECT.open(f"{self.url}/healthz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError, http.client.HTTPException):
            return False

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The server's process id. Raises ServerDidNotStart when it was not started."""
        if self._process is None:
            raise ServerDidNotStart("the server is not running")
        return self._process.pid

    def runner_pids(self) -> list[int]:
        """Process ids of its children, oldest first."""
        found: list[int] = []
        try:
            for thread in Path(f"/proc/{self.pid}/task").iterdir():  # the kernel lists children by the thread that started them
                found += [int(pid) for pid in (thread / "children").read_text().split()]
        except OSError:
            return []  # it has just ended
        return sorted(found)

    def kill(self) -> None:
        """SIGKILL to the server alone, as when a machine's memory runs out; its runners must notice by themselves."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def restart(self) -> None:
        """Start it again on the same folder and port, after `kill` or `terminate`."""
        if self.running:
            raise ServerDidNotStart("the server is still running: kill or terminate it first")
        self.start()

    def terminate(self) -> int:
        """SIGTERM, then wait; the exit status. Raises TimeoutExpired after 15 s."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(STOP_SECONDS_MAX)

    def stop(self) -> None:
        """End it by any means and remove its folder. May be called twice."""
        if self.running:
            runners = self.runner_pids()
            try:
                self.terminate()
            except subprocess.TimeoutExpired:
                self.kill()
            for pid in runners:
                _kill_if_ours(pid)
        if self._own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.stop()

    def log_tail(self, lines: int = 30) -> str:
        """The last lines of its log."""
        text = self.log_file.read_text(errors="replace") if self.log_file.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    # -- talking to it

    def s3control(self, region: str = "us-east-1") -> Any:
        """A boto3 `s3control` client of this server, signed as its user."""
        return boto3_client(
            self.url, AWS_ACCOUNT_ID, region_name=region, aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY
        )

    @property
    def cos_client(self) -> CosClient:
        """A COS client of this server, signed as its user."""
        return CosClient(self.url, COS_APPID, ACCESS_KEY, SECRET_KEY)

    def cos(self, method: str, path: str, body: bytes | str = b"", query: Mapping[str, str] | None = None) -> CosAnswer:
        """One q-signed request to the COS side; the answer whatever its status."""
        return self.cos_client.send(method, path, body, query)

    def job_status(self, job_id: str) -> str:
        """The job's status, over the COS side."""
        status = self.cos_client.describe_job(job_id).text("Job/Status")
        assert status is not None
        return status

    def wait_for(self, job_id: str, statuses: Collection[str] = TERMINAL, *, seconds: float = 60.0) -> CosAnswer:
        """DescribeJob's answer once the job is in one of the states. Raises WaitedTooLong, at once if it ended in another."""
        end = time.monotonic() + seconds
        while True:
            answer = self.cos_client.describe_job(job_id)
            status = answer.text("Job/Status")
            if status in statuses:
                return answer
            if status in TERMINAL or time.monotonic() > end:
                raise WaitedTooLong(f"job {job_id} is {status}, not {' or '.join(sorted(statuses))}\n{answer.body.decode()}")
            time.sleep(0.05)


def _settings(stores: Mapping[str, object], port: int, data_dir: Path, runners: int) -> dict[str, Any]:
    user = {"name": "admin", "access_key": ACCESS_KEY, "secret_key": SECRET_KEY, "policy": "admin"}
    role = {"name": "batch", "stores": list(stores), "buckets": ["*"], "use_store_keys": True, "users": ["admin"]}
    identity = {"aws_account_id": AWS_ACCOUNT_ID, "cos_uin": COS_UIN, "cos_appid": COS_APPID}
    return {
        "server": {"listen": f"127.0.0.1:{port}", "data_dir": str(data_dir)},
        "engine": {"kind": "local", "runners": runners},
        "stores": stores,
        "accounts": {"acme": {**identity, "users": [user], "roles": [role]}},
    }


def _kill_if_ours(pid: int) -> None:
    """End a runner that outlived its server; the command line guards against a pid that was given to another process."""
    try:
        if b"haulier" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
    except (OSError, ProcessLookupError):
        return
