"""The settings: what is accepted, what is refused and with which path, and where a value comes from."""

import os
import tomllib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from haulier.core.accounts import Credentials, Quotas
from haulier.core.errors import SettingsError
from haulier.settings import Settings, load
from haulier.settings.reader import Secret
from haulier.settings.tables import Document
from suites.test_driver import certificate

GOOD = """
[server]
listen = "127.0.0.1:9444"
data_dir = "data"

[engine]
kind = "local"
runners = 2

[stores.main]
endpoint = "http://127.0.0.1:18333"
buckets = ["*"]
regions = ["us-east-1", "ap-chengdu"]
default = true
access_key = "store-key"
secret_key = "store-SECRET"

[accounts.acme]
aws_account_id = "123456789012"
cos_uin = "100000000001"
cos_appid = "1250000000"

[[accounts.acme.users]]
name = "admin"
access_key = "admin-key"
secret_key = "admin-SECRET"
policy = "admin"

[[accounts.acme.roles]]
name = "batch"
stores = ["main"]
buckets = ["*"]
use_store_keys = true
users = ["admin"]
"""


@pytest.fixture
def settings_of(tmp_path):
    def write_and_load(text: str, **environ: str) -> Settings:
        path = tmp_path / "haulier.toml"
        path.write_text(text)
        path.chmod(0o600)
        return load(path, environ)

    return write_and_load


def test_the_contract_as_documented_is_accepted(settings_of, tmp_path):
    settings = settings_of(GOOD)
    assert settings.warnings == ()
    assert settings.server.data_dir == tmp_path / "data"
    assert (settings.server.host, settings.server.port, settings.server.url) == ("127.0.0.1", 9444, "http://127.0.0.1:9444")
    (store,) = settings.store_list()
    assert (store.name, store.endpoint, store.region, store.default) == ("main", "http://127.0.0.1:18333", "us-east-1", True)
    (account,) = settings.account_list()
    assert (account.aws_account_id, account.cos_uin, account.cos_appid) == ("123456789012", "100000000001", "1250000000")
    assert account.users[0].policy == "admin"
    assert account.users[0].keys[0].secret_key == "admin-SECRET"
    role = account.role("batch")
    assert role is not None
    assert role.allows("main", "anything")
    assert role.users == ("admin",)
    credentials = settings.store_credentials()["main"]
    assert (credentials.access_key, credentials.secret_key) == ("store-key", "store-SECRET")
    assert type(credentials.secret_key) is str


def test_an_empty_file_has_defaults_and_says_what_is_missing(settings_of, tmp_path):
    settings = settings_of("")
    assert settings.server.data_dir == tmp_path / "haulier-data"
    assert settings.limits.body_bytes == 1 << 20
    assert settings.compat.extensions
    assert [warning.split("]")[0] for warning in settings.warnings] == ["no [stores.NAME", "no [accounts.NAME"]


ASSUME = '[accounts.acme.roles.keys.main]\nassume_role_arn = "arn:x"\nsts_endpoint = "http://127.0.0.1:7"\n'


def test_a_role_may_get_its_credentials_from_sts(settings_of):
    text = changed("use_store_keys = true", "use_store_keys = false")
    (account,) = settings_of(text + ASSUME).account_list()
    (role,) = account.roles
    assert role.keys == {}
    how = role.assumed["main"]
    assert (how.arn, how.endpoint, how.region, how.duration_seconds) == ("arn:x", "http://127.0.0.1:7", "us-east-1", 3600)
    assert (how.caller.access_key, how.caller.secret_key) == ("store-key", "store-SECRET")
    assert "SECRET" not in repr(role) + repr(how) + repr(account)
    own = 'access_key = "own"\nsecret_key = "own-SECRET"\nexternal_id = "e"\nduration_seconds = 900\n'
    how = settings_of(text + ASSUME + own).account_list()[0].roles[0].assumed["main"]
    assert (how.caller.access_key, how.external_id, how.duration_seconds) == ("own", "e", 900)


