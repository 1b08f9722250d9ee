"""The only place that wires settings → stores → service → engine → HTTP."""

import contextlib
import fcntl
import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Final

import structlog
import uvicorn
from starlette.types import ASGIApp

from haulier import logs
from haulier.api.auth import Authenticator, allowed
from haulier.api.http import HaulierHttpProtocol
from haulier.api.server import create_app
from haulier.core.clock import SystemClock
from haulier.core.errors import DataDirectoryBusy, HaulierError
from haulier.core.placement import Resolver
from haulier.core.ports import Clock
from haulier.engine.briefs import Briefs
from haulier.engine.coordinator import Coordinator, JobLimits
from haulier.engine.local import LocalEngine
from haulier.engine.prober import Proofs
from haulier.engine.sweeper import Sweeper
from haulier.jobstore import SqlJobStore
from haulier.service import Service
from haulier.settings import Settings, load
from haulier.spool import FolderSpool

REQUEST_DRAIN_SECONDS: Final = 5
"""How long running requests may take after SIGTERM; chunks drain meanwhile, and all is over within 10 s."""
SECRET_BYTES: Final = 32

_log = structlog.get_logger(__name__)


class _Server(uvicorn.Server):
    """uvicorn's server; a signal lets the runners drain while the last requests are answered."""

    def __init__(self, config: uvicorn.Config, coordinator: Coordinator) -> None:
        super().__init__(config)
        self._coordinator = coordinator

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn's own would raise the signal again at the end, before the runners have drained."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.handle_exit)
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._coordinator.begin_stop()
        super().handle_exit(sig, frame)


class _Parts:
    """Everything that runs, wired together by the settings; `reload` gives it new ones."""

    def __init__(self, settings: Settings, jobstore: SqlJobStore, clock: Clock) -> None:
        data_dir, limits = settings.server.data_dir, settings.limits
        stores, accounts = settings.store_list(), settings.account_list()
        spool = FolderSpool(data_dir / "spool")
        self.failure: BaseException | None = None
        self.engine = LocalEngine(data_dir, stores, settings.engine.runners)
        self.briefs = Briefs(accounts, settings.store_credentials(), tasks_max=limits.tasks_per_job)
        self.proofs = Proofs(stores, clock)
        self.coordinator = Coordinator(
            jobstore, self.engine, spool, self.briefs, self.proofs, clock, limits=_job_limits(settings), crashed=self._crashed
        )
        self.service = Service(
            jobstore,
            Resolver(stores),
            clock,
            may=allowed,
            secret=_kept_secret(data_dir / "list-tokens.key"),
            unfinished_jobs_max=limits.jobs_per_account,
            list_days=limits.retention_days,
            extensions=settings.compat.extensions,
        )
        self.authenticator = Authenticator(
            accounts,
            clock,
            default_region=stores[0].region,
            cos_http=settings.server.cos_http,
            cos_signature_seconds_max=settings.server.cos_signature_seconds_max,
        )
        self.sweeper = Sweeper(
            jobstore, spool, clock, spool_retention_days=limits.spool_retention_days, retention_days=limits.retention_days
        )
        app = create_app(self.service, self.authenticator, ready=self._ready, body_bytes_max=limits.body_bytes)
        self.server = _Server(_http(settings, app), self.coordinator)

    def _ready(self) -> bool | str:
        return self.coordinator.problem or True

    def _crashed(self, error: BaseException) -> None:
        """Nothing moves any more: better no server than one that accepts jobs and never runs them."""
        self.failure = error
        self.server.should_exit = True

    def reload(self, settings: Settings) -> None:
        """Take over users, roles, stores and limits (design §8); all else needs a new start."""
        stores, accounts = settings.store_list(), settings.account_list()
        self.authenticator.reload(accounts)
        self.briefs.reload(accounts, settings.store_credentials(), tasks_max=settings.limits.tasks_per_job)
        self.proofs.reload(stores)
        self.engine.reload(stores)
        self.coordinator.limits = _job_limits(settings)
        self.service.reload(
            Resolver(stores), unfinished_jobs_max=settings.limits.jobs_per_account, list_days=settings.limits.retention_days
        )


def serve(settings: Settings) -> int:
    """Run the server until SIGTERM or SIGINT; the process's exit status. Raises DataDirectoryBusy and SettingsError."""
    logs.configure()
    for warning in settings.warnings:
        _log.warning(warning)
    clock = SystemClock()
    with _locked(settings.server.data_dir), contextlib.ExitStack() as stack:
        jobstore = SqlJobStore.open(settings.server.data_dir / "haulier.db", clock)
        stack.callback(jobstore.close)
        parts = _Parts(settings, jobstore, clock)
        signal.signal(signal.SIGHUP, lambda _signal, _frame: _reload(parts, settings.path))
        for name, store in settings.stores.items():
            if store.probe == "off":
                _log.warning("operations are not tried on this store before a job runs them", store=name, probe="off")
        parts.sweeper.start()
        stack.callback(parts.sweeper.stop)
        parts.coordinator.start()
        stack.callback(parts.coordinator.stop)
        _log.info("serving", url=settings.server.url, runners=settings.engine.runners, data_dir=str(settings.server.data_dir))
        _log.info("boto3 and aws-cli reach it without DNS by HTTP_PROXY", recipe=recipe(settings.server.url))
        parts.server.run()
    return 1 if parts.failure is not None or not parts.server.started else 0


def recipe(url: str) -> str:
    """How stock boto3 and aws-cli, which put the account id before every host, reach a server on loopback."""
    return f"HTTP_PROXY={url} aws s3control list-jobs --account-id ID --endpoint-url http://s3control.haulier --region us-east-1"


def _reload(parts: _Parts, path: Path) -> None:
    try:
        parts.reload(load(path, os.environ))
    except HaulierError as error:
        _log.error("settings were not reloaded; the old ones stay in force", error=str(error))
    else:
        _log.info("settings reloaded: users, roles, stores and limits")


def _job_limits(settings: Settings) -> JobLimits:
    return JobLimits(active_max=settings.limits.jobs_active, confirmation_days=settings.limits.confirmation_days)


def _http(settings: Settings, app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.server.host,
        port=settings.server.port,
        http=HaulierHttpProtocol,
        ws="none",
        loop="uvloop",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,  # X-Forwarded-* would let a local peer pass for TLS or another address: decisions, "cos_http"
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=REQUEST_DRAIN_SECONDS,
        ssl_certfile=settings.server.tls_certificate,
        ssl_keyfile=settings.server.tls_key,
    )


@contextlib.contextmanager
def _locked(data_dir: Path) -> Iterator[None]:
    """Make the data directory, private to this user, and hold its lock. Raises DataDirectoryBusy."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(lock, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise DataDirectoryBusy(
                f"the data directory {str(data_dir)!r} is in use by another haulier server (process {owner});"
                " stop it, or set server.data_dir to another folder"
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(lock)


def _kept_secret(path: Path) -> bytes:
    """A random secret that survives restarts, so that a list token given before one is good after it."""
    try:
        kept = path.read_bytes()
    except FileNotFoundError:
        kept = b""
    if len(kept) != SECRET_BYTES:
        kept = secrets.token_bytes(SECRET_BYTES)
        path.touch(0o600)
        path.write_bytes(kept)
    return kept
