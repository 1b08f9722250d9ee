"""The only place that wires settings → stores → service → engine → HTTP."""

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Final

import structlog
import uvicorn

from haulier import logs
from haulier.api.auth import Authenticator, allowed
from haulier.api.http import HaulierHttpProtocol
from haulier.api.server import create_app
from haulier.core.clock import SystemClock
from haulier.core.errors import DataDirectoryBusy
from haulier.core.placement import Resolver
from haulier.engine.briefs import Briefs
from haulier.engine.coordinator import Coordinator
from haulier.engine.local import LocalEngine
from haulier.engine.prober import Proofs
from haulier.engine.sweeper import Sweeper
from haulier.jobstore import SqlJobStore
from haulier.service import Service
from haulier.settings import Settings
from haulier.spool import FolderSpool

REQUEST_DRAIN_SECONDS: Final = 5
"""How long running requests may take after SIGTERM; chunks drain meanwhile, and all is over within 10 s."""
SECRET_BYTES: Final = 32

_log = structlog.get_logger(__name__)


class _Server(uvicorn.Server):
    """uvicorn's server; a signal lets the runners drain while the last requests are answered."""

    coordinator: Coordinator
    failed = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.coordinator.begin_stop()
        super().handle_exit(sig, frame)

    def coordinator_crashed(self, _error: BaseException) -> None:
        """Nothing moves any more: better no server than one that accepts jobs and never runs them."""
        self.failed = True
        self.should_exit = True


def serve(settings: Settings) -> int:
    """Run the server until SIGTERM or SIGINT; the process's exit status. Raises DataDirectoryBusy and SettingsError."""
    logs.configure()
    for warning in settings.warnings:
        _log.warning(warning)
    data_dir = settings.server.data_dir
    clock = SystemClock()
    with _locked(data_dir), contextlib.ExitStack() as stack:
        jobstore = SqlJobStore.open(data_dir / "haulier.db", clock)
        stack.callback(jobstore.close)
        spool = FolderSpool(data_dir / "spool")
        stores, accounts = settings.store_list(), settings.account_list()
        engine = LocalEngine(data_dir, stores, settings.engine.runners)
        server = _Server(uvicorn.Config(lambda: None))
        coordinator = server.coordinator = Coordinator(
            jobstore,
            engine,
            spool,
            Briefs(accounts, settings.store_credentials(), tasks_max=settings.limits.tasks_per_job),
            Proofs(stores, clock),
            clock,
            active_max=settings.limits.jobs_active,
            confirmation_days=settings.limits.confirmation_days,
            crashed=server.coordinator_crashed,
        )
        service = Service(
            jobstore,
            Resolver(stores),
            clock,
            may=allowed,
            secret=_kept_secret(data_dir / "list-tokens.key"),
            unfinished_jobs_max=settings.limits.jobs_per_account,
            list_days=settings.limits.retention_days,
            extensions=settings.compat.extensions,
        )
        authenticator = Authenticator(
            accounts,
            clock,
            default_region=stores[0].region,
            cos_http=settings.server.cos_http,
            cos_signature_seconds_max=settings.server.cos_signature_seconds_max,
        )
        app = create_app(
            service, authenticator, ready=lambda: coordinator.problem or True, body_bytes_max=settings.limits.body_bytes
        )
        server.config = _http(settings, app)
        sweeper = Sweeper(
            jobstore,
            spool,
            clock,
            spool_retention_days=settings.limits.spool_retention_days,
            retention_days=settings.limits.retention_days,
        )
        sweeper.start()
        stack.callback(sweeper.stop)
        coordinator.start()
        stack.callback(coordinator.stop)
        _log.info("serving", listen=settings.server.listen, runners=settings.engine.runners, data_dir=str(data_dir))
        server.run()
    return 1 if server.failed else 0


def _http(settings: Settings, app: object) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        host=settings.server.host,
        port=settings.server.port,
        http=HaulierHttpProtocol,
        ws="none",
        loop="uvloop",
        lifespan="off",
        log_config=None,
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