@pytest.mark.parametrize(
    ("keys", "place", "problem"),
    [
        ('assume_role_arn = "arn:x"', ".sts_endpoint", "go together"),
        ('sts_endpoint = "http://127.0.0.1:7"', ".assume_role_arn", "go together"),
        ('external_id = "e"', "", "neither access_key and secret_key, nor"),
        ('access_key = "k"\nsecret_key = "s-SECRET"\nexternal_id = "e"', ".external_id", "only beside assume_role_arn"),
        ('assume_role_arn = "arn x"\nsts_endpoint = "http://127.0.0.1:7"', ".assume_role_arn", "without blanks"),
        ('assume_role_arn = "arn:x"\nsts_endpoint = "127.0.0.1:7"', ".sts_endpoint", "is not an http or https URL"),
        (ASSUME.partition("\n")[2] + "duration_seconds = 1", ".duration_seconds", "60"),
        (ASSUME.partition("\n")[2] + 'secret_key = "s-SECRET"', ".access_key", "go together"),
    ],
)
def test_a_role_that_cannot_ask_sts_is_refused(settings_of, keys, place, problem):
    with pytest.raises(SettingsError) as refused:
        settings_of(f"{GOOD}[accounts.acme.roles.keys.main]\n{keys}\n")
    assert refused.value.path == f"{ROLE}.keys.main{place}"
    assert problem in refused.value.problem
    assert "SECRET" not in str(refused.value)


def test_somebody_must_be_able_to_ask_sts(settings_of):
    text = GOOD.replace('access_key = "store-key"\nsecret_key = "store-SECRET"\n', "").replace("use_store_keys = true\n", "")
    with pytest.raises(SettingsError, match="nobody can ask STS"):
        settings_of(text + ASSUME)


def test_a_role_with_keys_of_its_own_acts_with_them(settings_of):
    own = 'users = ["admin"]\n[accounts.acme.roles.keys.main]\naccess_key = "role-key"\nsecret_key = "role-SECRET"\n'
    settings = settings_of(GOOD.replace('use_store_keys = true\nusers = ["admin"]', own))
    assert settings.account_list()[0].roles[0].keys == {"main": Credentials("role-key", "role-SECRET", None)}


# -- refusals ------------------------------------------------------------------------------------------------------------------


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1, old
    return GOOD.replace(old, new)


