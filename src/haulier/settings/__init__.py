"""The settings: one TOML file, overlaid by the environment, as one frozen `Settings`. The keys stand in `tables`.

Values may come from `HAULIER_STORES__MAIN__SECRET_KEY`, or from the file that `HAULIER_STORES__MAIN__SECRET_KEY_FILE` names;
arrays of tables (users, roles) only from the TOML file. An unknown key is an error, and so is a key of the contract that
this version cannot use yet: nothing is ignored.
"""

import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from haulier.core.accounts import Account, AssumedRole, Credentials, Key, Quotas, Role, User
from haulier.core.errors import SettingsError
from haulier.core.placement import Resolver, Store
from haulier.core.policy import Policy
from haulier.settings.checks import check_account, check_accounts, check_compat, check_engine, check_server, check_store
from haulier.settings.policies import read_policies
from haulier.settings.reader import Origin, Secret, read
from haulier.settings.tables import (
    AccountSettings,
    CompatSettings,
    Document,
    EngineSettings,
    LimitSettings,
    RoleKeys,
    ServerSettings,
    StoreSettings,
)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was set, checked: what is here can be used. Secrets are in no repr."""

    path: Path
    server: ServerSettings
    engine: EngineSettings
    limits: LimitSettings
    compat: CompatSettings
    stores: Mapping[str, StoreSettings]
    accounts: Mapping[str, AccountSettings]
    policies: Mapping[str, Policy]
    """Policy documents by what users of the settings call them: the path, as written."""
    origins: Mapping[str, Origin]
    warnings: tuple[str, ...]
    """What the operator should be told at start."""

    def origin(self, path: str) -> Origin:
        """Where the value of a key came from. Raises KeyError if there is no such key."""
        return self.origins[path]

    def store_list(self) -> tuple[Store, ...]:
        """The stores in the file's order, without their keys."""
        return tuple(_store(name, table) for name, table in self.stores.items())

    def store_credentials(self) -> Mapping[str, Credentials]:
        """Store name → the store's own keys; stores without keys are left out."""
        return {
            name: _credentials(table.access_key, table.secret_key, table.session_token)
            for name, table in self.stores.items()
            if table.access_key is not None and table.secret_key is not None
        }

    def account_list(self) -> tuple[Account, ...]:
        """The accounts in the file's order, with users and roles."""
        return tuple(_account(name, table, self.stores) for name, table in self.accounts.items())


def load(path: Path, environ: Mapping[str, str]) -> Settings:
    """Read and check the settings. Raises SettingsError naming the offending key, never with a secret in it."""
    path = Path(path)
    tree = _tree(path)
    document, origins = read(Document, tree, environ, path.absolute().parent)
    if origins["server.data_dir"] == "default":
        data_dir = path.absolute().parent / document.server.data_dir
        document = msgspec.structs.replace(document, server=msgspec.structs.replace(document.server, data_dir=data_dir))
    settings = Settings(
        path=path.absolute(),
        server=document.server,
        engine=document.engine,
        limits=document.limits,
        compat=document.compat,
        stores=document.stores,
        accounts=document.accounts,
        policies=read_policies(document.accounts, path.absolute().parent),
        origins=origins,
        warnings=tuple(_warnings(path, document, origins)),
    )
    _check(settings)
    return settings


def _tree(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise SettingsError("", f"cannot read {path}: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError("", f"{path} is not TOML: {error}") from None
    except UnicodeDecodeError:
        raise SettingsError("", f"{path} is not UTF-8 text") from None


def _check(settings: Settings) -> None:
    check_server(settings.server)
    check_engine(settings.engine)
    check_compat(settings.compat)
    for name, table in settings.stores.items():
        check_store(name, table)
    Resolver(settings.store_list())
    keyed = frozenset(settings.store_credentials())
    for name, account in settings.accounts.items():
        check_account(name, account, frozenset(settings.stores), keyed)
    check_accounts(settings.accounts)


def _warnings(path: Path, document: Document, origins: Mapping[str, Origin]) -> list[str]:
    secret = any(
        origin == "file" and key.endswith((".secret_key", ".secrets_key", ".session_token")) for key, origin in origins.items()
    )
    private = [path] if secret else []
    private += [file for file in (document.server.tls_key, document.server.secrets_key_file) if file is not None]
    found = [f"{file} holds secrets and others may read it: chmod 600 {file}" for file in private if _open_to_others(file)]
    if not document.stores:
        found.append("no [stores.NAME]: every job will fail, for no store answers for any bucket")
    if not document.accounts:
        found.append("no [accounts.NAME]: every request will be refused")
    return found


def _open_to_others(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except OSError:
        return False  # whether the file can be read at all is checked elsewhere


# -- what the other rooms are given --------------------------------------------------------------------------------------------


def _credentials(access_key: str, secret_key: Secret, session_token: Secret | None) -> Credentials:
    # Plain text again: these travel to runners in control frames, and Secret is no type of theirs.
    return Credentials(access_key, str(secret_key), None if session_token is None else str(session_token))


def _store(name: str, table: StoreSettings) -> Store:
    return Store(
        name=name,
        endpoint=table.endpoint.rstrip("/"),
        buckets=table.buckets,
        regions=table.regions,
        default=table.default,
        addressing=table.addressing,
        ca_file=None if table.ca_file is None else str(table.ca_file),
        scratch_bucket=table.scratch_bucket,
        probe=table.probe,
        in_flight_max=table.in_flight_max,
        requests_per_second=table.requests_per_second,
        read_only=table.read_only,
    )


def _assumed(keys: RoleKeys, arn: str, endpoint: str, store: StoreSettings) -> AssumedRole:
    own = keys if keys.access_key is not None else store
    assert own.access_key is not None  # `checks` has seen to it
    assert own.secret_key is not None
    return AssumedRole(
        arn=arn,
        endpoint=endpoint,
        caller=_credentials(own.access_key, own.secret_key, own.session_token),
        region=store.regions[0],
        external_id=keys.external_id,
        duration_seconds=keys.duration_seconds,
        ca_file=None if store.ca_file is None else str(store.ca_file),
    )


def _account(name: str, table: AccountSettings, stores: Mapping[str, StoreSettings]) -> Account:
    return Account(
        name=name,
        aws_account_id=table.aws_account_id,
        cos_uin=table.cos_uin,
        cos_appid=table.cos_appid,
        quotas=Quotas(
            requests_per_second=table.limits.requests_per_second,
            unfinished_jobs=table.limits.jobs,
            tasks_per_job=table.limits.tasks_per_job,
            spool_bytes=table.limits.spool_bytes,
        ),
        weight=table.weight,
        users=tuple(
            User(
                account=name,
                name=user.name,
                policy=user.policy,
                keys=(Key(id=user.access_key, secret_key=str(user.secret_key)),),
            )
            for user in table.users
        ),
        roles=tuple(
            Role(
                account=name,
                name=role.name,
                stores=role.stores,
                buckets=role.buckets,
                use_store_keys=role.use_store_keys,
                keys={
                    store: _credentials(keys.access_key, keys.secret_key, keys.session_token)
                    for store, keys in role.keys.items()
                    if keys.assume_role_arn is None and keys.access_key is not None and keys.secret_key is not None
                },
                assumed={
                    store: _assumed(keys, keys.assume_role_arn, keys.sts_endpoint, stores[store])
                    for store, keys in role.keys.items()
                    if keys.assume_role_arn is not None and keys.sts_endpoint is not None
                },
                users=role.users,
            )
            for role in table.roles
        ),
    )
