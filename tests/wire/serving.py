"""A server of both wires in this process, on a free port, over a real job store; no engine: tests move the jobs themselves."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import uvicorn

from haulier.api.auth import Authenticator
from haulier.api.http import HaulierHttpProtocol
from haulier.api.native.watching import Watching
from haulier.api.server import create_app
from haulier.audit import AuditLog
from haulier.audit.files import files
from haulier.core.accounts import Account, Key, KeyKind, Quotas, Role, User, hash_of
from haulier.core.directory import Directory
from haulier.core.job import Job
from haulier.core.lifecycle import JobEvent as E
from haulier.core.placement import Resolver, Store
from haulier.core.policy import Policies
from haulier.core.policy.rights import Rights
from haulier.core.ports import JobMoved, ListQuery
from haulier.jobstore import SqlJobStore
from haulier.service import Service
from haulier.testing.cosclient import CosAnswer, CosClient
from wire.native import NativeClient
from wire.xmls import read_twice

AWS_ACCOUNT_ID = "123456789012"
COS_UIN = "100000000001"
COS_APPID = "1250000000"

A_JOB: dict[str, Any] = {
    "Manifest": {
        "Spec": {"Format": "S3BatchOperations_CSV_20180820", "Fields": ["Bucket", "Key"]},
        "Location": {"ObjectArn": "arn:aws:s3:::lists/m.csv", "ETag": '"60e4"'},
    },
    "Operation": {"S3PutObjectTagging": {"TagSet": [{"Key": "k", "Value": "v"}]}},
    "Priority": 10,
    "Report": {"Enabled": False},
    "RoleArn": f"arn:aws:iam::{AWS_ACCOUNT_ID}:role/batch",
}
"""A CreateJob that is accepted, but for its token."""

_READY = (E.PICKED_UP, E.PREPARED)
_ACTIVE = (*_READY, E.STARTED)
WAYS: dict[str, tuple[E, ...]] = {
    "New": (),
    "Preparing": (E.PICKED_UP,),
    "Suspended": (E.PICKED_UP, E.CONFIRMATION_DUE),
    "Ready": _READY,
    "Active": _ACTIVE,
    "Pausing": (*_ACTIVE, E.HELD),
    "Paused": (*_ACTIVE, E.HELD, E.DRAINED),
    "Completing": (*_ACTIVE, E.TASKS_DONE),
    "Complete": (*_ACTIVE, E.TASKS_DONE, E.REPORTED),
    "Cancelling": (*_ACTIVE, E.CANCEL_REQUESTED),
    "Cancelled": (*_ACTIVE, E.CANCEL_REQUESTED, E.REPORTED),
    "Failing": (*_ACTIVE, E.FAILED),
    "Failed": (*_ACTIVE, E.FAILED, E.REPORTED),
}
"""What must happen to a new job until it is in a state."""


class SettableClock:
    """Real time, until a test says what time it is."""

    def __init__(self) -> None:
        self.fixed_ms: int | None = None
        self.stopped: float | None = None
        """What `monotonic` says while it does not go on."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 if self.fixed_ms is None else self.fixed_ms

    def monotonic(self) -> float:
        return time.monotonic() if self.stopped is None else self.stopped


def user(name: str, policy: str = "admin", account: str = "acme") -> User:
    return User(account=account, name=name, policy=policy, keys=(Key(id=f"AKID{name.upper()}", secret_key=f"secret-of-{name}"),))


TOKEN = "tok/en+1=="
"""What goes with the key AKIDTEMPORARY of the user `admin`."""


