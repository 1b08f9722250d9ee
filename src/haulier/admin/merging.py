"""One set of accounts out of two: what the settings define, and what commands have made. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from haulier.admin.state import Defined
from haulier.core.accounts import Account, Credentials, Key, Role, User
from haulier.core.errors import PolicyError, SecretsError, SettingsError
from haulier.core.policy import Policy, parse
from haulier.core.sealing import MasterKeys
from haulier.core.stored import Stored, StoredKey, StoredRoleKey, StoredUser, StoreSecret, is_document


class Problem(msgspec.Struct, frozen=True):
    """Something stored that is left out, or without effect, and why: one line for the log."""

    message: str
    facts: Mapping[str, Any]


class Merged(msgspec.Struct, frozen=True):
    """All accounts, and what was wrong with some of their parts."""

    accounts: Sequence[Account]
    policies: Mapping[str, Policy]
    """The policy documents of stored users, by what the users have as their policy's name."""
    problems: Sequence[Problem]


def merged(defined: Defined, stored: Stored, keys: MasterKeys | None) -> Merged:
    """What both define together. A secret that does not open lets nobody in, and is a problem, not the end.

    Raises SettingsError naming both places where both define the same.
    """
    return _Merging(defined, stored, keys).done()


class _Merging:
    def __init__(self, defined: Defined, stored: Stored, keys: MasterKeys | None) -> None:
        self._defined = defined
        self._stored = stored
        self._master_keys = keys
        self._keys_by_user = stored.keys_by_user()
        self._users_by_account: dict[str, list[StoredUser]] = {}
        for user in stored.users.values():
            self._users_by_account.setdefault(user.account, []).append(user)
        self._problems: list[Problem] = []
        self._policies: dict[str, Policy] = {}

    def done(self) -> Merged:
        self._check_doubles()
        names = {*self._defined.accounts, *self._stored.accounts}
        for account, user in self._stored.users:
            if account not in names:
                self._problem("a user's account is not defined, so nobody lets it in", account=account, user=user)
        for account, role in self._stored.roles:
            if account not in names:
                self._problem("a role's account is not defined, so nobody can pass it", account=account, role=role)
        accounts = [self._account(name) for name in sorted(names)]
        known = {(account.name, user.name) for account in accounts for user in account.users}
        for account, user in self._keys_by_user.keys() - known:
            self._problem("the user of stored keys is not defined, so they let nobody in", account=account, user=user)
        return Merged(accounts, self._policies, self._problems)

    def _problem(self, message: str, **facts: Any) -> None:
        self._problems.append(Problem(message, facts))

    def _check_doubles(self) -> None:
        defined, stored = self._defined, self._stored
        for name in stored.accounts:
            _check_double(defined.place(name), f"account {name!r}", f"haulier account delete {name}")
        for account, name in stored.users:
            place = defined.place(account, user=name)
            _check_double(place, f"user {name!r}", f"haulier user delete {name} --account {account}")
        for account, name in stored.roles:
            place = defined.place(account, role=name)
            _check_double(place, f"role {name!r}", f"haulier role delete {name} --account {account}")
        for key_id in stored.keys:
            _check_double(defined.place_of_key(key_id), f"access key {key_id!r}", f"haulier key delete {key_id}")
        for part in stored.accounts.values():
            for table in defined.accounts.values():
                for field in ("aws_account_id", "cos_uin", "cos_appid"):
                    if (value := getattr(table, field)) is not None and getattr(part, field) == value:
                        raise SettingsError(
                            f"accounts.{table.name}.{field}",
                            f"{value!r} is that of account {part.name!r} in the database too; take another one",
                        )

    def _account(self, name: str) -> Account:
        table = self._defined.accounts.get(name)
        if table is None:
            part = self._stored.accounts[name]
            table = Account(name=name, aws_account_id=part.aws_account_id, cos_uin=part.cos_uin, cos_appid=part.cos_appid)
        stored = self._users_by_account.get(name, ())
        users = [
            *table.users,
            *(User(account=name, name=user.name, policy=self._policy(user), disabled=user.disabled) for user in stored),
        ]
        users = [msgspec.structs.replace(user, keys=(*user.keys, *self._keys(user))) for user in users]
        known = {user.name for user in users}
        roles = [*table.roles, *self._roles(name)]
        for role in roles:
            for user_name in role.users:
                if user_name not in known:
                    self._problem("a role names a user that there is not", account=name, role=role.name, user=user_name)
        return msgspec.structs.replace(table, users=tuple(users), roles=tuple(roles))

    def _policy(self, user: StoredUser) -> str:
        """The name of the user's policy. A document that this version does not understand is kept out, so it allows nothing."""
        if not is_document(user.policy):
            return user.policy
        name = f"{user.account}/{user.name} (stored)"  # no name of the settings: those end in .json
        try:
            self._policies[name] = parse(user.policy, name)
        except PolicyError as error:
            self._problem("a stored policy cannot be used", account=user.account, user=user.name, error=str(error))
        return name

    def _keys(self, user: User) -> list[Key]:
        found = []
        for part in self._keys_by_user.get((user.account, user.name), ()):
            if part.disabled:
                continue
            secret = b"" if part.secret is None else self._opened(part)
            if secret is not None:
                found.append(
                    Key(
                        id=part.id,
                        kind=part.kind,
                        secret_key=secret.decode(),
                        token_hash=part.token_hash or b"",
                        expires_ms=part.expires_ms,
                        actions=part.actions,
                    )
                )
        return found

    def _roles(self, account: str) -> list[Role]:
        found = []
        for part in self._stored.roles.values():
            if part.account != account:
                continue
            for store in part.stores:
                if store not in self._defined.stores:
                    self._problem("a role names a store that there is not", account=account, role=part.name, store=store)
            found.append(
                Role(
                    account=account,
                    name=part.name,
                    stores=part.stores,
                    buckets=part.buckets,
                    use_store_keys=part.use_store_keys,
                    keys=self._store_keys(account, part.name),
                    users=part.users,
                )
            )
        return found

    def _store_keys(self, account: str, role: str) -> dict[str, Credentials]:
        found = {}
        for part in self._stored.role_keys.values():
            if (part.account, part.role) == (account, role) and (secret := self._opened(part)) is not None:
                kept = msgspec.json.decode(secret, type=StoreSecret)
                found[part.store] = Credentials(part.access_key, kept.secret_key, kept.session_token)
        return found

    def _opened(self, part: StoredKey | StoredRoleKey) -> bytes | None:
        sealed = part.secret
        assert sealed is not None
        assert self._master_keys is not None, "checked before: there is no sealed secret without a master key"
        try:
            return self._master_keys.open(sealed, part.place)
        except SecretsError as error:
            self._problem("a stored secret cannot be used", of=part.title, error=str(error))
            return None


def _check_double(place: str, what: str, command: str) -> None:
    if place:
        raise SettingsError(place, f"{what} is defined here and in the database; take it out of one of them ({command})")
