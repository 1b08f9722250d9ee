"""Roles: make, list, change and delete them. A role's own keys for stores are secrets, and sealed as such."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from haulier.admin.accounts import origin
from haulier.admin.state import Asked, Decided, State, check_principal
from haulier.core.accounts import Credentials, Role
from haulier.core.errors import InvalidField
from haulier.core.names import problems_of_role
from haulier.core.sealing import Sealed
from haulier.core.stored import Change, Put, Remove, StoredRole, StoredRoleKey, StoreSecret


class StoreKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A role's own key for a store, as it is given."""

    access_key: str
    secret_key: str
    session_token: str | None = None

    def __repr__(self) -> str:
        return f"StoreKey({self.access_key!r}, …)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("access_key", self.access_key)]


class _WithKeys(Asked, frozen=True, kw_only=True):
    """What making and changing a role have in common."""

    name: str
    account: str | None = None
    keys: Mapping[str, StoreKey] = {}

    @property
    def seals(self) -> bool:
        """With keys."""
        return bool(self.keys)

    def noted(self) -> Mapping[str, Any]:
        """The keys by their stores only."""
        return {**super().noted(), "keys": sorted(self.keys)}

    def _store(self, state: State, role: StoredRole, kept: Sequence[StoredRoleKey]) -> Decided:
        """The role with the keys given now and those kept, if it can be. Raises InvalidField."""
        table = state.defined.accounts.get(role.account)
        users = {user for of, user in state.stored.users if of == role.account}
        users |= {user.name for user in table.users} if table is not None else set()
        for at, user in enumerate(role.users):
            if user not in users:
                raise InvalidField(f"users[{at}]", f"there is no user {user[:80]!r} in account {role.account!r}")
        _check(state, role, {**{key.store: _kept(key) for key in kept}, **self.keys})
        changes: list[Change] = [Put(role), *(state.proof() if self.keys else ())]
        for store, key in self.keys.items():
            part = StoredRoleKey(
                account=role.account, role=role.name, store=store, access_key=key.access_key, secret=Sealed(0, b"")
            )
            secret = msgspec.json.encode(StoreSecret(key.secret_key, key.session_token))
            changes.append(Put(msgspec.structs.replace(part, secret=state.seal(secret, part.place))))
        return Decided({"account": role.account, "role": role.name}, changes)


class CreateRole(_WithKeys, frozen=True, kw_only=True, tag="role create"):
    """Make a role."""

    stores: tuple[str, ...] = ()
    buckets: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    use_store_keys: bool = False

    def decide(self, state: State) -> Decided:
        """Raises InvalidField, NotDefined, AlreadyDefined."""
        account = state.account(self.account)
        check_principal(self.name, "role")
        place = state.defined.place(account, role=self.name)
        state.check_new("role", self.name, place, stored=(account, self.name) in state.stored.roles)
        role = StoredRole(
            account=account,
            name=self.name,
            stores=self.stores,
            buckets=self.buckets,
            users=self.users,
            use_store_keys=self.use_store_keys,
            created_ms=state.now_ms,
        )
        return self._store(state, role, [])


class ListRoles(Asked, frozen=True, kw_only=True, tag="role list"):
    """The roles of an account, or of all."""

    changes: ClassVar[bool] = False
    account: str | None = None

    def decide(self, state: State) -> Decided:
        """A row per role. Raises NotDefined."""
        wanted = None if self.account is None else state.account(self.account, past=True)
        known: dict[tuple[str, str], Role | StoredRole] = dict(state.stored.roles)
        known.update({(name, role.name): role for name, account in state.defined.accounts.items() for role in account.roles})
        return Decided([_row(state, account, role) for (account, _), role in sorted(known.items()) if wanted in (None, account)])


class SetRole(_WithKeys, frozen=True, kw_only=True, tag="role set"):
    """Change a role: what is given takes the place of what was there, keys store by store. Keys for stores that the role does not
    name any more are deleted."""

    stores: tuple[str, ...] | None = None
    buckets: tuple[str, ...] | None = None
    users: tuple[str, ...] | None = None
    use_store_keys: bool | None = None

    def decide(self, state: State) -> Decided:
        """Raises InvalidField, NotDefined, DefinedInSettings."""
        before = state.stored_role(state.account(self.account), self.name)
        given = {name: getattr(self, name) for name in ("stores", "buckets", "users", "use_store_keys")}
        role = msgspec.structs.replace(before, **{name: value for name, value in given.items() if value is not None})
        mine = [key for key in state.stored.role_keys.values() if (key.account, key.role) == (role.account, role.name)]
        decided = self._store(state, role, [key for key in mine if key.store in role.stores and key.store not in self.keys])
        dropped = [Remove(key) for key in mine if key.store not in role.stores]
        return msgspec.structs.replace(decided, changes=[*decided.changes, *dropped])


class DeleteRole(Asked, frozen=True, kw_only=True, tag="role delete"):
    """Delete a role with its keys; jobs that act as it fail within a minute."""

    name: str
    account: str | None = None

    def decide(self, state: State) -> Decided:
        """Raises NotDefined, DefinedInSettings."""
        role = state.stored_role(state.account(self.account, past=True), self.name)
        return Decided({"account": role.account, "role": role.name}, [Remove(role)])


def _kept(key: StoredRoleKey) -> StoreKey:
    """A key that stays as it is, in the place of its secret a word that is as good for the check."""
    return StoreKey(access_key=key.access_key, secret_key="-")  # noqa: S106


def _check(state: State, role: StoredRole, keys: Mapping[str, StoreKey]) -> None:
    whole = Role(
        account=role.account,
        name=role.name,
        stores=role.stores,
        buckets=role.buckets,
        use_store_keys=role.use_store_keys,
        keys={store: Credentials(key.access_key, key.secret_key, key.session_token) for store, key in keys.items()},
    )
    for place, problem in problems_of_role(whole, state.defined.stores, state.defined.keyed):
        raise InvalidField(f"role{place}", problem)


def _row(state: State, account: str, role: Role | StoredRole) -> dict[str, Any]:
    stored = [key.store for key in state.stored.role_keys.values() if (key.account, key.role) == (account, role.name)]
    return {
        "account": account,
        "role": role.name,
        "stores": role.stores,
        "buckets": role.buckets,
        "users": role.users,
        "keys": sorted(role.keys) if isinstance(role, Role) else stored,
        "use_store_keys": role.use_store_keys,
        **origin(state.defined.place(account, role=role.name), role),
    }
