"""What a command decides on: the settings, what is stored, the time, randomness and the master keys; and what it decides."""

import base64
import math
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, TypeVar

import msgspec

from haulier.core.accounts import Account, Key, User
from haulier.core.errors import (
    AlreadyDefined,
    DefinedInSettings,
    InvalidField,
    NotDefined,
    SealBroken,
    SecretsError,
    WrongMasterKey,
)
from haulier.core.names import ACCOUNT, PRINCIPAL
from haulier.core.policy import Policy
from haulier.core.sealing import NONCE_BYTES, MasterKeys, Sealed
from haulier.core.stored import (
    Change,
    Put,
    Stored,
    StoredAccount,
    StoredKey,
    StoredMasterKey,
    StoredRole,
    StoredRoleKey,
    StoredUser,
)

T = TypeVar("T")

_ALPHABET: Final = string.digits + string.ascii_letters
PROOF: Final = b"haulier"
"""What every master key seals once."""


class Defined(msgspec.Struct, frozen=True, kw_only=True):
    """What the settings define; no command changes it."""

    accounts: Mapping[str, Account] = {}
    policies: Mapping[str, Policy] = {}
    """The policy documents of their users, by name."""
    stores: frozenset[str] = frozenset()
    keyed: frozenset[str] = frozenset()
    """The stores with keys of their own."""

    def place(self, account: str, *, user: str | None = None, role: str | None = None) -> str:
        """Where the settings define it; empty where they do not."""
        table = self.accounts.get(account)
        if table is None:
            return ""
        path = f"accounts.{account}"
        if user is not None:
            return next((f"{path}.users[{at}]" for at, each in enumerate(table.users) if each.name == user), "")
        if role is not None:
            return next((f"{path}.roles[{at}]" for at, each in enumerate(table.roles) if each.name == role), "")
        return path

    def place_of_key(self, key_id: str) -> str:
        """Where the settings define the access key; empty where they do not."""
        for account in self.accounts.values():
            for at, user in enumerate(account.users):
                if any(key.id == key_id for key in user.keys):
                    return f"accounts.{account.name}.users[{at}].access_key"
        return ""


class Decided(msgspec.Struct, frozen=True):
    """What a command decided."""

    answer: Any
    """JSON values for the one who asked; only here a new secret is ever told."""
    changes: Sequence[Change] = ()

    def __repr__(self) -> str:
        return f"Decided({len(self.changes)} changes)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("changes", len(self.changes))]