ROLE, USER = "accounts.acme.roles[0]", "accounts.acme.users[0]"
BAD = {
    "an unknown key": (changed("runners = 2", "runers = 2"), "engine.runers", "unknown key; did you mean 'runners'?"),
    "an unknown key of a store": (
        changed('secret_key = "store', 'secret_kye = "store'),
        "stores.main.secret_kye",
        "'secret_key'",
    ),
    "an unknown key of a user": (changed('policy = "admin"', 'polcy = "admin"'), f"{USER}.polcy", "did you mean 'policy'?"),
    "an unknown group": ("[srever]\n", "srever", "did you mean 'server'?"),
    "a key unlike any other": ("[server]\nzzz = 1\n", "server.zzz", "known here: allow_plain_http, "),
    "a table that is none": ("server = 1\n", "server", "must be a table, not a whole number"),
    "named tables that are none": ("stores = []\n", "stores", "must be tables ([stores.NAME]), not an array"),
    "users that are a table": ("[accounts.a.users]\n", "accounts.a.users", "must be an array of tables ([[accounts.a.users]])"),
    "a store name with two underscores": ('[stores.a__b]\nendpoint = "http://s"', "stores.a__b", "a name has at most"),
    "a missing key": ("[stores.a]\n", "stores.a.endpoint", "is missing"),
    "a number as text": (changed("runners = 2", 'runners = "2"'), "engine.runners", "must be a whole number, not '2'"),
    "a boolean as a number": (changed("runners = 2", "runners = true"), "engine.runners", "must be a whole number, not 'True'"),
    "a number out of range": (changed("runners = 2", "runners = 0"), "engine.runners", "a whole number from 1 to 256, not 0"),
    "a rate that is no number": (
        changed("default = true", "requests_per_second = nan"),
        "stores.main.requests_per_second",
        "not nan",
    ),
    "a boolean as text": (
        changed("default = true", 'default = "yes"'),
        "stores.main.default",
        "must be true or false, not 'yes'",
    ),
    "a value that is not in the list": (
        changed("default = true", 'addressing = "dns"'),
        "stores.main.addressing",
        "'path', 'virtual'",
    ),
    "an array that is text": (
        changed('buckets = ["*"]\nregions', 'buckets = "*"\nregions'),
        "stores.main.buckets",
        "array of strings",
    ),
    "an id that is no text": (changed('"123456789012"', "123456789012"), "accounts.acme.aws_account_id", "write it in quotes"),
    "empty text": (changed('"admin-key"', '""'), f"{USER}.access_key", "must not be empty"),
    "a port beyond 65,535": (changed("127.0.0.1:9444", "127.0.0.1:65536"), "server.listen", "'65536' is not a port"),
    "listen without a port": (changed("127.0.0.1:9444", "127.0.0.1"), "server.listen", "is not HOST:PORT"),
    "listen without a host": (changed("127.0.0.1:9444", ":9444"), "server.listen", "is not HOST:PORT"),
    "a v6 address without brackets": (changed("127.0.0.1:9444", "::1:9444"), "server.listen", "is not HOST:PORT"),
    "plain HTTP beyond loopback": (changed("127.0.0.1:9444", "0.0.0.0:9444"), "server.listen", "allow_plain_http = true"),
    "plain HTTP on any name": (changed("127.0.0.1:9444", "batch.example.com:9444"), "server.listen", "beyond loopback"),
    "a certificate without its key": ('[server]\ntls_certificate = "/etc/hostname"', "server.tls_key", "go together"),
    "a certificate that is not there": (
        '[server]\ntls_certificate = "no"\ntls_key = "no"',
        "server.tls_certificate",
        "No such file",
    ),
    "a data folder that is a file": ('[server]\ndata_dir = "haulier.toml"', "server.data_dir", "is not a folder"),
    "an endpoint with a path": (changed("18333", "18333/s3"), "stores.main.endpoint", "without a path"),
    "an endpoint of another scheme": (changed("http://127", "ftp://127"), "stores.main.endpoint", "not an http or https URL"),
    "an endpoint without scheme": (
        changed("http://127.0.0.1:18333", "store"),
        "stores.main.endpoint",
        "not an http or https URL",
    ),
    "an endpoint with a bad port": (changed("18333", "183333"), "stores.main.endpoint", "cannot be read"),
    "a region that is none": (changed("ap-chengdu", "ap chengdu"), "stores.main.regions[1]", "'ap chengdu' is not a region"),
    "no region": (changed('["us-east-1", "ap-chengdu"]', "[]"), "stores.main.regions", "at least one region"),
    "a bucket that cannot be": (
        changed('buckets = ["*"]\nregions', 'buckets = ["a/b"]\nregions'),
        "stores.main.buckets[0]",
        "'a/b'",
    ),
    "half a pair of keys": (changed('secret_key = "store-SECRET"', ""), "stores.main.secret_key", "go together"),
    "a token alone": ('[stores.a]\nendpoint = "http://s"\nsession_token = "t-SECRET"', "stores.a.session_token", "only beside"),
    "a token with a line break": (
        changed("default = true", 'session_token = "a\\nSECRET"'),
        "stores.main.session_token",
        "blanks",
    ),
    "a secret with a blank": (changed("store-SECRET", "store SECRET"), "stores.main.secret_key", "without blanks"),
    "scratch without a bucket": (changed("default = true", 'probe = "scratch"'), "stores.main.probe", "needs scratch_bucket"),
    "a CA file that is not there": (changed("default = true", 'ca_file = "no"'), "stores.main.ca_file", "cannot read"),
    "an account id of 11 digits": (changed('"123456789012"', '"12345678901"'), "accounts.acme.aws_account_id", "not 12 digits"),
    "other digits than ours": (changed('"123456789012"', '"\uff1123456789012"'), "accounts.acme.aws_account_id", "not 12 digits"),
    "an APPID with letters": (changed('"1250000000"', '"125x"'), "accounts.acme.cos_appid", "not digits only"),
    "an APPID without its UIN": (changed('cos_uin = "100000000001"', ""), "accounts.acme.cos_uin", "go together"),
    "an account without identity": ("[accounts.a]\n", "accounts.a", "has no identity"),
    "an unknown policy": (
        changed('policy = "admin"', 'policy = "root"'),
        f"{USER}.policy",
        "must be 'admin', 'operator', 'viewer'",
    ),
    "a user key that cannot be signed": (changed('"admin-key"', '"a/b"'), f"{USER}.access_key", "letters, digits"),
    "a role name that no ARN can hold": (changed('name = "batch"', 'name = "a/b"'), f"{ROLE}.name", "is not a name"),
    "a role with an unknown store": (changed('stores = ["main"]', 'stores = ["mian"]'), f"{ROLE}.stores[0]", "known: main"),
    "a role without keys": (
        changed("use_store_keys = true", ""),
        ROLE,
        "give it keys of its own there, or let it use the store's",
    ),
    "store keys that are not there": (
        changed('access_key = "store-key"\nsecret_key = "store-SECRET"', ""),
        f"{ROLE}.use_store_keys",
        "stores.main has no access_key",
    ),
    "half a role's keys": (
        f'{GOOD}[accounts.acme.roles.keys.main]\naccess_key = "k"\n',
        f"{ROLE}.keys.main.secret_key",
        "is missing",
    ),
    "a role's keys for a foreign store": (
        f'{GOOD}[accounts.acme.roles.keys.other]\naccess_key = "k"\nsecret_key = "s-SECRET"\n',
        f"{ROLE}.keys.other",
        "the role's stores do not name 'other'",
    ),
    "two users of one name": (
        f'{GOOD}[[accounts.acme.users]]\nname = "admin"\naccess_key = "k2"\nsecret_key = "s"\npolicy = "viewer"\n',
        "accounts.acme.users[1].name",
        "taken already",
    ),
    "one access key for two users": (
        (
            f'{GOOD}[accounts.b]\naws_account_id = "000000000001"\n[[accounts.b.users]]\nname = "x"\n'
            'access_key = "admin-key"\nsecret_key = "s-SECRET"\npolicy = "viewer"\n'
        ),
        "accounts.b.users[0].access_key",
        f"is the same as {USER}.access_key",
    ),
    "one account id for two accounts": (
        f'{GOOD}[accounts.b]\naws_account_id = "123456789012"\n',
        "accounts.b.aws_account_id",
        "account 'acme' has '123456789012' already",
    ),
    "two default stores": (
        f'{GOOD}[stores.b]\nendpoint = "http://s"\nbuckets = ["b"]\nregions = ["x"]\ndefault = true\n',
        "stores.b.default",
        "store 'main' is the default already",
    ),
    "a bucket of two stores": (f'{GOOD}[stores.b]\nendpoint = "http://s"\nbuckets = ["*"]\n', "stores.b.buckets", "claimed by"),
    "a copy limit of S3": ("[compat]\ns3_copy_5gb = true", "compat.s3_copy_5gb", "not usable in this version"),
    "a copy limit of COS": ("[compat]\ncos_copy_5gb = true", "compat.cos_copy_5gb", "not usable in this version"),
    "a ray engine": (changed('"local"', '"ray"'), "engine.kind", "not usable in this version"),
    "a database elsewhere": (
        '[server]\ndatabase = "postgresql://u:p-SECRET@h/d"',
        "server.database",
        "not usable in this version",
    ),
    "a spool in a bucket": ('[server]\nspool = "store:main/b/p"', "server.spool", "not usable in this version"),
    "two places of master keys": (
        '[server]\nsecrets_key_file = "k"\nsecrets_key = "1:x"',
        "server.secrets_key_file",
        "the master keys come from one place",
    ),
    "a host with a port": ('[server]\nhosts = ["batch.example.com:443"]', "server.hosts[0]", "without scheme and port"),
    "trusted proxies": ('[server]\ntrusted_proxies = ["10.0.0.1"]', "server.trusted_proxies", "not usable in this version"),
    "functions": ('[functions."arn:aws:lambda:x"]\nurl = "http://f"', "functions", "not usable in this version"),
    "replication": ('[[replication]]\nsource = "a"', "replication", "not usable in this version"),
    "no policy document": (changed('policy = "admin"', 'policy = "./p.json"'), f"{USER}.policy", "p.json: No such file"),
    "a probe on the target": (changed("default = true", 'probe = "target"'), "stores.main.probe", "not usable in this version"),
}


