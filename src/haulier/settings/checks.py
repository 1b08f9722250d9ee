"""What must hold beyond the type of each key: forms, groups of keys, names that refer to each other. All raise SettingsError."""

import ipaddress
import re
import ssl
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from haulier.core.errors import SettingsError
from haulier.core.names import AWS_ACCOUNT_ID, BUCKET_PATTERN, DIGITS, PRINCIPAL, WORD, problems_of_role
from haulier.core.policy import BUILT_IN
from haulier.settings.policies import names_document
from haulier.settings.reader import not_usable
from haulier.settings.tables import (
    AccountSettings,
    CompatSettings,
    EngineSettings,
    RoleKeys,
    ServerSettings,
    StoreSettings,
    UserSettings,
)

_HOST: Final = re.compile(r"[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]")
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_REGION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
# A key id of a caller stands in the credential scope of SigV4 and in a list of k=v&… in q-sign.
_CALLER_KEY: Final = re.compile(r"[A-Za-z0-9._+=@:-]{1,128}")


def check_server(server: ServerSettings) -> None:
    """`[server]`."""
    host, port = _host_and_port(server.listen, "server.listen")
    if (server.tls_certificate is None) != (server.tls_key is None):
        missing = "tls_key" if server.tls_key is None else "tls_certificate"
        raise SettingsError(f"server.{missing}", "is missing: tls_certificate and tls_key go together")
    _check_readable(server.tls_certificate, "server.tls_certificate")
    _check_readable(server.tls_key, "server.tls_key")
    _check_certificate(server.tls_certificate, server.tls_key)
    if server.tls_key is None and not server.allow_plain_http and not _is_loopback(host):
        raise SettingsError(
            "server.listen",
            f"{host} port {port} is beyond loopback and would speak plain HTTP: set tls_certificate and tls_key, "
            "or allow_plain_http = true where something else protects the way",
        )
    _check_all(_HOST, server.hosts, "server.hosts", "the name or address of a host, without scheme and port")
    if server.trusted_proxies:
        raise not_usable("server.trusted_proxies", "forwarding headers are not read, so leave the array empty")
    if server.secrets_key is not None and server.secrets_key_file is not None:
        raise SettingsError("server.secrets_key_file", "is set beside server.secrets_key: the master keys come from one place")
    if server.data_dir.exists() and not server.data_dir.is_dir():
        raise SettingsError("server.data_dir", f"{server.data_dir} is not a folder")


def check_engine(engine: EngineSettings) -> None:
    """`[engine]`."""
    if engine.kind == "ray":
        raise not_usable("engine.kind", 'the engine is "local"')


def check_compat(compat: CompatSettings) -> None:
    """`[compat]`."""
    for name in ("s3_copy_5gb", "cos_copy_5gb"):
        if getattr(compat, name):
            raise not_usable(f"compat.{name}", "the store alone says how large a copy may be, so leave it false")


def check_store(name: str, store: StoreSettings) -> None:
    """`[stores.NAME]` by itself; how stores go together is `core.placement.Resolver`'s."""
    path = f"stores.{name}"
    _check_endpoint(store.endpoint, f"{path}.endpoint")
    _check_all(BUCKET_PATTERN, store.buckets, f"{path}.buckets", "a bucket's name or glob")
    _check_all(_REGION, store.regions, f"{path}.regions", "a region")
    if not store.regions:
        raise SettingsError(f"{path}.regions", "must name at least one region: the first is signed with")
    if (store.access_key is None) != (store.secret_key is None):
        missing = "secret_key" if store.secret_key is None else "access_key"
        raise SettingsError(f"{path}.{missing}", "is missing: access_key and secret_key go together")
    if store.session_token is not None and store.access_key is None:
        raise SettingsError(f"{path}.session_token", "is of use only beside access_key and secret_key")
    _check_keys(path, store.access_key, store.secret_key, store.session_token)
    _check_readable(store.ca_file, f"{path}.ca_file")
    if store.scratch_bucket is not None and not _BUCKET.fullmatch(store.scratch_bucket):
        raise SettingsError(f"{path}.scratch_bucket", f"{store.scratch_bucket!r} is not a bucket's name")
    if store.probe == "target":
        raise not_usable(f"{path}.probe", 'name a scratch_bucket and use "scratch"')
    if store.probe == "scratch" and store.scratch_bucket is None:
        raise SettingsError(f"{path}.probe", '"scratch" needs scratch_bucket')