class State(msgspec.Struct, frozen=True, kw_only=True):
    """See above. Names are resolved here, so that every command refuses the same in the same words."""

    defined: Defined
    stored: Stored
    now_ms: int
    random: Callable[[int], bytes]
    master_keys: MasterKeys | None = None
    """Known to commands that seal or open something."""
    has_jobs: Callable[[str, bool], bool] = lambda _account, _unfinished: False
    """Whether there are jobs of an account of that name; with True, unfinished ones."""

    # -- finding

    def account(self, name: str | None, *, past: bool = False) -> str:
        """The account's name; where none is given, the only one there is. With `past` it may also be one that the settings do not
        define any more, for what it has left must be seen and deleted. Raises NotDefined, InvalidField."""
        known = sorted({*self.defined.accounts, *self.stored.accounts})
        if past and name is not None:
            known += [account for account, _ in (*self.stored.users, *self.stored.roles)]
        if name is None:
            if len(known) != 1:
                said = f"there are {', '.join(known)}" if known else "there is none yet"
                raise InvalidField("account", f"must be named: {said}")
            return known[0]
        if name not in known:
            raise NotDefined(f"there is no account {name[:80]!r}")
        return name

    def user(self, account: str, name: str) -> User | StoredUser:
        """The user, wherever it is defined. Raises NotDefined."""
        table = self.defined.accounts.get(account)
        found = (table.user(name) if table is not None else None) or self.stored.users.get((account, name))
        if found is None:
            raise NotDefined(f"there is no user {name[:80]!r} in account {account!r}")
        return found

    def stored_user(self, account: str, name: str) -> StoredUser:
        """The user, which a command may change. Raises NotDefined, DefinedInSettings."""
        what = f"user {name[:80]!r} of account {account!r}"
        return _changeable(self.stored.users.get((account, name)), self.defined.place(account, user=name), what)

    def stored_role(self, account: str, name: str) -> StoredRole:
        """The role, which a command may change. Raises NotDefined, DefinedInSettings."""
        what = f"role {name[:80]!r} of account {account!r}"
        return _changeable(self.stored.roles.get((account, name)), self.defined.place(account, role=name), what)

    def stored_account(self, name: str) -> StoredAccount:
        """The account, which a command may change. Raises NotDefined, DefinedInSettings."""
        return _changeable(self.stored.accounts.get(name), self.defined.place(name), f"account {name[:80]!r}")

    def stored_key(self, key_id: str) -> StoredKey:
        """The key, which a command may change. Raises NotDefined, DefinedInSettings."""
        return _changeable(self.stored.keys.get(key_id), self.defined.place_of_key(key_id), f"key {key_id[:80]!r}")

    def keys_of(self, account: str, user: str) -> Sequence[Key | StoredKey]:
        """All keys of a user, of the settings first."""
        table = self.defined.accounts.get(account)
        found = table.user(user) if table is not None else None
        return [*(found.keys if found is not None else ()), *self.stored.keys_by_user().get((account, user), ())]

    # -- checking

    def check_new(self, what: str, name: str, place: str, *, stored: bool) -> None:
        """Raises AlreadyDefined naming where it is defined: in the settings at `place`, or in the database."""
        if place:
            raise AlreadyDefined(f"{what} {name!r} is defined in the settings already ({place})")
        if stored:
            raise AlreadyDefined(f"{what} {name!r} exists already")

    # -- making

    def text(self, prefix: str, random_bytes: int) -> str:
        """A random secret that starts with the prefix: letters and digits only, which no shell and no header minds."""
        number = int.from_bytes(self.random(random_bytes), "big")
        digits = []
        for _ in range(math.ceil(8 * random_bytes / math.log2(len(_ALPHABET)))):
            number, digit = divmod(number, len(_ALPHABET))
            digits.append(_ALPHABET[digit])
        return prefix + "".join(digits)

    def name(self, prefix: str, length: int) -> str:
        """A random name of so many characters, in capitals and digits, as access keys look everywhere."""
        return (prefix + base64.b32encode(self.random(length)).decode("ascii"))[:length]

    def seal(self, secret: bytes, place: Sequence[str]) -> Sealed:
        """The secret, sealed by the newest master key; `proof` must be stored with it."""
        return self._keys.seal(secret, place, self.random(NONCE_BYTES))

    def proof(self) -> Sequence[Change]:
        """The newest master key's proof, where it has sealed nothing yet. Raises WrongMasterKey where another key of its version
        has sealed something."""
        version = self._keys.newest
        if version in self.stored.versions():
            check_master_key(self._keys, self.stored.master_keys.get(version), version)
            return []
        unproven = StoredMasterKey(version=version, proof=Sealed(version, b""), created_ms=self.now_ms)
        return [Put(msgspec.structs.replace(unproven, proof=self.seal(PROOF, unproven.place)))]

    def open(self, part: StoredKey | StoredRoleKey) -> bytes:
        """The part's secret. Raises SecretsError naming it."""
        assert part.secret is not None
        try:
            return self._keys.open(part.secret, part.place)
        except SecretsError as error:
            raise SecretsError(f"{part.title}: {error}") from None

    @property
    def _keys(self) -> MasterKeys:
        assert self.master_keys is not None, "the command did not say that it seals"
        return self.master_keys


def _changeable(stored: T | None, place: str, what: str) -> T:
    """What is stored. Where the settings define the same too (then no server starts), a command is the way to mend that."""
    if stored is not None:
        return stored
    if place:
        raise DefinedInSettings(what, place)
    raise NotDefined(f"there is no {what}")


def check_master_key(keys: MasterKeys, part: StoredMasterKey | None, version: int) -> None:
    """Raises WrongMasterKey where the key of that version is not the one that left this proof; MasterKeyMissing."""
    try:
        if part is not None and keys.open(part.proof, part.place) == PROOF:
            return
    except SealBroken:
        pass
    raise WrongMasterKey(version)


def check_account_name(name: str) -> None:
    """Raises InvalidField."""
    if not ACCOUNT.fullmatch(name):
        raise InvalidField(
            "account", f"{name[:80]!r} is not a name: at most 64 letters, digits, - and single _, beginning with no - or _"
        )


def check_principal(name: str, path: str) -> None:
    """Raises InvalidField unless it can be the name of a user or role."""
    if not PRINCIPAL.fullmatch(name):
        raise InvalidField(path, f"{name[:80]!r} is not a name: up to 64 letters, digits and _+=,.@-")


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all commands have in common."""

    changes: ClassVar[bool] = True
    """Whether it may change something; then the audit log tells of it."""

    @property
    def seals(self) -> bool:
        """Whether it needs the master keys."""
        return False

    def decide(self, state: State) -> Decided:
        """What is to change and what to answer. Pure; raises CommandRefused, InvalidField, SecretsError."""
        raise NotImplementedError

    def noted(self) -> Mapping[str, Any]:
        """Its fields; one with a secret among them says them itself."""
        return {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}
