"""Tenants: accounts, their users with their keys, roles, and the caller that a verified request speaks for."""

import fnmatch
import hashlib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

import msgspec

from haulier.core.job import Dialect


class Credentials(msgspec.Struct, frozen=True):
    """A key pair for a store. Never written to disk, logs, argv or environment."""

    access_key: str
    secret_key: str
    session_token: str | None = None
    expires_ms: int | None = None
    """When they are over, by our clock; then newer ones will come. None = nobody knows, or never."""

    def __repr__(self) -> str:
        return f"Credentials({self.access_key!r}, …)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("access_key", self.access_key)]


class KeyKind(StrEnum):
    """What a key is made of, and so what a request has to show."""

    ACCESS = "access"
    """An access key and a secret that signs."""
    SESSION = "session"
    """The same for a limited time; the session token must come along."""
    BEARER = "bearer"
    """A token that is sent as it is. It signs nothing."""


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """What a user proves with that a request is its own."""

    id: str
    """What names the key in requests and lists: never secret. Of a bearer token it is made up, and stands in no request."""
    kind: KeyKind = KeyKind.ACCESS
    secret_key: str = ""
    """Of access and session keys."""
    token_hash: bytes = b""
    """`hash_of` the token, of session keys and bearer tokens."""
    expires_ms: int | None = None
    actions: tuple[str, ...] | None = None
    """Globs over the actions that the key is good for, whatever more its user may do; None = no such limit."""

    def expired(self, now_ms: int) -> bool:
        """Whether its time is over."""
        return self.expires_ms is not None and now_ms >= self.expires_ms

    def covers(self, names: Sequence[str]) -> bool:
        """Whether the key is good for an action, given by all its names: one of them is enough."""
        if self.actions is None:
            return True
        patterns = [pattern.lower() for pattern in self.actions]
        return any(fnmatch.fnmatchcase(name.lower(), pattern) for name in names for pattern in patterns)

    def __repr__(self) -> str:
        return f"Key({self.id!r}, {self.kind.value}, …)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("id", self.id)]


def hash_of(token: bytes) -> bytes:
    """What is kept of a token. It is random and long, so one round of SHA-256 is as good as many."""
    return hashlib.sha256(token).digest()


class User(msgspec.Struct, frozen=True, kw_only=True):
    """Who may call the API."""

    account: str
    name: str
    policy: str
    """The name of a policy: `admin`, `operator`, `viewer`, or that of a document (`core.policy.Policies`)."""
    keys: tuple[Key, ...] = ()
    """Those that are in force or were until they expired."""
    disabled: bool = False
    """Lets none of its keys in, and none of its jobs start."""

    def __repr__(self) -> str:
        return f"User({self.account}/{self.name})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("name", self.name)]


class AssumedRole(msgspec.Struct, frozen=True, kw_only=True):
    """How a role gets its credentials for a store: by AssumeRole of an STS."""

    arn: str
    """The role to assume, as STS knows it."""
    endpoint: str
    caller: Credentials
    """Who asks."""
    region: str
    """Signed for."""
    external_id: str | None = None
    duration_seconds: int = 3600
    ca_file: str | None = None

    def __repr__(self) -> str:
        return f"AssumedRole({self.arn!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("arn", self.arn)]


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """What a job may act as (decisions §1): which stores and buckets, with which keys, and who may pass it."""

    account: str
    name: str
    stores: tuple[str, ...] = ()
    buckets: tuple[str, ...] = ()
    """Names and globs; empty = none."""
    use_store_keys: bool = False
    keys: Mapping[str, Credentials] = {}
    """Store name → keys of the role's own."""
    assumed: Mapping[str, AssumedRole] = {}
    """Store name → how it gets credentials there from STS."""
    users: tuple[str, ...] = ()

    def allows(self, store: str, bucket: str) -> bool:
        """Whether a job with this role may touch the bucket on the store."""
        return store in self.stores and any(fnmatch.fnmatchcase(bucket, pattern) for pattern in self.buckets)

    def __repr__(self) -> str:
        return f"Role({self.account}/{self.name})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("name", self.name)]


class Quotas(msgspec.Struct, frozen=True, kw_only=True):
    """What an account may use at most; None where only the server's own limit holds."""

    requests_per_second: float | None = None
    unfinished_jobs: int | None = None
    tasks_per_job: int | None = None
    spool_bytes: int | None = None
    """Of staged manifests and outcomes of all its jobs."""

    def or_else(self, defaults: "Quotas") -> "Quotas":
        """These, and the defaults for what they leave open."""
        return Quotas(
            **{name: getattr(defaults if getattr(self, name) is None else self, name) for name in self.__struct_fields__}
        )


NO_QUOTAS: Final = Quotas()


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant, with the identity it has on each wire."""

    name: str
    aws_account_id: str | None = None
    cos_uin: str | None = None
    cos_appid: str | None = None
    quotas: Quotas = NO_QUOTAS
    weight: float = 1.0
    """Its share of runners, beside other accounts' weights."""
    users: tuple[User, ...] = ()
    roles: tuple[Role, ...] = ()

    def role(self, name: str) -> Role | None:
        """The role of that name."""
        return next((role for role in self.roles if role.name == name), None)

    def user(self, name: str) -> User | None:
        """The user of that name."""
        return next((user for user in self.users if user.name == name), None)


class Identity(msgspec.Struct, frozen=True):
    """Whose key it is."""

    account: Account
    user: User
    key: Key


class Caller(msgspec.Struct, frozen=True):
    """Who sent the request, as one function found after verifying it. Handlers accept nothing else."""

    account: Account
    user: User
    dialect: Dialect
    region: str
    key: Key | None = None
    """What it was verified by; None where the caller is no client (a test, the server itself)."""
    peer: str = ""
    """The address the request came from; empty where there is none."""
    secure: bool = False
    """Whether the request came over TLS."""
