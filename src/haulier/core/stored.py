"""Accounts, users, keys and roles as they are stored: what `haulier account|user|key|role` and
`haulier stop-all` have made. Settings are not among them.

Secrets are sealed here. `AccountStore` is the port to where they lie.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from haulier.core.accounts import KeyKind
from haulier.core.sealing import Sealed


class StoredAccount(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant."""

    name: str
    aws_account_id: str | None = None
    cos_uin: str | None = None
    cos_appid: str | None = None
    created_ms: int


class StoredUser(msgspec.Struct, frozen=True, kw_only=True):
    """A user; its account may be one of the settings."""

    account: str
    name: str
    policy: str
    """The name of a built-in policy, or a whole document."""
    disabled: bool = False
    created_ms: int


def is_document(policy: str) -> bool:
    """Whether a stored policy is a document; else it is a built-in one's name."""
    return policy.lstrip().startswith("{")


class StoredKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key; its user may be one of the settings. Fields as in `core.accounts.Key`."""

    id: str
    account: str
    user: str
    kind: KeyKind
    secret: Sealed | None = None
    """Of the secret key, bound to `place`."""
    token_hash: bytes | None = None
    actions: tuple[str, ...] | None = None
    expires_ms: int | None = None
    disabled: bool = False
    created_ms: int

    @property
    def place(self) -> tuple[str, ...]:
        """What its secret is bound to."""
        return ("key", self.id, self.account, self.user, self.kind.value)

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"key {self.id} of account {self.account}"


class StoredRole(msgspec.Struct, frozen=True, kw_only=True):
    """A role without its keys; its account may be one of the settings. Fields as in `core.accounts.Role`."""

    account: str
    name: str
    stores: tuple[str, ...] = ()
    buckets: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    use_store_keys: bool = False
    created_ms: int


class StoredRoleKey(msgspec.Struct, frozen=True, kw_only=True):
    """A role's own key for one store."""

    account: str
    role: str
    store: str
    access_key: str
    secret: Sealed
    """Of `StoreSecret` as JSON, bound to `place`."""

    @property
    def place(self) -> tuple[str, ...]:
        """What its secret is bound to."""
        return ("role", self.role, self.account, self.store, self.access_key)

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"key of role {self.role} of account {self.account} for store {self.store}"


class StoreSecret(msgspec.Struct, frozen=True):
    """The secret half of a role's key for a store."""

    secret_key: str
    session_token: str | None = None

    def __repr__(self) -> str:
        return "StoreSecret(…)"

    def __rich_repr__(self) -> list[tuple[str, str]]:
        return []


class StoredMasterKey(msgspec.Struct, frozen=True, kw_only=True):
    """A master key that has sealed something, without the key: `proof` opens under it and under no other."""

    version: int
    proof: Sealed
    created_ms: int

    @property
    def place(self) -> tuple[str, ...]:
        """What the proof is bound to."""
        return ("master key", str(self.version))


class StoredStop(msgspec.Struct, frozen=True, kw_only=True):
    """The operator has stopped everything (`core.brake`). There is one at most."""

    since_ms: int
    one: int = 1


StoredPart = StoredAccount | StoredUser | StoredKey | StoredRole | StoredRoleKey | StoredMasterKey | StoredStop


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """All there are, in the order of their names."""

    accounts: Mapping[str, StoredAccount] = {}
    users: Mapping[tuple[str, str], StoredUser] = {}
    """By account and name."""
    keys: Mapping[str, StoredKey] = {}
    roles: Mapping[tuple[str, str], StoredRole] = {}
    """By account and name."""
    role_keys: Mapping[tuple[str, str, str], StoredRoleKey] = {}
    """By account, role and store."""
    master_keys: Mapping[int, StoredMasterKey] = {}
    used_ms: Mapping[str, int] = {}
    """When a key, of the settings too, let a request in last; lists tell it to the minute."""
    stop: StoredStop | None = None

    def sealed(self) -> Sequence[StoredKey | StoredRoleKey]:
        """The parts with a sealed secret."""
        return [*(key for key in self.keys.values() if key.secret is not None), *self.role_keys.values()]

    def keys_by_user(self) -> Mapping[tuple[str, str], Sequence[StoredKey]]:
        """The keys by account and user."""
        found: dict[tuple[str, str], list[StoredKey]] = {}
        for key in self.keys.values():
            found.setdefault((key.account, key.user), []).append(key)
        return found

    def versions(self) -> frozenset[int]:
        """The versions of the master keys that they are sealed by."""
        return frozenset(part.secret.version for part in self.sealed() if part.secret is not None)


class Put(msgspec.Struct, frozen=True):
    """Store the part, in the place of the one of the same name if there is one."""

    part: StoredPart


class Remove(msgspec.Struct, frozen=True):
    """Remove the part, with what belongs to it (a role's keys, a key's last use)."""

    part: StoredPart


Change = Put | Remove


class AccountStore(Protocol):
    """Where they lie; durable when a call returns. Safe to use from any thread."""

    def read(self) -> Stored:
        """All that is stored, as it is together."""
        ...

    def write(self, decide: Callable[[Stored], Sequence[Change]]) -> Stored:
        """Read, decide and write in one transaction; all that is stored afterwards. What `decide` raises is raised and
        changes nothing. It must be pure, for it may be run twice. Raises ValueError for what must never be true."""
        ...

    def note_uses(self, uses: Mapping[str, int]) -> None:
        """When keys were used last, by id (Unix ms)."""
        ...

    def has_jobs(self, account: str, *, unfinished: bool) -> bool:
        """Whether there is a record of a job, or of an unfinished one, of an account of that name."""
        ...
