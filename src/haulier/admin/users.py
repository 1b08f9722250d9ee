"""Users: make, list, disable and delete them, and say what they may do."""

from typing import ClassVar

import msgspec

from haulier.admin.accounts import origin
from haulier.admin.state import Asked, Decided, State, check_principal
from haulier.core.accounts import User
from haulier.core.errors import CommandRefused, InvalidField, PolicyError
from haulier.core.policy import BUILT_IN, parse
from haulier.core.stored import Change, Put, Remove, StoredUser, is_document


class CreateUser(Asked, frozen=True, kw_only=True, tag="user create"):
    """Make a user, as yet without a key."""

    name: str
    policy: str
    account: str | None = None

    def decide(self, state: State) -> Decided:
        """Raises InvalidField, NotDefined, AlreadyDefined."""
        account = state.account(self.account)
        check_principal(self.name, "user")
        check_policy(self.policy)
        place = state.defined.place(account, user=self.name)
        state.check_new("user", self.name, place, stored=(account, self.name) in state.stored.users)
        if state.keys_of(account, self.name):
            raise CommandRefused(
                f"keys of an earlier user {self.name!r} are still in the database: delete them first (haulier key list)"
            )
        made = StoredUser(account=account, name=self.name, policy=self.policy, created_ms=state.now_ms)
        return Decided({"account": account, "user": self.name}, [Put(made)])


class ListUsers(Asked, frozen=True, kw_only=True, tag="user list"):
    """The users of an account, or of all."""

    changes: ClassVar[bool] = False
    account: str | None = None

    def decide(self, state: State) -> Decided:
        """A row per user. Raises NotDefined."""
        wanted = None if self.account is None else state.account(self.account, past=True)
        known: dict[tuple[str, str], User | StoredUser] = dict(state.stored.users)
        known.update({(name, user.name): user for name, account in state.defined.accounts.items() for user in account.users})
        keys = state.stored.keys_by_user()
        return Decided(
            [
                {
                    "account": account,
                    "user": name,
                    "policy": "document" if is_document(user.policy) else user.policy,
                    "disabled": user.disabled,
                    "keys": len(keys.get((account, name), ())) + (len(user.keys) if isinstance(user, User) else 0),
                    **origin(state.defined.place(account, user=name), user),
                }
                for (account, name), user in sorted(known.items())
                if wanted in (None, account)
            ]
        )


class SetUserPolicy(Asked, frozen=True, kw_only=True, tag="user set-policy"):
    """Give a user another policy."""

    name: str
    policy: str
    account: str | None = None

    def decide(self, state: State) -> Decided:
        """Raises InvalidField, NotDefined, DefinedInSettings."""
        check_policy(self.policy)
        user = state.stored_user(state.account(self.account), self.name)
        return Decided({"account": user.account, "user": user.name}, [Put(msgspec.structs.replace(user, policy=self.policy))])


class SetUserDisabled(Asked, frozen=True, kw_only=True, tag="user set-disabled"):
    """Disable a user, whose keys then let nobody in and whose jobs do not start, or let it in again."""

    name: str
    disabled: bool
    account: str | None = None

    def decide(self, state: State) -> Decided:
        """Raises NotDefined, DefinedInSettings."""
        user = state.stored_user(state.account(self.account), self.name)
        return Decided(
            {"account": user.account, "user": user.name, "disabled": self.disabled},
            [Put(msgspec.structs.replace(user, disabled=self.disabled))],
        )


class DeleteUser(Asked, frozen=True, kw_only=True, tag="user delete"):
    """Delete a user with its keys; no role made by a command names it afterwards."""

    name: str
    account: str | None = None

    def decide(self, state: State) -> Decided:
        """Raises NotDefined, DefinedInSettings."""
        user = state.stored_user(state.account(self.account, past=True), self.name)
        mine = [key for key in state.stored.keys.values() if (key.account, key.user) == (user.account, user.name)]
        changes: list[Change] = [Remove(user), *(Remove(key) for key in mine)]
        for role in state.stored.roles.values():
            if role.account == user.account and user.name in role.users:
                left = tuple(name for name in role.users if name != user.name)
                changes.append(Put(msgspec.structs.replace(role, users=left)))
        return Decided({"account": user.account, "user": user.name, "keys": [key.id for key in mine]}, changes)


def check_policy(policy: str) -> None:
    """Raises InvalidField naming the place in it where a document is wrong."""
    if is_document(policy):
        try:
            parse(policy, "policy")
        except PolicyError as error:
            raise InvalidField(f"policy.{error.path}" if error.path else "policy", error.problem) from None
    elif policy not in BUILT_IN:
        raise InvalidField("policy", f"must be {', '.join(BUILT_IN)} or a document in JSON, not {policy[:60]!r}")
