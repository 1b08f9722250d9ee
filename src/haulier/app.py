"""The only place that wires settings → stores → service → engine → HTTP."""

import contextlib
import os
import random
import resource
import signal
import ssl
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Final

import structlog
import uvicorn
from starlette.types import ASGIApp

from haulier import datadir, logs
from haulier.admin.administration import InForce
from haulier.admin.listener import Listener
from haulier.admin.setup import administration, defined
from haulier.admin.uses import KeyUses
from haulier.api.auth import Authenticator
from haulier.api.descriptors import connections_within, raise_limit
from haulier.api.http import HaulierHttpProtocol, protocol
from haulier.api.listening import listen
from haulier.api.native.watching import Watching
from haulier.api.server import create_app
from haulier.api.tls import SecuringServer, server_context
from haulier.audit import AuditLog, Endings
from haulier.core.accounts import Quotas
from haulier.core.brake import Brake
from haulier.core.clock import SystemClock, timestamp
from haulier.core.directory import Directory
from haulier.core.errors import HaulierError
from haulier.core.placement import Resolver
from haulier.core.policy import Policies
from haulier.core.policy.rights import Rights
from haulier.core.ports import Clock
from haulier.engine.briefs import Briefs
from haulier.engine.clocksteps import ClockSteps
from haulier.engine.coordinator import Coordinator
from haulier.engine.credentials import RoleCredentials
from haulier.engine.grants import Grants
from haulier.engine.joblife import JobLimits
from haulier.engine.local import LocalEngine
from haulier.engine.proofs import Proofs
from haulier.engine.sweeper import Sweeper
from haulier.jobstore import SqlJobStore
from haulier.objectstore.sts import StsClient
from haulier.objectstore.transport import CurlDriver
from haulier.service import Service
from haulier.settings import Settings, load
from haulier.spool import FolderSpool

STS_CALLS_MAX: Final = 16
REQUEST_DRAIN_SECONDS: Final = 5
"""How long running requests may take after SIGTERM; chunks drain meanwhile, and all is over within 10 s."""
RESTART_GROUPS: Final = ("server", "engine", "compat")
"""Groups of the settings that are read at start only."""
DEFAULT_REGION: Final = "us-east-1"
"""Of COS requests whose host names none, where no store has a region."""

_log = structlog.get_logger(__name__)


class _Server(SecuringServer):
    """A signal lets the runners drain while the last requests are answered, and sends home who waits."""

    def __init__(
        self, config: uvicorn.Config, context: ssl.SSLContext | None, coordinator: Coordinator, watching: Watching
    ) -> None:
        super().__init__(config, context)
        self._coordinator = coordinator
        self._watching = watching

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn's own would raise the signal again at the end, before the runners have drained."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.handle_exit)
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._coordinator.begin_stop()
        self._watching.close()
        super().handle_exit(sig, frame)