def check_account(name: str, account: AccountSettings, stores: Collection[str], keyed: Collection[str]) -> None:
    """`[accounts.NAME]` by itself. `stores` are all stores' names, `keyed` those that have keys of their own."""
    path = f"accounts.{name}"
    if account.aws_account_id is not None and not AWS_ACCOUNT_ID.fullmatch(account.aws_account_id):
        raise SettingsError(f"{path}.aws_account_id", f"{account.aws_account_id!r} is not 12 digits")
    for key, value in (("cos_uin", account.cos_uin), ("cos_appid", account.cos_appid)):
        if value is not None and not DIGITS.fullmatch(value):
            raise SettingsError(f"{path}.{key}", f"{value!r} is not digits only")
    if (account.cos_uin is None) != (account.cos_appid is None):
        missing = "cos_uin" if account.cos_uin is None else "cos_appid"
        raise SettingsError(f"{path}.{missing}", "is missing: cos_uin (in role names) and cos_appid (in requests) go together")
    if account.aws_account_id is None and account.cos_uin is None:
        raise SettingsError(path, "has no identity: set aws_account_id, or cos_uin and cos_appid, or all three")
    _check_unique((user.name for user in account.users), f"{path}.users", "name")
    _check_unique((role.name for role in account.roles), f"{path}.roles", "name")
    for index, user in enumerate(account.users):
        _check_user(f"{path}.users[{index}]", user)
    for index, role in enumerate(account.roles):
        # Users that it names may have been made by a command: `admin.merging` looks at them.
        for place, problem in problems_of_role(role, stores, keyed):
            raise SettingsError(f"{path}.roles[{index}]{place}", problem)
        for store, keys in role.keys.items():
            _check_role_keys(f"{path}.roles[{index}].keys.{store}", keys, has_caller=store in keyed)


def _check_role_keys(path: str, keys: RoleKeys, *, has_caller: bool) -> None:
    if (keys.access_key is None) != (keys.secret_key is None):
        missing = "secret_key" if keys.secret_key is None else "access_key"
        raise SettingsError(f"{path}.{missing}", "is missing: access_key and secret_key go together")
    if keys.assume_role_arn is None and keys.sts_endpoint is None:
        if keys.access_key is None:
            raise SettingsError(path, "has neither access_key and secret_key, nor assume_role_arn and sts_endpoint")
        if keys.external_id is not None:
            raise SettingsError(f"{path}.external_id", "is of use only beside assume_role_arn")
        return
    if keys.assume_role_arn is None or keys.sts_endpoint is None:
        missing = "assume_role_arn" if keys.assume_role_arn is None else "sts_endpoint"
        raise SettingsError(f"{path}.{missing}", "is missing: assume_role_arn and sts_endpoint go together")
    _check_endpoint(keys.sts_endpoint, f"{path}.sts_endpoint")
    for name, value, longest in (("assume_role_arn", keys.assume_role_arn, 2048), ("external_id", keys.external_id, 1224)):
        if value is not None and (not WORD.fullmatch(value) or len(value) > longest):
            raise SettingsError(f"{path}.{name}", f"must be 1 to {longest:,} ASCII characters without blanks")
    if keys.access_key is None and not has_caller:
        raise SettingsError(path, "nobody can ask STS: give it access_key and secret_key here, or to the store")


def check_accounts(accounts: Mapping[str, AccountSettings]) -> None:
    """What must be unique over all accounts: their identities, and the access keys of all users."""
    owners: dict[tuple[str, str], str] = {}
    for name, account in accounts.items():
        for key in ("aws_account_id", "cos_uin", "cos_appid"):
            if (value := getattr(account, key)) is not None and (other := owners.setdefault((key, value), name)) != name:
                raise SettingsError(f"accounts.{name}.{key}", f"account {other!r} has {value!r} already")
    keys: dict[str, str] = {}
    for name, account in accounts.items():
        for index, user in enumerate(account.users):
            path = f"accounts.{name}.users[{index}].access_key"
            if (other := keys.setdefault(user.access_key, path)) != path:
                raise SettingsError(path, f"is the same as {other}: an access key must name one user")