def accounts() -> list[Account]:
    admin = user("admin")
    temporary = Key(
        id="AKIDTEMPORARY", kind=KeyKind.SESSION, secret_key="secret-of-temporary", token_hash=hash_of(TOKEN.encode())
    )
    admin = msgspec.structs.replace(admin, keys=(*admin.keys, temporary))
    acme = Account(
        name="acme",
        aws_account_id=AWS_ACCOUNT_ID,
        cos_uin=COS_UIN,
        cos_appid=COS_APPID,
        users=(admin, user("viewer", "viewer"), user("nobody", "operator")),
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


class NullAudit:
    """Keeps nothing."""

    problem: str | None = None

    def record(self, entry: Mapping[str, Any], *, durable: bool = False) -> bool:
        return True


class ReadTwice(CosClient):
    """Has every answer read by two XML parsers."""

    def send(self, *asked: Any, **how: Any) -> CosAnswer:
        answer = super().send(*asked, **how)
        if answer.body:
            read_twice(answer.body)
        return answer


class Serving:
    """What a test needs of the running server."""

    def __init__(
        self,
        service: Service,
        jobstore: SqlJobStore,
        audit: AuditLog,
        folder: Path,
        clock: SettableClock,
        port: int,
        directory: Directory,
        watching: Watching,
    ) -> None:
        self.service = service
        self.jobstore = jobstore
        self.audit = audit
        self.folder = folder
        self.clock = clock
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.epoch = jobstore.begin_epoch()
        self.directory = directory
        self.watching = watching
        self.ready: bool | str = True
        self.settled: set[str] = set()
        """Jobs that stay in their state."""

    def move(self, job_id: str, *events: E, **facts: Any) -> Job:
        """What the coordinator would do; the facts go with the last event."""
        for number, event in enumerate(events):
            last = number == len(events) - 1
            job = self.jobstore.commit(self.epoch, [JobMoved(job_id, event, **(facts if last else {}))])[job_id]
        return job

    def jobs(self, account: str = "acme") -> list[Job]:
        return [job for job in self.jobstore.unfinished() if job.account == account]

    def every_job(self, account: str = "acme") -> list[Job]:
        """Also those that have ended."""
        return list(self.jobstore.list(ListQuery(account=account, newest_first=False, limit=10_000)))

    def job_that_is(self, status: str) -> str:
        """The id of a job in that state: always the same one, made when it is first asked for."""
        job_id = self._admin.create_job(**A_JOB, ClientRequestToken=f"that is {status}")["JobId"]
        if job_id not in self.settled:
            self.settled.add(job_id)
            if WAYS[status]:
                self.move(job_id, *WAYS[status], total=0)
        return job_id

    def audited(self) -> list[dict[str, Any]]:
        """The requests in the audit log, once all that was answered is in it."""
        self.audit.record({"kind": "mark"}, durable=True)
        return [entry for entry in self.audit_entries() if entry["kind"] == "request"]

    def audit_entries(self) -> list[dict[str, Any]]:
        """All that is in the audit log."""
        return [json.loads(line) for path in files(self.folder / "audit") for line in path.read_bytes().splitlines()]

    def native(self, name: str = "admin") -> NativeClient:
        return NativeClient(self.port, f"AKID{name.upper()}", f"secret-of-{name}")

    def cos(self, name: str = "admin", appid: str = COS_APPID) -> CosClient:
        return ReadTwice(self.url, appid, f"AKID{name.upper()}", f"secret-of-{name}")

    @cached_property
    def _admin(self) -> Any:
        return self.s3()

    def s3(self, name: str = "admin", account_id: str = AWS_ACCOUNT_ID) -> Any:
        """boto3's client, whose answers a second XML parser reads too."""
        from haulier import boto3_client

        client = boto3_client(
            self.url,
            account_id,
            region_name="us-east-1",
            aws_access_key_id=f"AKID{name.upper()}",
            aws_secret_access_key=f"secret-of-{name}",
        )
        client.meta.events.register("response-received.s3-control", _read_again)
        return client


def _read_again(response_dict: dict[str, Any] | None = None, **_: Any) -> None:
    if response_dict and response_dict["body"]:
        read_twice(response_dict["body"])


def new_service(folder: Path, clock: SettableClock) -> tuple[Service, SqlJobStore]:
    """A service over a job store in the folder; to be closed."""
    jobstore = SqlJobStore.open(folder / "haulier.db", clock)
    resolver = Resolver([Store(name="main", endpoint="http://127.0.0.1:1", default=True)])
    return Service(
        jobstore, resolver, clock, rights=Rights(Policies()), secret=b"s" * 32, quotas=Quotas(unfinished_jobs=1000)
    ), jobstore


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Serving]:
    """The server; it listens when the context begins and has ended when it ends."""
    clock = SettableClock()
    service, jobstore = new_service(folder, clock)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    audit = AuditLog(folder / "audit", clock)
    audit.start()
    directory, watching = Directory(accounts()), Watching(service)
    running = Serving(service, jobstore, audit, folder, clock, listener.getsockname()[1], directory, watching)
    authenticator = Authenticator(directory, clock)
    app = create_app(service, authenticator, audit, ready=lambda: running.ready, watching=watching, hosts=["batch.example"])
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
        watching.close()
        thread.join(10)
        listener.close()
        audit.stop()
        jobstore.close()
