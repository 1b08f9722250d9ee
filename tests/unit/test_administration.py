"""The operator's commands on a real database: what they change, refuse, tell once and never tell."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from haulier.admin import Administration, Peer
from haulier.admin.accounts import CreateAccount, DeleteAccount, ListAccounts
from haulier.admin.administration import InForce
from haulier.admin.keyfile import KeyFile
from haulier.admin.keys import (
    EXPIRED_SESSIONS_KEPT_MS,
    AddMasterKey,
    CreateKey,
    DeleteKey,
    ListKeys,
    Reencrypt,
    SetKeyDisabled,
)
from haulier.admin.roles import CreateRole, DeleteRole, ListRoles, SetRole, StoreKey
from haulier.admin.state import Asked, Defined
from haulier.admin.stopping import ResumeAll, StopAll
from haulier.admin.users import CreateUser, DeleteUser, ListUsers, SetUserDisabled, SetUserPolicy
from haulier.core.accounts import Account, Credentials, Key, KeyKind, Role, User, hash_of
from haulier.core.brake import Brake
from haulier.core.directory import Directory
from haulier.core.errors import (
    AlreadyDefined,
    CommandRefused,
    DefinedInSettings,
    HaulierError,
    InvalidField,
    NotDefined,
    SecretsError,
    SettingsError,
    Unavailable,
)
from haulier.core.policy import Policies, Question
from haulier.core.sealing import MasterKeys
from haulier.core.stored import Put, Remove, StoredKey, StoredRoleKey
from haulier.jobstore import SqlJobStore
from haulier.testing.suites.jobstore import PLENTY, a_job

HOUR_MS = 3_600_000
DOCUMENT = """{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:ListJobs", "Resource": "*"}]}"""
ACME = Account(
    name="acme",
    aws_account_id="123456789012",
    users=(User(account="acme", name="admin", policy="admin", keys=(Key(id="AKADMIN", secret_key="of the settings"),)),),
    roles=(Role(account="acme", name="batch", stores=("main",), use_store_keys=True, users=("admin",)),),
)
DEFINED = Defined(accounts={"acme": ACME}, stores=frozenset({"main", "bare"}), keyed=frozenset({"main"}))


class Clock:
    def __init__(self) -> None:
        self.ms = 1_700_000_000_000

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000


class Log:
    """An audit log in memory."""

    def __init__(self) -> None:
        self.problem: str | None = None
        self.fails = False
        """The next entry finds the disk full."""
        self.entries: list[Mapping[str, Any]] = []
        """What was done."""
        self.others: list[Mapping[str, Any]] = []
        """What was to be done, what was refused, and what the settings say."""

    def record(self, entry: Mapping[str, Any], *, durable: bool = False) -> bool:
        assert durable
        if self.fails:
            self.problem = "the disk is full"
            return False
        done = entry["kind"] == "administration" and "refused" not in entry
        (self.entries if done else self.others).append(entry)
        return True


class World:
    """A database, the master keys' file, and everything that is held in memory; `restart` keeps only the former two."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Clock()
        self.log = Log()
        self.jobstore = SqlJobStore.open(folder / "haulier.db", self.clock)
        self.defined = DEFINED
        self.given: str | None = None
        self.start()

    @property
    def key_file(self) -> Path:
        return self.folder / "secrets.key"

    def start(self) -> None:
        self.directory = Directory()
        self.policies = Policies()
        key_file = KeyFile(self.key_file, self.given, made_when_needed=True)
        self.brake = Brake()
        in_force = InForce(self.directory, self.policies, self.brake)
        self.administration = Administration(self.jobstore.accounts, key_file, self.log, self.clock, in_force=in_force)
        self.administration.load(self.defined)

    def do(self, command: Asked) -> Any:
        return self.administration.execute(command, Peer(1000, 7))

    def alone(self, command: Asked) -> Any:
        """As `do`, by a command that runs without a server."""
        key_file = KeyFile(self.key_file, self.given, made_when_needed=True)
        administration = Administration(self.jobstore.accounts, key_file, self.log, self.clock, in_force=None)
        administration.load(self.defined)
        return administration.execute(command, Peer(1000, 7))

    def user(self, name: str, account: str = "acme") -> User:
        found = self.directory.accounts[account].user(name)
        assert found is not None
        return found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.jobstore.close()


@pytest.fixture
def bob(world: World) -> User:
    world.do(CreateUser(name="bob", policy="viewer"))
    return world.user("bob")


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines(keepends=True)


# -- accounts


def test_an_account_is_made_listed_and_deleted(world: World) -> None:
    world.do(CreateAccount(name="b", aws_account_id="000000000001", cos_uin="7", cos_appid="8"))
    assert world.directory.accounts["b"].aws_account_id == "000000000001"
    rows = world.do(ListAccounts())
    assert [(row["account"], row["defined"], row["users"]) for row in rows] == [
        ("acme", "accounts.acme", 1),
        ("b", "database", 0),
    ]
    world.do(DeleteAccount(name="b"))
    assert set(world.directory.accounts) == {"acme"}


@pytest.mark.parametrize(
    ("command", "error", "said"),
    [
        (CreateAccount(name="a/b", aws_account_id="000000000001"), InvalidField, "is not a name"),
        (CreateAccount(name="b", aws_account_id="1"), InvalidField, "aws_account_id: '1' is not 12 digits"),
        (CreateAccount(name="b", aws_account_id="٠٠٠٠٠٠٠٠٠٠٠١"), InvalidField, "is not 12 digits"),  # noqa: RUF001
        (CreateAccount(name="b", cos_uin="1"), InvalidField, "cos_appid: is missing"),
        (CreateAccount(name="b", cos_uin="x", cos_appid="1"), InvalidField, "cos_uin"),
        (CreateAccount(name="b"), InvalidField, "an account has"),
        (CreateAccount(name="acme", aws_account_id="000000000001"), AlreadyDefined, r"\(accounts.acme\)"),
        (CreateAccount(name="b", aws_account_id="123456789012"), AlreadyDefined, "that of account 'acme'"),
        (DeleteAccount(name="acme"), DefinedInSettings, r"\(accounts.acme\)"),
        (DeleteAccount(name="b"), NotDefined, "no account 'b'"),
    ],
)
def test_an_account_that_cannot_be_is_refused(world: World, command: Asked, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        world.do(command)
    assert world.log.entries == []


def test_an_account_is_deleted_only_when_nothing_is_in_it(world: World) -> None:
    world.do(CreateAccount(name="b", aws_account_id="000000000001"))
    world.do(CreateUser(name="u", policy="admin", account="b"))
    world.do(CreateRole(name="r", account="b"))
    with pytest.raises(CommandRefused, match="user u, role r"):
        world.do(DeleteAccount(name="b"))
    world.do(DeleteUser(name="u", account="b"))
    world.do(DeleteRole(name="r", account="b"))
    world.jobstore.create(a_job(account="b"), unfinished_max=PLENTY)
    with pytest.raises(CommandRefused, match="unfinished jobs"):
        world.do(DeleteAccount(name="b"))


def test_nobody_inherits_what_an_account_of_the_same_name_has_left(world: World, bob: User) -> None:
    world.jobstore.create(a_job(account="old"), unfinished_max=PLENTY)
    with pytest.raises(CommandRefused, match="jobs of an earlier account 'old'"):
        world.do(CreateAccount(name="old", aws_account_id="000000000001"))
    world.defined = Defined()
    world.start()  # bob is still in the database, and nobody's
    assert world.directory.accounts == {}
    with pytest.raises(CommandRefused, match=r"was in the settings before.*delete user bob first"):
        world.do(CreateAccount(name="acme", aws_account_id="000000000001"))
    assert [row["user"] for row in world.do(ListUsers(account="acme"))] == ["bob"]
    world.do(DeleteUser(name="bob", account="acme"))
    world.do(CreateAccount(name="acme", aws_account_id="000000000001"))


# -- users


def test_a_user_is_made_disabled_and_deleted(world: World) -> None:
    world.do(CreateUser(name="bob", policy="viewer"))
    key = world.do(CreateKey(user="bob"))["key"]
    assert world.directory.signer(key) is not None
    world.do(SetUserDisabled(name="bob", disabled=True))
    assert world.user("bob").disabled
    assert world.directory.signer(key) is None
    world.do(SetUserDisabled(name="bob", disabled=False))
    assert world.directory.signer(key) is not None
    world.do(SetUserPolicy(name="bob", policy="operator"))
    assert world.user("bob").policy == "operator"
    world.do(DeleteUser(name="bob"))
    assert world.directory.signer(key) is None
    assert world.directory.accounts["acme"].user("bob") is None
    assert [row["user"] for row in world.do(ListUsers())] == ["admin"]


def test_a_users_policy_may_be_a_document(world: World) -> None:
    world.do(CreateUser(name="bob", policy=DOCUMENT))
    world.start()
    name = world.user("bob").policy
    assert world.policies.decide(name, Question(names=("s3:ListJobs",))).allowed
    assert not world.policies.decide(name, Question(names=("s3:CreateJob",))).allowed
    assert world.do(ListUsers())[1]["policy"] == "document"
    with pytest.raises(InvalidField, match=r"policy\.Statement.*"):
        world.do(SetUserPolicy(name="bob", policy=DOCUMENT.replace("Allow", "Perhaps")))
    world.do(SetUserPolicy(name="bob", policy=DOCUMENT.replace("ListJobs", "CreateJob")))
    assert world.policies.decide(world.user("bob").policy, Question(names=("s3:CreateJob",))).allowed
    world.do(DeleteUser(name="bob"))
    assert not world.policies.decide(name, Question(names=("s3:CreateJob",))).allowed


def test_a_stored_policy_that_is_not_understood_allows_nothing(world: World, bob: User) -> None:
    world.jobstore.accounts.write(
        lambda stored: [Put(msgspec.structs.replace(user, policy='{"Version": "2099"}')) for user in stored.users.values()]
    )
    world.start()
    assert not world.policies.decide(world.user("bob").policy, Question(names=("s3:ListJobs",))).allowed


@pytest.mark.parametrize(
    ("command", "error", "said"),
    [
        (CreateUser(name="a/b", policy="admin"), InvalidField, "user: 'a/b' is not a name"),
        (CreateUser(name="x", policy="root"), InvalidField, "policy: must be admin, operator, viewer or a document"),
        (CreateUser(name="x", policy="{"), InvalidField, "policy: is not JSON"),
        (CreateUser(name="x", policy="admin", account="b"), NotDefined, "no account 'b'"),
        (CreateUser(name="admin", policy="admin"), AlreadyDefined, r"\(accounts.acme.users\[0\]\)"),
        (CreateUser(name="bob", policy="admin"), AlreadyDefined, "'bob' exists already"),
        (SetUserPolicy(name="admin", policy="viewer"), DefinedInSettings, r"\(accounts.acme.users\[0\]\)"),
        (SetUserDisabled(name="admin", disabled=True), DefinedInSettings, "SIGHUP"),
        (DeleteUser(name="admin"), DefinedInSettings, "users"),
        (DeleteUser(name="nobody"), NotDefined, "no user 'nobody'"),
        (ListKeys(user="nobody"), NotDefined, "no user 'nobody'"),
    ],
)
def test_a_command_for_a_user_is_refused(world: World, bob: User, command: Asked, error: type[Exception], said: str) -> None:
    before = world.jobstore.accounts.read()
    with pytest.raises(error, match=said):
        world.do(command)
    assert world.jobstore.accounts.read() == before


def test_an_account_need_not_be_named_where_there_is_one(world: World) -> None:
    assert world.do(CreateUser(name="bob", policy="viewer"))["account"] == "acme"
    world.do(CreateAccount(name="b", aws_account_id="000000000001"))
    with pytest.raises(InvalidField, match="account: must be named: there are acme, b"):
        world.do(CreateUser(name="x", policy="viewer"))
    world.defined = Defined()
    world.do(DeleteAccount(name="b"))
    world.start()
    with pytest.raises(InvalidField, match="there is none yet"):
        world.do(CreateUser(name="x", policy="viewer"))


# -- keys


def test_a_key_of_each_kind_is_what_the_directory_knows(world: World, bob: User) -> None:
    access, session, bearer = (
        world.do(CreateKey(user="bob", kind=kind, hours=2)) for kind in (KeyKind.ACCESS, KeyKind.SESSION, KeyKind.BEARER)
    )
    world.start()
    expires_ms = world.clock.ms + 2 * HOUR_MS
    signs = world.directory.signer(access["key"])
    assert signs is not None
    assert signs.key == Key(id=access["key"], secret_key=access["secret_key"], expires_ms=expires_ms)
    temporary = world.directory.signer(session["key"])
    assert temporary is not None
    assert temporary.key.secret_key == session["secret_key"]
    assert temporary.key.token_hash == hash_of(session["token"].encode())
    token = world.directory.bearer(hash_of(bearer["token"].encode()))
    assert token is not None
    assert (token.user.name, token.key.secret_key) == ("bob", "")
    assert bearer["token"].startswith("hlr_")
    assert len(bearer["token"]) >= 4 + 43  # 256 bits
    assert "secret_key" not in bearer
    assert "token" not in access


def test_two_active_access_keys_make_a_rotation(world: World, bob: User) -> None:
    first, second = (world.do(CreateKey(user="bob"))["key"] for _ in range(2))
    with pytest.raises(CommandRefused, match="2 active access keys"):
        world.do(CreateKey(user="bob"))
    world.do(SetKeyDisabled(key=first, disabled=True))
    assert world.directory.signer(first) is None
    third = world.do(CreateKey(user="bob", hours=1))["key"]
    with pytest.raises(CommandRefused, match="2 active access keys"):
        world.do(SetKeyDisabled(key=first, disabled=False))
    world.clock.ms += HOUR_MS
    world.do(SetKeyDisabled(key=first, disabled=False))  # the third has expired meanwhile
    world.do(DeleteKey(key=third))
    assert {key for key in (first, second, third) if world.directory.signer(key)} == {first, second}
    world.do(CreateKey(user="admin"))  # one of the settings, one of a command
    with pytest.raises(CommandRefused, match="AKADMIN"):
        world.do(CreateKey(user="admin"))


def test_keys_are_listed_with_their_last_use_to_the_minute(world: World, bob: User) -> None:
    key = world.do(CreateKey(user="bob", kind=KeyKind.BEARER, actions=("s3:*Job*",)))["key"]
    world.directory.note_use(key, world.clock.ms + 59_999)
    world.directory.note_use("AKADMIN", world.clock.ms)
    world.administration.note_uses()
    world.start()
    mine, other = world.do(ListKeys(user="bob")), world.do(ListKeys())[0]
    assert [(row["key"], row["state"], row["actions"], row["last_used"]) for row in mine] == [
        (key, "active", ("s3:*Job*",), "2023-11-14T22:14:00.000Z")
    ]
    assert (other["key"], other["defined"]) == ("AKADMIN", "accounts.acme.users[0].access_key")
    assert other["last_used"] == "2023-11-14T22:13:00.000Z"


def test_sessions_that_are_long_over_are_cleared_away(world: World, bob: User) -> None:
    old = world.do(CreateKey(user="bob", kind=KeyKind.SESSION))["key"]
    world.clock.ms += HOUR_MS
    assert [row["state"] for row in world.do(ListKeys(user="bob"))] == ["expired"]
    world.clock.ms += EXPIRED_SESSIONS_KEPT_MS
    new = world.do(CreateKey(user="bob", kind=KeyKind.SESSION))["key"]
    assert old != new
    assert [row["key"] for row in world.do(ListKeys(user="bob"))] == [new]


@pytest.mark.parametrize(
    ("command", "error", "said"),
    [
        (CreateKey(user="bob", hours=0), InvalidField, "hours: must be from 1 to 87,600"),
        (CreateKey(user="bob", kind=KeyKind.SESSION, hours=37), InvalidField, "from 1 to 36 for session keys"),
        (CreateKey(user="bob", actions=("s3:*",)), InvalidField, "only a bearer token"),
        (CreateKey(user="bob", kind=KeyKind.BEARER, actions=()), InvalidField, "from 1 to 50"),
        (CreateKey(user="bob", kind=KeyKind.BEARER, actions=("List",)), InvalidField, r"actions\[0\]: 'List' is not an action"),
        (CreateKey(user="nobody"), NotDefined, "no user"),
        (SetKeyDisabled(key="AKADMIN", disabled=True), DefinedInSettings, r"users\[0\].access_key"),
        (DeleteKey(key="AKADMIN"), DefinedInSettings, "AKADMIN"),
        (DeleteKey(key="gone"), NotDefined, "no key 'gone'"),
    ],
)
def test_a_command_for_a_key_is_refused(world: World, bob: User, command: Asked, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        world.do(command)
    assert world.do(ListKeys(user="bob")) == []


# -- roles


def test_a_role_with_keys_of_its_own_is_what_the_directory_knows(world: World) -> None:
    keys = {"bare": StoreKey(access_key="AK", secret_key="hush", session_token="hush-too")}
    world.do(CreateRole(name="r", stores=("main", "bare"), buckets=("a*",), users=("admin",), use_store_keys=True, keys=keys))
    world.start()
    role = world.directory.accounts["acme"].role("r")
    assert role is not None
    assert role.keys == {"bare": Credentials("AK", "hush", "hush-too")}
    assert (role.stores, role.buckets, role.users, role.use_store_keys) == (("main", "bare"), ("a*",), ("admin",), True)
    rows = world.do(ListRoles())
    assert [(row["role"], row["keys"], row["defined"]) for row in rows] == [
        ("batch", [], "accounts.acme.roles[0]"),
        ("r", ["bare"], "database"),
    ]


def test_a_change_of_a_role_keeps_what_it_does_not_name(world: World) -> None:
    keys = {name: StoreKey(access_key=f"AK-{name}", secret_key="s") for name in ("main", "bare")}
    world.do(CreateRole(name="r", stores=("main", "bare"), buckets=("a*",), users=("admin",), keys=keys))
    world.do(SetRole(name="r", buckets=("b*",), keys={"bare": StoreKey(access_key="AK2", secret_key="s2")}))
    role = world.directory.accounts["acme"].role("r")
    assert role is not None
    assert (role.buckets, role.users) == (("b*",), ("admin",))
    assert role.keys == {"main": Credentials("AK-main", "s"), "bare": Credentials("AK2", "s2")}
    world.do(SetRole(name="r", stores=("bare",)))
    world.do(SetRole(name="r", stores=("bare", "main"), use_store_keys=True))
    role = world.directory.accounts["acme"].role("r")
    assert role is not None
    assert set(role.keys) == {"bare"}  # those for main went when the role did not name it


def test_a_deleted_user_is_in_no_role_any_more(world: World, bob: User) -> None:
    world.do(CreateRole(name="r", users=("bob", "admin")))
    world.do(DeleteUser(name="bob"))
    role = world.directory.accounts["acme"].role("r")
    assert role is not None
    assert role.users == ("admin",)


@pytest.mark.parametrize(
    ("command", "error", "said"),
    [
        (CreateRole(name="a/b"), InvalidField, "role: 'a/b' is not a name"),
        (CreateRole(name="r", users=("bob",)), InvalidField, r"users\[0\]: there is no user 'bob'"),
        (
            CreateRole(name="r", stores=("gone",)),
            InvalidField,
            r"role.stores\[0\]: there is no store 'gone' \(known: bare, main\)",
        ),
        (CreateRole(name="r", buckets=("a/b",)), InvalidField, r"role.buckets\[0\]"),
        (CreateRole(name="r", stores=("main",)), InvalidField, "role: has no keys for store 'main'"),
        (CreateRole(name="r", stores=("bare",), use_store_keys=True), InvalidField, "role.use_store_keys"),
        (CreateRole(name="batch"), AlreadyDefined, r"\(accounts.acme.roles\[0\]\)"),
        (SetRole(name="batch", buckets=()), DefinedInSettings, "roles"),
        (DeleteRole(name="batch"), DefinedInSettings, "roles"),
        (DeleteRole(name="gone"), NotDefined, "no role 'gone'"),
        (
            CreateRole(name="r", keys={"main": StoreKey(access_key="k", secret_key="s")}),
            InvalidField,
            "role.keys.main: the role's stores do not name",
        ),
        (
            CreateRole(name="r", stores=("main",), keys={"main": StoreKey(access_key="k", secret_key="hush hush")}),
            InvalidField,
            "role.keys.main.secret_key: must be",
        ),
    ],
)
def test_a_role_that_cannot_be_is_refused(world: World, command: Asked, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said) as refused:
        world.do(command)
    assert "hush" not in str(refused.value)
    assert world.jobstore.accounts.read().roles == {}


# -- master keys


def test_the_first_secret_makes_the_file_of_master_keys_and_nothing_else_does(world: World) -> None:
    world.do(CreateUser(name="bob", policy="viewer"))
    world.do(CreateKey(user="bob", kind=KeyKind.BEARER))
    world.do(CreateRole(name="r"))
    assert not world.key_file.exists()
    world.do(CreateKey(user="bob"))
    assert world.key_file.stat().st_mode & 0o777 == 0o600
    assert MasterKeys.parse(world.key_file.read_text()).versions == {1}


def test_a_new_master_key_takes_over_with_nothing_lost(world: World, bob: User) -> None:
    old = world.do(CreateKey(user="bob"))
    role_key = StoreKey(access_key="AK", secret_key="s")
    world.do(CreateRole(name="r", stores=("main",), keys={"main": role_key}))
    assert world.do(AddMasterKey()) == {"version": 2, "versions": [1, 2]}
    new = world.do(CreateKey(user="bob"))
    assert world.jobstore.accounts.read().versions() == {1, 2}
    assert world.do(Reencrypt()) == {"version": 2, "reencrypted": 2, "unused_versions": [1]}
    stored = world.jobstore.accounts.read()
    assert (stored.versions(), set(stored.master_keys)) == ({2}, {2})
    world.key_file.write_text("".join(line for line in lines_of(world.key_file) if not line.startswith("1:")))
    world.start()
    for told in (old, new):
        identity = world.directory.signer(told["key"])
        assert identity is not None
        assert identity.key.secret_key == told["secret_key"]
    assert world.do(Reencrypt()) == {"version": 2, "reencrypted": 0, "unused_versions": []}


def another_key(world: World) -> None:
    world.key_file.write_text(MasterKeys.line(1, b"x" * 32))


def no_key(world: World) -> None:
    world.key_file.unlink()


def another_version(world: World) -> None:
    world.key_file.write_text(MasterKeys.line(2, b"x" * 32))


def garbage(world: World) -> None:
    world.key_file.write_text("secret-garbage")


def lost_proof(world: World) -> None:
    world.jobstore.accounts.write(lambda stored: [Remove(part) for part in stored.master_keys.values()])


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (another_key, "version 1 is another one"),
        (no_key, "1 sealed secrets, and there is no master key"),
        (another_version, "no master key of version 1|version 1 is another one"),
        (garbage, "holds no master keys: line 1 is not VERSION:KEY"),
        (lost_proof, "version 1 is another one"),
    ],
)
def test_without_the_right_master_key_nothing_starts_and_nothing_is_sealed(
    world: World, bob: User, harm: Callable[[World], None], said: str
) -> None:
    told = world.do(CreateKey(user="bob"))
    harm(world)
    before = world.jobstore.accounts.read()
    for command in (CreateKey(user="bob"), Reencrypt(), AddMasterKey()):
        with pytest.raises(SettingsError, match=said) as refused:
            world.do(command)
        assert refused.value.path == "server.secrets_key_file"
        assert "garbage" not in str(refused.value)
    assert world.jobstore.accounts.read() == before
    world.do(SetUserDisabled(name="bob", disabled=True))
    assert world.directory.signer(told["key"]) is None  # an emergency does not wait for the file to be found
    world.do(SetUserDisabled(name="bob", disabled=False))
    assert world.directory.signer(told["key"]) is not None
    with pytest.raises(SettingsError, match=said):
        world.start()


def test_what_a_lost_master_key_has_sealed_can_be_deleted_without_a_server(world: World, bob: User) -> None:
    told = world.do(CreateKey(user="bob"))
    world.do(CreateRole(name="r", stores=("main",), keys={"main": StoreKey(access_key="AK", secret_key="s")}))
    world.key_file.write_text("garbage")
    assert {row["key"] for row in world.alone(ListKeys(user="bob"))} == {told["key"]}
    with pytest.raises(SettingsError, match="holds no master keys"):
        world.alone(CreateKey(user="bob"))
    world.key_file.unlink()
    with pytest.raises(SettingsError, match="2 sealed secrets"):
        world.alone(CreateKey(user="bob"))
    world.alone(DeleteKey(key=told["key"]))
    world.alone(DeleteRole(name="r"))
    world.start()


def test_a_lost_file_of_master_keys_is_no_matter_once_nothing_is_sealed(world: World, bob: User) -> None:
    world.do(DeleteKey(key=world.do(CreateKey(user="bob"))["key"]))
    world.key_file.unlink()
    world.start()
    told = world.do(CreateKey(user="bob"))  # by a new key of the same version
    world.start()
    assert world.directory.signer(told["key"]) is not None


def test_master_keys_of_the_environment_are_not_written_anywhere(world: World, bob: User) -> None:
    world.given = MasterKeys.line(4, b"e" * 32)
    world.start()
    world.do(CreateKey(user="bob"))
    assert world.jobstore.accounts.read().versions() == {4}
    with pytest.raises(CommandRefused, match="add a line there, 5:KEY"):
        world.do(AddMasterKey())
    assert not world.key_file.exists()


def test_a_file_that_was_asked_for_by_name_is_made_on_demand_only(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "named.key", None, made_when_needed=False)
    with pytest.raises(CommandRefused, match="haulier key new-master makes it"):
        file.make(lambda length: b"r" * length)
    assert file.add(lambda length: b"r" * length).versions == {1}
    assert file.add(lambda length: b"q" * length).versions == {1, 2}
    assert (tmp_path / "named.key").stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["named.key"]
    with pytest.raises(SettingsError, match="cannot write"):
        KeyFile(tmp_path / "gone" / "k", None, made_when_needed=True).make(lambda length: b"r" * length)


# -- rows that were changed behind our back


def test_a_changed_row_lets_nobody_in_and_harms_no_other(world: World, bob: User, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = world.do(CreateKey(user="bob")), world.do(CreateKey(user="bob"))

    def tamper(stored: Any) -> list[Any]:
        key: StoredKey = stored.keys[bad["key"]]
        assert key.secret is not None
        data = bytes([key.secret.data[0] ^ 1]) + key.secret.data[1:]
        return [Put(msgspec.structs.replace(key, secret=msgspec.structs.replace(key.secret, data=data)))]

    world.jobstore.accounts.write(tamper)
    world.start()
    assert world.directory.signer(good["key"]) is not None
    assert world.directory.signer(bad["key"]) is None
    said = capsys.readouterr().out
    assert "a stored secret cannot be used" in said
    assert bad["key"] in said
    world.do(AddMasterKey())
    with pytest.raises(SecretsError, match=bad["key"]):
        world.do(Reencrypt())
    world.do(DeleteKey(key=bad["key"]))
    assert world.do(Reencrypt())["reencrypted"] == 1


def test_a_row_that_is_moved_to_another_user_account_or_store_does_not_open(world: World, bob: User) -> None:
    told = world.do(CreateKey(user="bob"))
    world.do(CreateAccount(name="b", aws_account_id="000000000001"))
    world.do(CreateUser(name="bob", policy="admin", account="b"))
    keys = {"main": StoreKey(access_key="AK", secret_key="s")}
    world.do(CreateRole(name="r", account="acme", stores=("main", "bare"), keys={**keys, "bare": keys["main"]}))

    for to in ({"user": "admin"}, {"account": "b"}, {"id": "ANOTHER"}):
        world.jobstore.accounts.write(lambda stored, to=to: [Put(msgspec.structs.replace(stored.keys[told["key"]], **to))])
        world.start()
        assert world.directory.signer(to.get("id", told["key"])) is None
        world.jobstore.accounts.write(
            lambda stored: [Put(msgspec.structs.replace(key, user="bob", account="acme")) for key in stored.keys.values()]
        )
    world.start()
    assert world.directory.signer(told["key"]) is not None  # where it belongs it opens

    def swapped(stored: Any) -> list[Any]:
        main: StoredRoleKey = stored.role_keys["acme", "r", "main"]
        return [Put(msgspec.structs.replace(stored.role_keys["acme", "r", "bare"], secret=main.secret))]

    world.jobstore.accounts.write(swapped)
    world.start()
    role = world.directory.accounts["acme"].role("r")
    assert role is not None
    assert set(role.keys) == {"main"}


# -- settings and database


@pytest.mark.parametrize(
    ("defined", "path", "said"),
    [
        ({"accounts": {"b": Account(name="b", aws_account_id="9" * 12)}}, "accounts.b", "account 'b' is defined here and in"),
        (
            {"accounts": {"acme": ACME, "c": Account(name="c", aws_account_id="000000000001")}},
            "accounts.c.aws_account_id",
            "that of account 'b' in the database",
        ),
        (
            {"accounts": {"acme": msgspec.structs.replace(ACME, users=(User(account="acme", name="bob", policy="viewer"),))}},
            "accounts.acme.users[0]",
            "haulier user delete bob --account acme",
        ),
        (
            {"accounts": {"acme": msgspec.structs.replace(ACME, roles=(Role(account="acme", name="r"),))}},
            "accounts.acme.roles[0]",
            "haulier role delete r --account acme",
        ),
    ],
    ids=["account", "identity", "user", "role"],
)
def test_what_settings_and_database_both_define_is_an_error_naming_both(
    world: World, bob: User, defined: dict[str, Any], path: str, said: str
) -> None:
    world.do(CreateAccount(name="b", aws_account_id="000000000001"))
    world.do(CreateRole(name="r", account="acme"))
    before = world.directory.accounts
    with pytest.raises(SettingsError, match=said) as refused:
        world.administration.load(Defined(**defined))
    assert refused.value.path == path
    assert world.directory.accounts == before
    world.defined = Defined(**defined)
    for command in (DeleteUser(name="bob", account="acme"), DeleteRole(name="r", account="acme"), DeleteAccount(name="b")):
        world.alone(command)  # which mends it
    world.start()


def test_a_key_that_both_define_is_an_error_naming_both(world: World, bob: User) -> None:
    key = world.do(CreateKey(user="bob"))["key"]
    doubled = User(account="acme", name="admin", policy="admin", keys=(Key(id=key, secret_key="s"),))
    with pytest.raises(SettingsError, match=f"haulier key delete {key}") as refused:
        world.administration.load(Defined(accounts={"acme": msgspec.structs.replace(ACME, users=(doubled,))}))
    assert refused.value.path == "accounts.acme.users[0].access_key"


def test_a_user_of_the_settings_that_goes_leaves_keys_that_let_nobody_in(world: World) -> None:
    key = world.do(CreateKey(user="admin"))["key"]
    world.defined = Defined(accounts={"acme": msgspec.structs.replace(ACME, users=(), roles=())})
    world.start()
    assert world.directory.signer(key) is None
    with pytest.raises(CommandRefused, match="keys of an earlier user 'admin'"):
        world.do(CreateUser(name="admin", policy="viewer"))
    world.do(DeleteKey(key=key))
    world.do(CreateUser(name="admin", policy="viewer"))


# -- the audit log, and what is never told


def test_every_change_is_told_to_the_audit_log_and_no_look_is(world: World) -> None:
    world.do(CreateUser(name="bob", policy="viewer"))
    key = world.do(CreateKey(user="bob", kind=KeyKind.BEARER, hours=1))["key"]
    world.do(ListKeys())
    who = {"kind": "administration", "uid": 1000, "pid": 7, "account": "acme", "user": "bob"}
    assert world.log.entries == [
        {**who, "command": "user create", "name": "bob", "policy": "viewer"},
        {**who, "command": "key create", "key_kind": KeyKind.BEARER, "hours": 1, "key": key},
    ]
    assert [(entry["kind"], entry.get("command")) for entry in world.log.others] == [
        ("settings", None),
        ("intent", "user create"),
        ("intent", "key create"),
    ]


def test_what_was_refused_is_told_too(world: World) -> None:
    with pytest.raises(NotDefined):
        world.do(CreateKey(user="nobody"))
    assert [(entry["kind"], entry.get("refused")) for entry in world.log.others[1:]] == [
        ("intent", None),
        ("administration", "NotDefined"),
    ]


def test_the_audit_log_tells_what_the_settings_changed_and_no_secret(world: World) -> None:
    world.log.others.clear()
    mallory = User(account="acme", name="mallory", policy="admin", keys=(Key(id="AKMALLORY", secret_key="canary"),))
    changed = msgspec.structs.replace(ACME, users=(*ACME.users, mallory), roles=(), weight=2.0)
    world.administration.load(msgspec.structs.replace(DEFINED, accounts={"acme": changed}))
    assert world.log.others == [
        {"kind": "settings", "added": ["acme/users/mallory"], "changed": ["acme"], "removed": ["acme/roles/batch"]}
    ]


@pytest.mark.parametrize("known", [True, False])
def test_what_the_audit_log_could_not_tell_is_not_done(world: World, known: bool) -> None:
    world.log.problem = "the disk is full" if known else None
    world.log.fails = True
    with pytest.raises(Unavailable, match="the disk is full"):
        world.do(CreateUser(name="bob", policy="viewer"))
    assert world.do(ListUsers())
    assert world.jobstore.accounts.read().users == {}


def test_no_secret_is_told_but_once(world: World, bob: User, capsys: pytest.CaptureFixture[str]) -> None:
    """Canaries: what was told, and what was given, is found in no log, file, repr or error (reliability.md §10, row 46)."""
    told = [world.do(CreateKey(user="bob", kind=kind)) for kind in KeyKind]
    canaries = [value for answer in told for name, value in answer.items() if name in ("secret_key", "token")]
    assert len(canaries) == 4
    key = StoreKey(access_key="AK", secret_key="canary-of-the-store", session_token="canary-of-the-session")
    command = CreateRole(name="r", stores=("main",), keys={"main": key})
    world.do(command)
    canaries += [key.secret_key, "canary-of-the-session", "of the settings"]
    canaries += [line.partition(":")[2].strip() for line in lines_of(world.key_file) if line[0].isdigit()]
    shown = [repr(command), repr(world.key_file), repr(world.administration), repr(world.log.entries)]
    for account in world.directory.accounts.values():
        shown += [repr(account), repr(account.users), repr(account.roles), repr([user.keys for user in account.users])]
    stored = world.jobstore.accounts.read()
    shown += [repr(stored), repr(world.do(ListKeys())), repr(world.do(ListRoles()))]
    for refused in (
        lambda: world.do(msgspec.structs.replace(command, name="a/b")),
        lambda: world.do(CreateRole(name="x", stores=("gone",), keys={"gone": key})),
        lambda: world.administration.load(Defined(accounts={"acme": ACME, "b": msgspec.structs.replace(ACME, name="b")})),
    ):
        with pytest.raises(HaulierError) as error:
            refused()
        shown += [str(error.value), repr(error.value)]
    captured = capsys.readouterr()
    shown += [captured.out, captured.err]
    database = b"".join(path.read_bytes() for path in world.folder.glob("haulier.db*"))
    for canary, text in itertools.product(canaries, shown):
        assert canary not in text
    for canary in canaries:
        assert canary.encode() not in database


# -- the brake


def test_the_brake_is_on_from_the_answer_on_and_over_a_restart_until_it_is_taken_off(world: World) -> None:
    assert not world.brake.on
    assert world.do(ResumeAll()) == {"stopped": False, "since": None, "before": False}
    first = world.do(StopAll())
    assert (first["stopped"], first["before"], world.brake.on) == (True, False, True)
    since = world.brake.since_ms
    assert world.do(StopAll()) == {**first, "before": True}, "since the first time"
    world.start()
    assert world.brake.since_ms == since
    assert world.do(ResumeAll()) == {"stopped": False, "since": first["since"], "before": True}
    assert not world.brake.on
    world.start()
    assert not world.brake.on


def test_a_command_without_a_server_stops_the_next_one(world: World) -> None:
    world.alone(StopAll())
    world.start()
    assert world.brake.on