@pytest.mark.parametrize(("text", "path", "problem"), BAD.values(), ids=BAD)
def test_what_cannot_be_used_is_refused_with_its_path_and_without_secrets(settings_of, text, path, problem):
    tomllib.loads(text)
    with pytest.raises(SettingsError) as refused:
        settings_of(text)
    assert refused.value.path == path
    assert problem in refused.value.problem
    assert "SECRET" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_user_in_an_endpoint_is_refused_without_being_shown(settings_of):
    with pytest.raises(SettingsError, match="must not hold a user") as refused:
        settings_of(changed("http://127.0.0.1:18333", "http://me:p-SECRET@s"))
    assert "SECRET" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"[server\n", "is not TOML"),
        (b"a = 1\na = 2\n", "is not TOML"),
        (b"\xff = 1\n", "is not UTF-8 text"),
        (None, "cannot read"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, content, problem):
    path = tmp_path / "haulier.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=problem) as refused:
        load(path, {})
    assert str(path) in str(refused.value)


def test_an_empty_array_of_proxies_is_accepted(settings_of):
    assert settings_of("[server]\ntrusted_proxies = []").server.trusted_proxies == ()


def test_copy_limits_that_are_off_are_accepted(settings_of):
    assert not settings_of("[compat]\ns3_copy_5gb = false\ncos_copy_5gb = false").compat.s3_copy_5gb