class _Parts:
    """Everything that runs, wired together by the settings; `reload` gives it new ones."""

    def __init__(self, settings: Settings, jobstore: SqlJobStore, audit: AuditLog, clock: Clock) -> None:
        data_dir, limits = settings.server.data_dir, settings.limits
        stores = settings.store_list()
        self.directory = Directory()
        self.policies = Policies()
        self.brake = Brake()
        in_force = InForce(self.directory, self.policies, self.brake)
        self.administration = administration(settings, jobstore.accounts, audit, clock, in_force)
        self.settings = settings
        self._started_with = settings
        self._reloading = threading.Lock()
        self._jobstore = jobstore
        self._audit = audit
        self._clock = clock
        self._spool = FolderSpool(data_dir / "spool")
        self.failure: BaseException | None = None
        self.engine = LocalEngine(data_dir, stores, settings.engine.runners)
        rights = Rights(self.policies)
        self._sts = StsClient(lambda: CurlDriver(clock=clock, in_flight_max=STS_CALLS_MAX), clock)
        credentials = RoleCredentials(self._sts.assume, clock, random.random, answered=self.engine.wake)
        self.briefs = Briefs(
            self.directory, settings.store_credentials(), rights, self._spool, credentials, quotas=_quotas(settings)
        )
        self.proofs = Proofs(stores, clock)
        self.grants = Grants(stores, clock)
        self.coordinator = Coordinator(
            jobstore,
            self.engine,
            self._spool,
            self.briefs,
            self.proofs,
            self.grants,
            credentials,
            clock,
            limits=_job_limits(settings),
            steps=ClockSteps(data_dir / "clock.json", clock),
            crashed=self._crashed,
            brake=self.brake,
        )
        self.service = Service(
            jobstore,
            Resolver(stores),
            clock,
            rights=rights,
            secret=datadir.kept_secret(data_dir / "list-tokens.key"),
            quotas=_quotas(settings),
            list_days=limits.retention_days,
            spool_retention_days=limits.spool_retention_days,
            extensions=settings.compat.extensions,
        )
        self.authenticator = Authenticator(
            self.directory,
            clock,
            default_region=_default_region(settings),
            cos_http=settings.server.cos_http,
            cos_signature_seconds_max=settings.server.cos_signature_seconds_max,
        )
        self._sweeper = self._new_sweeper()
        watching = Watching(self.service)
        app = create_app(
            self.service,
            self.authenticator,
            audit,
            ready=self._ready,
            body_bytes_max=lambda: self.settings.limits.body_bytes,
            watching=watching,
            hosts=settings.server.served_hosts,
        )
        self._protocol = protocol()
        self._limit_connections(settings)
        self.server = _Server(_http(settings, app, self._protocol), _tls(settings), self.coordinator, watching)

    def _ready(self) -> bool | str:
        return self.coordinator.problem or self._audit.problem or True

    def _crashed(self, error: BaseException) -> None:
        """Nothing moves any more: better no server than one that accepts jobs and never runs them."""
        self.failure = error
        self.server.should_exit = True

    def _limit_connections(self, settings: Settings) -> None:
        wanted, per_peer, runners = settings.limits.connections, settings.limits.connections_per_peer, settings.engine.runners
        files = raise_limit(wanted, runners)
        connections, per_peer = connections_within(files, wanted, per_peer, runners)
        if connections < wanted:
            _log.warning(
                "this process may open too few files for limits.connections; fewer are let in. Raise its hard limit (ulimit -Hn)",
                files=files,
                wanted=wanted,
                connections=connections,
                per_peer=per_peer,
            )
        self._protocol.connections_max = connections
        self._protocol.connections_per_peer_max = per_peer

    def _new_sweeper(self) -> Sweeper:
        limits = self.settings.limits
        return Sweeper(
            self._jobstore,
            self._spool,
            self._clock,
            epoch=lambda: self.coordinator.epoch,
            spool_retention_days=limits.spool_retention_days,
            retention_days=limits.retention_days,
        )

    def start(self) -> None:
        """Let jobs run."""
        self._sts.start()
        self.coordinator.start()
        self._sweeper.start()

    def stop(self) -> None:
        """Let no job run any more."""
        self.coordinator.stop()
        self._sts.stop()
        with self._reloading:
            self._sweeper.stop()

    def read_again(self) -> None:
        """Load the settings anew and take over what can be; settings that cannot be used change nothing."""
        with self._reloading:
            try:
                settings = load(self.settings.path, os.environ)
                self._reload(settings)
            except HaulierError as error:
                _log.error("settings were not reloaded; the old ones stay in force", error=str(error))
                return
            except Exception:  # noqa: BLE001 - a thread of its own: nobody else would be told
                _log.exception("settings were not reloaded in full; restart the server")
                return
        _log.info("settings reloaded: users, policies, roles, stores and limits")
        if waiting := _changed(self._started_with, settings):
            _log.warning("these settings have changed, but hold only after a restart", keys=waiting)
        _tell(settings)

    def _reload(self, settings: Settings) -> None:
        """Take over users, policies, roles, stores and limits (design §8); all else needs a new start."""
        stores = settings.store_list()
        self.administration.load(defined(settings))
        self.authenticator.default_region = _default_region(settings)
        self.briefs.reload(settings.store_credentials(), quotas=_quotas(settings))
        self.proofs.reload(stores)
        self.grants.reload(stores)
        self.engine.reload(stores)
        self.coordinator.limits = _job_limits(settings)
        self.coordinator.replace_keys()
        self._limit_connections(settings)
        self.service.reload(
            Resolver(stores),
            quotas=_quotas(settings),
            list_days=settings.limits.retention_days,
            spool_retention_days=settings.limits.spool_retention_days,
        )
        self.settings = settings
        self._sweeper.stop()
        self._sweeper = self._new_sweeper()
        self._sweeper.start()