def _check_user(path: str, user: UserSettings) -> None:
    if not PRINCIPAL.fullmatch(user.name):
        raise SettingsError(f"{path}.name", f"{user.name!r} is not a name: up to 64 letters, digits and _+=,.@-")
    if not _CALLER_KEY.fullmatch(user.access_key):
        raise SettingsError(f"{path}.access_key", "must be up to 128 letters, digits and ._+=@:-")
    _check_keys(path, user.access_key, user.secret_key)
    if user.policy not in BUILT_IN and not names_document(user.policy):
        known = ", ".join(map(repr, BUILT_IN))
        raise SettingsError(f"{path}.policy", f"must be {known}, or the path of a .json file, not {user.policy[:60]!r}")


# -- forms -------------------------------------------------------------------------------------------------------------------


def _host_and_port(listen: str, path: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not host.strip("[]") or (":" in host and not bracketed):
        raise SettingsError(path, f"{listen!r} is not HOST:PORT (127.0.0.1:9444, [::1]:9444)")
    if not DIGITS.fullmatch(port) or int(port) > 65_535:
        raise SettingsError(path, f"{port!r} is not a port: a number from 0 to 65,535")
    return host.strip("[]"), int(port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _check_endpoint(endpoint: str, path: str) -> None:
    """`http://host[:port]`. The value is shown only where it holds no user information, which may be a password."""
    try:
        url = urlsplit(endpoint)
        host, port = url.hostname, url.port
    except ValueError:
        raise SettingsError(path, "is not a URL: host or port cannot be read") from None
    if url.username is not None or url.password is not None:
        raise SettingsError(path, "must not hold a user or password: use access_key and secret_key")
    if url.scheme not in ("http", "https") or not host or not WORD.fullmatch(endpoint):
        raise SettingsError(path, f"{endpoint!r} is not an http or https URL (http://127.0.0.1:9000)")
    if url.path not in ("", "/") or url.query or url.fragment:
        raise SettingsError(path, f"{endpoint!r} must end after host and port: a store is addressed without a path")
    if port == 0:
        raise SettingsError(path, f"{endpoint!r} names port 0")


def _check_keys(path: str, access_key: str | None, secret_key: str | None, session_token: str | None = None) -> None:
    for key, value in (("access_key", access_key), ("secret_key", secret_key), ("session_token", session_token)):
        if value is not None and not WORD.fullmatch(value):
            raise SettingsError(f"{path}.{key}", "must be at most 4,096 ASCII characters without blanks")


def _check_readable(file: Path | None, path: str) -> None:
    if file is None:
        return
    try:
        with file.open("rb"):
            pass
    except OSError as error:
        raise SettingsError(path, f"cannot read {file}: {error.strerror}") from None


def _check_certificate(certificate: Path | None, key: Path | None) -> None:
    """Both are tried as the server will use them. An empty password keeps OpenSSL from asking for one on the terminal."""
    if certificate is None or key is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:
        problem = (getattr(error, "reason", None) or str(error)).lower().replace("_", " ")
        raise SettingsError(
            "server.tls_certificate",
            f"{certificate} with the key {key} is no usable pair ({problem}): both must be PEM, the key without a password",
        ) from None


def _check_all(form: re.Pattern[str], values: Iterable[str], path: str, name: str) -> None:
    for at, value in enumerate(values):
        if not form.fullmatch(value):
            raise SettingsError(f"{path}[{at}]", f"{value[:60]!r} is not {name}")


def _check_unique(values: Iterable[str], path: str, key: str) -> None:
    seen: set[str] = set()
    for at, value in enumerate(values):
        if value in seen:
            raise SettingsError(f"{path}[{at}].{key}", f"{value!r} is taken already")
        seen.add(value)