@pytest.mark.parametrize("listen", ["localhost:0", "[::1]:9444", "127.3.2.1:80"])
def test_loopback_needs_no_tls(settings_of, listen):
    assert settings_of(f'[server]\nlisten = "{listen}"').server.listen == listen


def test_listening_beyond_loopback_needs_tls_or_a_word(settings_of, tmp_path):
    assert settings_of('[server]\nlisten = "0.0.0.0:80"\nallow_plain_http = true').server.url == "http://127.0.0.1:80"
    pem, key = certificate(tmp_path)
    server = settings_of(f'[server]\nlisten = "[::]:443"\ntls_certificate = "{pem.name}"\ntls_key = "{key.name}"').server
    assert server.tls_key == key
    assert server.url == "https://[::1]:443"
    assert server.url_at(5) == "https://[::1]:5"


def test_a_certificate_must_be_one_and_go_with_its_key(settings_of, tmp_path):
    def refused(pem: Path, key: Path) -> str:
        with pytest.raises(SettingsError) as refusal:
            settings_of(f'[server]\ntls_certificate = "{pem}"\ntls_key = "{key}"')
        assert refusal.value.path == "server.tls_certificate"
        return refusal.value.problem

    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    (pem, key), (_, other_key) = certificate(tmp_path / "one"), certificate(tmp_path / "other")
    locked = tmp_path / "locked.pem"
    private = load_pem_private_key(key.read_bytes(), None)
    locked.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hidden")))
    assert "key values mismatch" in refused(pem, other_key)
    assert "is no usable pair" in refused(key, key)
    assert "without a password" in refused(pem, locked)


# -- the environment -------------------------------------------------------------------------------------------------------------