def serve(settings: Settings) -> int:
    """Run the server until SIGTERM or SIGINT; the process's exit status. Raises DataDirectoryBusy and SettingsError."""
    logs.configure()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # of the runners too: a dump would hold every secret
    clock = SystemClock()
    with datadir.locked(settings.server.data_dir), contextlib.ExitStack() as stack:
        sockets = listen(settings.server.host, settings.server.port)
        for opened in sockets:
            stack.callback(opened.close)
        jobstore = SqlJobStore.open(settings.server.data_dir / "haulier.db", clock)
        stack.callback(jobstore.close)
        audit = AuditLog(settings.server.data_dir / "audit", clock)
        audit.start()
        stack.callback(audit.stop)
        stack.callback(jobstore.watch(Endings(audit)))
        parts = _Parts(settings, jobstore, audit, clock)
        for thread in (KeyUses(parts.administration), Listener(settings.server.data_dir, parts.administration.execute)):
            stack.callback(thread.stop)
            thread.start()
        # In a thread: it may wait for the sweeper, and requests are answered meanwhile.
        signal.signal(signal.SIGHUP, lambda _signal, _frame: threading.Thread(target=parts.read_again, daemon=True).start())
        _tell(settings)
        if parts.brake.since_ms is not None:
            since = timestamp(parts.brake.since_ms)
            _log.warning("everything is stopped, no job runs: haulier stop-all --resume lets them go on", since=since)
        stack.callback(parts.stop)
        parts.start()
        url = settings.server.url_at(sockets[0].getsockname()[1])
        _log.info("serving", url=url, runners=settings.engine.runners, data_dir=str(settings.server.data_dir))
        if url.startswith("http://"):  # clients do not verify the certificate of a proxy
            account_id = next((account.aws_account_id for account in settings.account_list() if account.aws_account_id), "ID")
            _log.info("boto3 and aws-cli reach it without DNS by HTTP_PROXY", recipe=recipe(url, account_id))
        parts.server.run(sockets)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return 1 if parts.failure is not None or not parts.server.started else 0


def recipe(url: str, account_id: str) -> str:
    """How stock boto3 and aws-cli, which put the account id before every host, reach a server on loopback."""
    options = f"--account-id {account_id} --endpoint-url http://s3control.haulier --region us-east-1"
    return f"HTTP_PROXY={url} aws s3control list-jobs {options}"


def _tell(settings: Settings) -> None:
    """What the operator should know about these settings."""
    for warning in settings.warnings:
        _log.warning(warning)
    for name, store in settings.stores.items():
        if store.probe == "off":
            _log.warning("operations are not tried on this store before a job runs them", store=name, probe="off")


def _changed(before: Settings, after: Settings) -> list[str]:
    """The keys that differ in groups which are read at start only."""
    return [
        f"{group}.{key}"
        for group in RESTART_GROUPS
        for key in getattr(before, group).__struct_fields__
        if getattr(getattr(before, group), key) != getattr(getattr(after, group), key)
    ]


def _default_region(settings: Settings) -> str:
    return next((store.region for store in settings.store_list()), DEFAULT_REGION)


def _quotas(settings: Settings) -> Quotas:
    """What holds for accounts that have no limits of their own."""
    return Quotas(
        requests_per_second=settings.limits.requests_per_second_per_account,
        unfinished_jobs=settings.limits.jobs_per_account,
        tasks_per_job=settings.limits.tasks_per_job,
        spool_bytes=settings.limits.spool_bytes_per_account,
    )


def _job_limits(settings: Settings) -> JobLimits:
    limits = settings.limits
    return JobLimits(
        active_max=limits.jobs_active, confirmation_days=limits.confirmation_days, outage_hours=limits.store_outage_hours
    )


def _tls(settings: Settings) -> ssl.SSLContext | None:
    certificate, key = settings.server.tls_certificate, settings.server.tls_key
    return None if certificate is None or key is None else server_context(certificate, key)


def _http(settings: Settings, app: ASGIApp, http: type[HaulierHttpProtocol]) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.server.host,
        port=settings.server.port,
        http=http,
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
    )
