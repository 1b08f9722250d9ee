"""Who may ask for what, at this moment: all accounts, from wherever they were defined, with their users, keys and roles.

There is one `Directory` in a process. Whoever has to know an account, user, key or role asks it each time and keeps no copy, so a
change is in force at the next question.
"""

from collections.abc import Iterable, Mapping

import msgspec

from haulier.core.accounts import Account, Caller, Identity, KeyKind
from haulier.core.errors import SettingsError


class _State(msgspec.Struct, frozen=True):
    """What is looked up, made at once so that no reader ever sees half of a change."""

    accounts: Mapping[str, Account]
    by_key: Mapping[str, Identity]
    by_token: Mapping[bytes, Identity]


class Directory:
    """Accounts by name and identities by what requests show. Safe to use from any thread."""

    def __init__(self, accounts: Iterable[Account] = ()) -> None:
        """Raises SettingsError when two users share a key."""
        self._uses: dict[str, int] = {}
        self.reload(accounts)

    def reload(self, accounts: Iterable[Account]) -> None:
        """Hold these from the next question on. Raises SettingsError as the constructor, and keeps the old ones then."""
        by_name = {account.name: account for account in accounts}
        by_key: dict[str, Identity] = {}
        by_token: dict[bytes, Identity] = {}
        for account in by_name.values():
            for number, user in enumerate(account.users):
                for key in user.keys if not user.disabled else ():
                    identity = Identity(account, user, key)
                    if key.kind is KeyKind.BEARER:
                        by_token[key.token_hash] = identity
                    elif by_key.setdefault(key.id, identity) is not identity:
                        path = f"accounts.{account.name}.users[{number}].access_key"
                        raise SettingsError(path, f"{key.id!r} is the key of another user already")
        self._state = _State(by_name, by_key, by_token)

    @property
    def accounts(self) -> Mapping[str, Account]:
        """All accounts by name."""
        return self._state.accounts

    def account(self, name: str) -> Account | None:
        """The account of that name."""
        return self._state.accounts.get(name)

    def signer(self, key_id: str) -> Identity | None:
        """Whose access or session key it is. A disabled key, and one of a disabled user, is nobody's."""
        return self._state.by_key.get(key_id)

    def bearer(self, token_hash: bytes) -> Identity | None:
        """Whose bearer token it is, by its hash: how long the search takes tells nothing about a token."""
        return self._state.by_token.get(token_hash)

    def again(self, caller: Caller, now_ms: int) -> Caller | None:
        """The caller as the same key would let it in now (its user may have another policy), None = not at all. Whatever serves
        one caller for long (a stream, a session) asks this every few seconds, for a key that is disabled ends within 5 s what it
        began (decisions §2)."""
        key = caller.key
        if key is None:
            return None
        found = self.bearer(key.token_hash) if key.kind is KeyKind.BEARER else self.signer(key.id)
        if found is None or found.key != key or key.expired(now_ms):
            return None
        return msgspec.structs.replace(caller, account=found.account, user=found.user)

    def note_use(self, key_id: str, now_ms: int) -> None:
        """The key let a request in."""
        self._uses[key_id] = now_ms

    def take_uses(self) -> Mapping[str, int]:
        """When keys were used last (Unix ms), of those used since this was asked before."""
        taken, self._uses = self._uses, {}
        return dict(taken)  # whoever took hold of the old one before may still write to it