def test_the_environment_goes_before_the_file_and_every_origin_is_known(settings_of, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("  from-a-file \n")
    settings = settings_of(
        GOOD,
        HAULIER_STORES__MAIN__ACCESS_KEY="from-environment",
        HAULIER_STORES__MAIN__SECRET_KEY_FILE=str(secret),
        HAULIER_ENGINE__RUNNERS="7",
        HAULIER_STORES__MAIN__DEFAULT="false",
        HAULIER_STORES__MAIN__REQUESTS_PER_SECOND="0.5",
        HAULIER_STORES__MAIN__BUCKETS="a, b-*",
        HAULIER_STORES__MAIN__REGIONS='["eu-west-1"]',
        HAULIER_ENDPOINT="not a setting",
        PATH="nor is this",
    )
    store = settings.stores["main"]
    assert (store.access_key, str(store.secret_key)) == ("from-environment", "from-a-file")
    assert (store.default, store.requests_per_second, store.buckets, store.regions) == (False, 0.5, ("a", "b-*"), ("eu-west-1",))
    assert settings.engine.runners == 7
    assert settings.origin("stores.main.access_key") == "environment"
    assert settings.origin("stores.main.secret_key") == "environment-file"
    assert settings.origin("stores.main.endpoint") == "file"
    assert settings.origin("stores.main.in_flight_max") == "default"
    assert settings.origin("accounts.acme.users[0].name") == "file"
    assert settings.origin("limits.body_bytes") == "default"
    with pytest.raises(KeyError):
        settings.origin("stores.other.endpoint")


def test_a_key_whose_name_ends_in_file_is_itself(settings_of, tmp_path):
    certificates = tmp_path / "ca.pem"
    certificates.touch()
    settings = settings_of(GOOD, HAULIER_STORES__MAIN__CA_FILE=str(certificates))
    assert settings.store_list()[0].ca_file == str(certificates)


def test_a_store_may_come_from_the_environment_alone(settings_of):
    settings = settings_of("", HAULIER_STORES__MAIN__ENDPOINT="http://127.0.0.1:9000/")
    assert settings.store_list()[0].endpoint == "http://127.0.0.1:9000"


def test_a_name_with_a_hyphen_is_found_from_the_environment(settings_of):
    settings = settings_of('[stores.my-Store]\nendpoint = "http://s"', HAULIER_STORES__MY_STORE__READ_ONLY="true")
    assert [(store.name, store.read_only) for store in settings.store_list()] == [("my-Store", True)]


def test_paths_of_the_environment_begin_at_the_working_directory(settings_of, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert settings_of(GOOD, HAULIER_SERVER__DATA_DIR="data").server.data_dir == elsewhere / "data"


@pytest.mark.parametrize(
    ("variable", "value", "path", "problem"),
    [
        ("HAULIER_ENGINE__RUNERS", "2", "engine.runers", "unknown key (from HAULIER_ENGINE__RUNERS); did you mean 'runners'?"),
        ("HAULIER_ENGIN__RUNNERS", "2", "engin", "did you mean 'engine'?"),
        ("HAULIER_ENGINE__RUNNERS", "two", "engine.runners", "must be a whole number, not 'two'"),
        ("HAULIER_ENGINE__RUNNERS", "\u0663", "engine.runners", "must be a whole number"),
        ("HAULIER_ENGINE__RUNNERS", "1_0", "engine.runners", "must be a whole number"),
        ("HAULIER_STORES__MAIN__REQUESTS_PER_SECOND", "nan", "stores.main.requests_per_second", "must be a number"),
        ("HAULIER_STORES__MAIN__DEFAULT", "1", "stores.main.default", "must be true or false, not '1'"),
        ("HAULIER_STORES__MAIN__BUCKETS", "[1", "stores.main.buckets", "neither a JSON array nor names"),
        ("HAULIER_STORES__MAIN", "x", "stores", "name a key in it"),
        ("HAULIER_ENGINE__", "x", "engine.", "unknown key"),
        ("HAULIER_SERVER_LISTEN", "x", "server", "two underscores, as in HAULIER_SERVER__LISTEN"),
        ("HAULIER_STORES_MAIN_READ_ONLY", "true", "stores", "two underscores, as in HAULIER_STORES__MAIN_READ_ONLY"),
        ("HAULIER_ENGINE__RUNNERS__X", "x", "engine.runners", "a value and no group"),
        ("HAULIER_ACCOUNTS__ACME__USERS__0__SECRET_KEY", "x-SECRET", "accounts.acme.users", "come from the file only"),
        ("HAULIER_SERVER__DATABASE", "postgresql://u:SECRET@h", "server.database", "not usable in this version"),
        ("HAULIER_FUNCTIONS__F__URL", "x", "functions", "not usable in this version"),
        ("HAULIER_STORES__MAIN__SECRET_KEY_FILE", "/nowhere", "stores.main.secret_key", "No such file"),
        ("HAULIER_STORES__MAIN__SECRET_KEY_FILE", "/dev/zero", "stores.main.secret_key", "is larger than 65,536 bytes"),
        ("HAULIER_STORES__MAIN__SECRET_KEY", "", "stores.main.secret_key", "must not be empty"),
    ],
)
def test_a_variable_that_cannot_be_used_is_refused_with_its_path(settings_of, variable, value, path, problem):
    with pytest.raises(SettingsError) as refused:
        settings_of(GOOD, **{variable: value})
    assert refused.value.path == path
    assert problem in refused.value.problem
    assert "SECRET@" not in str(refused.value)
    assert "x-SECRET" not in str(refused.value)


def test_a_value_given_directly_and_by_file_is_refused(settings_of, tmp_path):
    (tmp_path / "s").write_text("s")
    variables = {"HAULIER_STORES__MAIN__SECRET_KEY": "s", "HAULIER_STORES__MAIN__SECRET_KEY_FILE": str(tmp_path / "s")}
    with pytest.raises(SettingsError, match="is set twice, by HAULIER_STORES__MAIN__SECRET_KEY and by"):
        settings_of(GOOD, **variables)


# -- secrets --------------------------------------------------------------------------------------------------------------------


def test_no_repr_shows_a_secret(settings_of):
    from rich.pretty import pretty_repr

    settings = settings_of(GOOD, HAULIER_STORES__MAIN__SESSION_TOKEN="token-SECRET")
    shown = [
        repr(settings),
        pretty_repr(settings),
        str(settings),
        repr(settings.account_list()),
        repr(settings.store_credentials()),
    ]
    assert not [text for text in shown if "SECRET" in text]
    assert str(Secret("text")) == "text"


def test_a_file_with_secrets_that_others_may_read_is_warned_about(tmp_path):
    path = tmp_path / "haulier.toml"
    path.write_text(GOOD)
    path.chmod(0o640)
    (warning,) = load(path, {}).warnings
    assert warning == f"{path} holds secrets and others may read it: chmod 600 {path}"
    path.write_text("[engine]\nrunners = 1\n")
    assert not [text for text in load(path, {}).warnings if "chmod" in text]


def test_every_group_of_the_contract_is_known():
    groups = {"server", "engine", "stores", "accounts", "limits", "compat", "functions", "replication"}
    assert {*Document.__struct_fields__, *Document.later} == groups


def with_policy(name):
    return changed('policy = "admin"', f'policy = "{name}"')


def test_a_policy_document_is_read_from_the_settings_folder_on(settings_of, tmp_path):
    (tmp_path / "rights").mkdir()
    document = '{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}'
    (tmp_path / "rights" / "team.json").write_text(document)
    for name in ("rights/team.json", f"{tmp_path}/rights/team.json"):
        settings = settings_of(with_policy(name))
        assert settings.account_list()[0].users[0].policy == name
        assert settings.policies[name].statements[0].actions == ("s3:*",)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "is not JSON"),
        ('{"Version": "2012-10-17", "Statement": [{"Effect": "Permit"}]}', r"Statement[0].Effect: must be \"Allow\" or \"Deny\""),
        (" " * 70_000, "is longer than the 65,536 bytes"),
        ("\u00e9" * 40_000, "is longer than the 65,536 bytes"),
    ],
)
def test_a_broken_policy_document_names_user_file_and_place(settings_of, tmp_path, text, problem):
    (tmp_path / "team.json").write_text(text)
    with pytest.raises(SettingsError) as refused:
        settings_of(with_policy("team.json"))
    assert refused.value.path == f"{USER}.policy"
    assert refused.value.problem.startswith(f"{tmp_path}/team.json: ")
    assert problem.replace("\\", "") in refused.value.problem


def test_an_account_has_limits_and_a_weight_of_its_own(settings_of):
    settings = settings_of(
        GOOD.replace("[accounts.acme]\n", "[accounts.acme]\nweight = 2.5\n")
        + "[accounts.acme.limits]\nrequests_per_second = 20\njobs = 5\ntasks_per_job = 1000\nspool_bytes = 1_000_000\n"
        + "[limits]\nrequests_per_second_per_account = 50.5\nspool_bytes_per_account = 10\n"
    )
    [account] = settings.account_list()
    assert account.weight == 2.5
    assert account.quotas == Quotas(requests_per_second=20, unfinished_jobs=5, tasks_per_job=1_000, spool_bytes=1_000_000)
    assert (settings.limits.requests_per_second_per_account, settings.limits.spool_bytes_per_account) == (50.5, 10)
    [account] = settings_of(GOOD).account_list()
    assert (account.weight, account.quotas) == (1.0, Quotas())


def test_a_policy_document_that_is_no_file_keeps_nobody_waiting(settings_of, tmp_path):
    os.mkfifo(tmp_path / "team.json")
    with pytest.raises(SettingsError, match="it is not a file"):
        settings_of(with_policy("team.json"))
