"""A server of both wires in this process, on a free port, over a real job store; no engine: tests move the jobs themselves."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn

from haulier.api.auth import Authenticator, allowed
from haulier.api.http import HaulierHttpProtocol
from haulier.api.server import create_app
from haulier.core.accounts import Account, Role, User
from haulier.core.job import Job
from haulier.core.lifecycle import JobEvent
from haulier.core.placement import Resolver, Store
from haulier.core.ports import JobMoved
from haulier.jobstore import SqlJobStore
from haulier.service import Service
from haulier.testing.cosclient import CosClient

AWS_ACCOUNT_ID = "123456789012"
COS_UIN = "100000000001"
COS_APPID = "1250000000"


class SettableClock:
    """Real time, until a test says what time it is."""

    def __init__(self) -> None:
        self.fixed_ms: int | None = None

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 if self.fixed_ms is None else self.fixed_ms

    def monotonic(self) -> float:
        return time.monotonic()


def user(name: str, policy: str = "admin", account: str = "acme") -> User:
    return User(account=account, name=name, access_key=f"AKID{name.upper()}", secret_key=f"secret-of-{name}", policy=policy)


def accounts() -> list[Account]:
    acme = Account(
        name="acme",
        aws_account_id=AWS_ACCOUNT_ID,
        cos_uin=COS_UIN,
        cos_appid=COS_APPID,
        users=(user("admin"), user("viewer", "viewer"), user("nobody", "operator")),
        roles=(Role(account="acme", name="batch", stores=("main",), buckets=("*",), users=("admin", "viewer")),),
    )
    other = Account(
        name="other",
        aws_account_id="210987654321",
        cos_uin="100000000002",
        cos_appid="1250000002",
        users=(user("stranger", account="other"),),
        roles=(Role(account="other", name="batch", stores=("main",), buckets=("*",), users=("stranger",)),),
    )
    return [acme, other]


class Serving:
    """What a test needs of the running server."""

    def __init__(self, service: Service, jobstore: SqlJobStore, clock: SettableClock, port: int) -> None:
        self.service = service
        self.jobstore = jobstore
        self.clock = clock
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.epoch = jobstore.begin_epoch()
        self.ready: bool | str = True

    def move(self, job_id: str, *events: JobEvent, **facts: Any) -> Job:
        """What the coordinator would do; the facts go with the last event."""
        for number, event in enumerate(events):
            last = number == len(events) - 1
            job = self.jobstore.commit(self.epoch, [JobMoved(job_id, event, **(facts if last else {}))])[job_id]
        return job

    def jobs(self, account: str = "acme") -> list[Job]:
        return [job for job in self.jobstore.unfinished() if job.account == account]

    def cos(self, name: str = "admin", appid: str = COS_APPID) -> CosClient:
        return CosClient(self.url, appid, f"AKID{name.upper()}", f"secret-of-{name}")

    def s3(self, name: str = "admin", account_id: str = AWS_ACCOUNT_ID) -> Any:
        from haulier import boto3_client

        return boto3_client(
            self.url,
            account_id,
            region_name="us-east-1",
            aws_access_key_id=f"AKID{name.upper()}",
            aws_secret_access_key=f"secret-of-{name}",
        )


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Serving]:
    """The server; it listens when the context begins and has ended when it ends."""
    clock = SettableClock()
    jobstore = SqlJobStore.open(folder / "haulier.db", clock)
    resolver = Resolver([Store(name="main", endpoint="http://127.0.0.1:1", default=True)])
    service = Service(jobstore, resolver, clock, may=allowed, secret=b"s" * 32, unfinished_jobs_max=1000)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    running = Serving(service, jobstore, clock, listener.getsockname()[1])
    app = create_app(service, Authenticator(accounts(), clock), ready=lambda: running.ready)
    started = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            started.set()

    server = Server(
        uvicorn.Config(
            app,
            http=HaulierHttpProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield running
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
        jobstore.close()
