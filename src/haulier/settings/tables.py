"""The tables of the settings file, key by key: the contract. `reader` fills them in, `checks` says what else must hold."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

from haulier.settings.reader import Secret

DAYS_MAX: Final = 36_500


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[server]`: where to listen, and where data lies."""

    listen: str = "127.0.0.1:9444"
    """`host:port`, `[v6 address]:port`; port 0 lets the kernel choose."""
    data_dir: Path = Path("haulier-data")
    """Database and spool lie here. Relative paths of the file begin at the file's folder."""
    secrets_key: Secret | None = None
    """The master keys that seal stored secrets, as lines of VERSION:BASE64; meant for the environment."""
    secrets_key_file: Path | None = None
    """The file that holds the master keys; left out, `secrets.key` in `data_dir`, which is made when it is first needed."""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    hosts: tuple[str, ...] = ()
    """Further names under which the native API answers, besides those of loopback and the host of `listen`."""
    allow_plain_http: bool = False
    """Lets `listen` go beyond loopback without TLS."""
    trusted_proxies: tuple[str, ...] = ()
    cos_http: Literal["loopback", "always", "never"] = "loopback"
    """From which peers a COS mutation without a signed Content-MD5 is taken over plain HTTP."""
    cos_signature_seconds_max: Annotated[int, Meta(ge=1, le=31_536_000)] = 86_400
    """The longest time range that a q-sign signature may span."""

    later: ClassVar[Mapping[str, str]] = {
        "database": "the database is SQLite in server.data_dir",
        "spool": "the spool lies in server.data_dir",
    }

    @property
    def master_key_file(self) -> Path:
        """Where the master keys lie, where `secrets_key` does not say them."""
        return self.secrets_key_file or self.data_dir / "secrets.key"

    @property
    def host(self) -> str:
        """The host to listen on, without brackets."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def served_hosts(self) -> tuple[str, ...]:
        """What the Host header of a request to the native API may name besides loopback: lower case, addresses as in URLs."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return tuple(name.lower() for name in (host, *self.hosts))

    @property
    def port(self) -> int:
        """The port to listen on."""
        return int(self.listen.rpartition(":")[2])

    @property
    def url(self) -> str:
        """Where a client on this machine reaches the server; of no use with port 0."""
        return self.url_at(self.port)

    def url_at(self, port: int) -> str:
        """As `url`, for the port that the kernel chose."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"{'https' if self.tls_certificate else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[engine]`: what executes chunks."""

    kind: Literal["local", "ray"] = "local"
    runners: Annotated[int, Meta(ge=1, le=256)] = len(os.sched_getaffinity(0))
    """Runner processes; one per core unless said otherwise."""


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[stores.NAME]`: see `core.placement.Store` for what each key means."""

    endpoint: str
    buckets: tuple[str, ...] = ()
    regions: tuple[str, ...] = ("us-east-1",)
    default: bool = False
    access_key: str | None = None
    secret_key: Secret | None = None
    session_token: Secret | None = None
    addressing: Literal["path", "virtual"] = "path"
    ca_file: Path | None = None
    scratch_bucket: str | None = None
    probe: Literal["auto", "scratch", "known", "off", "target"] = "auto"
    requests_per_second: Annotated[float, Meta(ge=0.001, le=1_000_000)] | None = None
    in_flight_max: Annotated[int, Meta(ge=1, le=10_000)] = 256
    read_only: bool = False


class UserSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[[accounts.NAME.users]]`: who may call the API."""

    name: str
    access_key: str
    secret_key: Secret
    policy: str
    """`admin`, `operator`, `viewer`, or the path of a JSON document, from the file's folder on."""


class RoleKeys(msgspec.Struct, frozen=True, kw_only=True):
    """`[accounts.NAME.roles.keys.STORE]`: a role's own keys for one store, or how it gets them from STS."""

    access_key: str | None = None
    secret_key: Secret | None = None
    session_token: Secret | None = None
    assume_role_arn: str | None = None
    """The role to assume; access_key and secret_key, or else those of the store, ask for it."""
    sts_endpoint: str | None = None
    external_id: str | None = None
    duration_seconds: Annotated[int, Meta(ge=60, le=43_200)] = 3600
    """How long the credentials should last; AWS gives 900 at least."""


class RoleSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[[accounts.NAME.roles]]`: what a job may act as."""

    name: str
    stores: tuple[str, ...] = ()
    buckets: tuple[str, ...] = ()
    use_store_keys: bool = False
    users: tuple[str, ...] = ()
    keys: Mapping[str, RoleKeys] = {}


class QuotaSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[accounts.NAME.limits]`: what the account may use at most. What is left out is as in `[limits]`."""

    requests_per_second: Annotated[float, Meta(ge=0.001, le=1_000_000)] | None = None
    jobs: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    """Not terminal."""
    tasks_per_job: Annotated[int, Meta(ge=1, le=1_000_000_000_000)] | None = None
    spool_bytes: Annotated[int, Meta(ge=1, le=1 << 60)] | None = None


class AccountSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[accounts.NAME]`: a tenant and its identity on each wire."""

    aws_account_id: str | None = None
    cos_uin: str | None = None
    cos_appid: str | None = None
    weight: Annotated[float, Meta(ge=0.001, le=1_000)] = 1.0
    """Its share of the runners, beside the weights of other accounts that have work."""
    limits: QuotaSettings
    users: tuple[UserSettings, ...] = ()
    roles: tuple[RoleSettings, ...] = ()


class LimitSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[limits]`."""

    jobs_active: Annotated[int, Meta(ge=1, le=100_000)] = 1_000
    """Jobs whose tasks run at the same time; the others wait in Ready."""
    jobs_per_account: Annotated[int, Meta(ge=1, le=1_000_000)] = 1_000
    """Jobs of one account that are not terminal."""
    requests_per_second_per_account: Annotated[float, Meta(ge=0.001, le=1_000_000)] | None = None
    """Left out: no limit."""
    spool_bytes_per_account: Annotated[int, Meta(ge=1, le=1 << 60)] | None = None
    """Of staged manifests and outcomes. Left out: no limit."""
    tasks_per_job: Annotated[int, Meta(ge=1, le=1_000_000_000_000)] = 20_000_000_000
    """AWS's limit for most operations."""
    connections: Annotated[int, Meta(ge=1, le=1_000_000)] = 8_000
    """Open connections of clients; further ones are answered 503 and closed. Fewer where the process may open too few files."""
    connections_per_peer: Annotated[int, Meta(ge=1, le=1_000_000)] = 2_000
    """Of one address. A reverse proxy is one address: raise it behind one."""
    body_bytes: Annotated[int, Meta(ge=1_024, le=1_048_576)] = 1_048_576
    """Of a request's body; the XML reader takes no more than the default in any case."""
    confirmation_days: Annotated[int, Meta(ge=1, le=DAYS_MAX)] = 30
    """After so long in Suspended a job ends Failed."""
    store_outage_hours: Annotated[float, Meta(ge=0.001, le=24 * DAYS_MAX)] = 24.0
    """A store that does not answer for so long ends the jobs that need it; until then their tasks are held, and none fails."""
    retention_days: Annotated[int, Meta(ge=1, le=DAYS_MAX)] = 90
    """A job's record is kept so long after its end."""
    spool_retention_days: Annotated[int, Meta(ge=1, le=DAYS_MAX)] = 7
    """A job's outcomes are kept so long after its end."""


class CompatSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[compat]`: where to be as narrow as the clouds, or wider."""

    s3_copy_5gb: bool = False
    cos_copy_5gb: bool = False
    """Refuse to copy objects above 5 GB, as the cloud does. Not usable in this version: `checks`."""
    extensions: bool = True
    """Accept what the wire's own documentation does not have: delete on the S3 wire, pause."""


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file."""

    server: ServerSettings
    engine: EngineSettings
    stores: Mapping[str, StoreSettings] = {}
    accounts: Mapping[str, AccountSettings] = {}
    limits: LimitSettings
    compat: CompatSettings

    later: ClassVar[Mapping[str, str]] = {
        "functions": "this version cannot call functions",
        "replication": "this version has no replication jobs",
    }
