"""Tenants: accounts, their users and roles, and the caller that a verified request speaks for."""

import fnmatch
from collections.abc import Mapping
from typing import Any

import msgspec

from haulier.core.job import Dialect


class Credentials(msgspec.Struct, frozen=True):
    """A key pair for a store. Never written to disk, logs, argv or environment."""

    access_key: str
    secret_key: str
    session_token: str | None = None

    def __repr__(self) -> str:
        return f"Credentials({self.access_key!r}, …)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("access_key", self.access_key)]


class User(msgspec.Struct, frozen=True, kw_only=True):
    """Who may call the API."""

    account: str
    name: str
    access_key: str
    secret_key: str
    policy: str
    """`admin`, `operator` or `viewer`."""

    def __repr__(self) -> str:
        return f"User({self.account}/{self.name})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("name", self.name)]


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
    users: tuple[str, ...] = ()

    def allows(self, store: str, bucket: str) -> bool:
        """Whether a job with this role may touch the bucket on the store."""
        return store in self.stores and any(fnmatch.fnmatchcase(bucket, pattern) for pattern in self.buckets)

    def __repr__(self) -> str:
        return f"Role({self.account}/{self.name})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("name", self.name)]


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant, with the identity it has on each wire."""

    name: str
    aws_account_id: str | None = None
    cos_uin: str | None = None
    cos_appid: str | None = None
    users: tuple[User, ...] = ()
    roles: tuple[Role, ...] = ()

    def role(self, name: str) -> Role | None:
        """The role of that name."""
        return next((role for role in self.roles if role.name == name), None)


class Caller(msgspec.Struct, frozen=True):
    """Who signed the request, as one function found after verifying it. Handlers accept nothing else."""

    account: Account
    user: User
    dialect: Dialect
    region: str
