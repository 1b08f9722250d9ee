"""Accounts: make, list and delete them."""

from typing import Any, ClassVar

import msgspec

from haulier.admin.state import Asked, Decided, State, check_account_name
from haulier.core.accounts import Account
from haulier.core.clock import timestamp
from haulier.core.errors import AlreadyDefined, CommandRefused, InvalidField
from haulier.core.names import AWS_ACCOUNT_ID, DIGITS
from haulier.core.stored import Put, Remove, StoredAccount

_IDENTITIES = ("aws_account_id", "cos_uin", "cos_appid")


class CreateAccount(Asked, frozen=True, kw_only=True, tag="account create"):
    """Make an account."""

    name: str
    aws_account_id: str | None = None
    cos_uin: str | None = None
    cos_appid: str | None = None

    def decide(self, state: State) -> Decided:
        """Raises InvalidField, AlreadyDefined, CommandRefused where the name has a past."""
        check_account_name(self.name)
        self._check_identities()
        place = state.defined.place(self.name)
        state.check_new("account", self.name, place, stored=self.name in state.stored.accounts)
        others: list[Account | StoredAccount] = [*state.defined.accounts.values(), *state.stored.accounts.values()]
        for other in others:
            for key in _IDENTITIES:
                if (value := getattr(self, key)) is not None and getattr(other, key) == value:
                    raise AlreadyDefined(f"{key} {value!r} is that of account {other.name!r}")
        self._check_past(state)
        made = StoredAccount(
            name=self.name,
            aws_account_id=self.aws_account_id,
            cos_uin=self.cos_uin,
            cos_appid=self.cos_appid,
            created_ms=state.now_ms,
        )
        return Decided({"account": self.name}, [Put(made)])

    def _check_identities(self) -> None:
        if self.aws_account_id is not None and not AWS_ACCOUNT_ID.fullmatch(self.aws_account_id):
            raise InvalidField("aws_account_id", f"{self.aws_account_id[:40]!r} is not 12 digits")
        for key in ("cos_uin", "cos_appid"):
            if (value := getattr(self, key)) is not None and not DIGITS.fullmatch(value):
                raise InvalidField(key, f"{value[:40]!r} is not digits only, 20 at most")
        if (self.cos_uin is None) != (self.cos_appid is None):
            missing = "cos_uin" if self.cos_uin is None else "cos_appid"
            raise InvalidField(missing, "is missing: cos_uin (in role names) and cos_appid (in requests) go together")
        if self.aws_account_id is None and self.cos_uin is None:
            raise InvalidField("aws_account_id", "an account has an aws_account_id, or cos_uin and cos_appid, or all three")

    def _check_past(self, state: State) -> None:
        """Whoever gets the name would get what an earlier account of that name has left."""
        left = [f"user {name}" for account, name in state.stored.users if account == self.name]
        left += [f"role {name}" for account, name in state.stored.roles if account == self.name]
        left += [f"key {key.id}" for key in state.stored.keys.values() if key.account == self.name]
        if left:
            raise CommandRefused(
                f"an account {self.name!r} was in the settings before, and what commands made in it is still in the database: "
                f"take another name, or delete {', '.join(left[:10])} first"
            )
        if state.has_jobs(self.name, False):
            raise CommandRefused(f"jobs of an earlier account {self.name!r} are still kept: take another name")


class ListAccounts(Asked, frozen=True, kw_only=True, tag="account list"):
    """All accounts."""

    changes: ClassVar[bool] = False

    def decide(self, state: State) -> Decided:
        """A row per account."""
        known: dict[str, Account | StoredAccount] = {**state.stored.accounts, **state.defined.accounts}
        rows = []
        for name, account in sorted(known.items()):
            users = {user for of, user in state.stored.users if of == name}
            roles = {role for of, role in state.stored.roles if of == name}
            if isinstance(account, Account):
                users |= {user.name for user in account.users}
                roles |= {role.name for role in account.roles}
            rows.append(
                {
                    "account": name,
                    **{key: getattr(account, key) for key in _IDENTITIES},
                    "users": len(users),
                    "roles": len(roles),
                    **origin(state.defined.place(name), account),
                }
            )
        return Decided(rows)


class DeleteAccount(Asked, frozen=True, kw_only=True, tag="account delete"):
    """Delete an account that nothing is in any more."""

    name: str

    def decide(self, state: State) -> Decided:
        """Raises NotDefined, DefinedInSettings, CommandRefused while something is in it."""
        account = state.stored_account(self.name)
        users = [f"user {name}" for of, name in state.stored.users if of == self.name]
        roles = [f"role {name}" for of, name in state.stored.roles if of == self.name]
        if users or roles:
            raise CommandRefused(f"account {self.name!r} is not empty; delete first: {', '.join([*users, *roles][:10])}")
        if state.has_jobs(self.name, True):
            raise CommandRefused(f"account {self.name!r} has unfinished jobs: cancel them, or wait for their end")
        return Decided({"account": self.name}, [Remove(account)])


def origin(place: str, part: msgspec.Struct) -> dict[str, Any]:
    """Where a row of a list is defined, and since when; the settings do not tell since when."""
    created_ms = getattr(part, "created_ms", None)
    return {"defined": place or "database", "created": None if created_ms is None else timestamp(created_ms)}
