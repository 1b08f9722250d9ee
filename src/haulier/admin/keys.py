"""Keys: make, list, disable and delete them, and seal all secrets anew. A new secret is told once, when it is made."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import msgspec

from haulier.admin.state import Asked, Decided, State
from haulier.core.accounts import Key, KeyKind, hash_of
from haulier.core.clock import timestamp
from haulier.core.errors import CommandRefused, InvalidField
from haulier.core.stored import Change, Put, Remove, StoredKey

ACTIVE_ACCESS_KEYS_MAX: Final = 2
"""Of a user: one in use, and the next one while clients are changed over."""
KEYS_MAX: Final = 1_000
"""Of a user, of all kinds."""
SESSION_HOURS_DEFAULT: Final = 1
SESSION_HOURS_MAX: Final = 36
"""As long as COS gives temporary keys to a sub-account (cos-batch.md §1.6)."""
HOURS_MAX: Final = 24 * 3_650
EXPIRED_SESSIONS_KEPT_MS: Final = 86_400_000
"""So long after its end a session is still told that it has expired; then its key is gone."""
_HOUR_MS: Final = 3_600_000
_ACTIONS_MAX: Final = 50

_PREFIXES: Final[Mapping[KeyKind, str]] = {KeyKind.ACCESS: "HLK", KeyKind.SESSION: "HLS", KeyKind.BEARER: "HLB"}
_ID_CHARACTERS: Final = 20
_SECRET_BYTES: Final = 32
_TOKEN_BYTES: Final = 32
BEARER_PREFIX: Final = "hlr_"
"""By which those who look for leaked secrets know one of ours."""
SESSION_PREFIX: Final = "hls_"


class CreateKey(Asked, frozen=True, kw_only=True, tag="key create"):
    """Make a key for a user, of the settings or not."""

    user: str
    account: str | None = None
    kind: KeyKind = KeyKind.ACCESS
    hours: int | None = None
    """How long it is good; None = for ever, of a session SESSION_HOURS_DEFAULT."""
    actions: tuple[str, ...] | None = None
    """Of a bearer token: globs over the actions it is good for."""

    @property
    def seals(self) -> bool:
        """Of a bearer token only a hash is kept."""
        return self.kind is not KeyKind.BEARER

    def decide(self, state: State) -> Decided:
        """Raises InvalidField, NotDefined, CommandRefused when the user has enough keys."""
        account = state.account(self.account)
        user = state.user(account, self.user)
        self._check()
        over = [key for key in state.stored.keys.values() if _long_over(key, state.now_ms)]
        if len([key for key in state.keys_of(account, user.name) if key not in over]) >= KEYS_MAX:
            raise CommandRefused(f"user {user.name!r} has {KEYS_MAX:,} keys, the most there may be: delete some")
        if self.kind is KeyKind.ACCESS:
            check_active(state, account, user.name)
        hours = SESSION_HOURS_DEFAULT if self.kind is KeyKind.SESSION and self.hours is None else self.hours
        part = StoredKey(
            id=state.name(_PREFIXES[self.kind], _ID_CHARACTERS),
            account=account,
            user=user.name,
            kind=self.kind,
            actions=self.actions,
            expires_ms=None if hours is None else state.now_ms + hours * _HOUR_MS,
            created_ms=state.now_ms,
        )
        told: dict[str, Any] = {"account": account, "user": user.name, "key": part.id, "kind": self.kind.value}
        changes: Sequence[Change] = ()
        if self.kind is not KeyKind.BEARER:
            told["secret_key"] = state.text("", _SECRET_BYTES)
            part = msgspec.structs.replace(part, secret=state.seal(told["secret_key"].encode(), part.place))
            changes = state.proof()
        if self.kind is not KeyKind.ACCESS:
            told["token"] = state.text(BEARER_PREFIX if self.kind is KeyKind.BEARER else SESSION_PREFIX, _TOKEN_BYTES)
            part = msgspec.structs.replace(part, token_hash=hash_of(told["token"].encode()))
        told["expires"] = None if part.expires_ms is None else timestamp(part.expires_ms)
        return Decided(told, [*(Remove(key) for key in over), *changes, Put(part)])

    def noted(self) -> Mapping[str, Any]:
        """`kind` is the name of the entry's own."""
        return {("key_kind" if name == "kind" else name): value for name, value in super().noted().items()}

    def _check(self) -> None:
        most = SESSION_HOURS_MAX if self.kind is KeyKind.SESSION else HOURS_MAX
        if self.hours is not None and not 1 <= self.hours <= most:
            raise InvalidField("hours", f"must be from 1 to {most:,} for {self.kind.value} keys, not {self.hours}")
        if self.actions is None:
            return
        if self.kind is not KeyKind.BEARER:
            raise InvalidField("actions", "only a bearer token can be good for some actions only")
        if not 1 <= len(self.actions) <= _ACTIONS_MAX:
            raise InvalidField("actions", f"must be from 1 to {_ACTIONS_MAX}")
        for at, action in enumerate(self.actions):
            if not 1 <= len(action) <= 128 or ":" not in action or not action.isascii() or not action.isprintable():
                raise InvalidField(
                    f"actions[{at}]", f"{action[:80]!r} is not an action or glob of actions (s3:DescribeJob, s3:*Job*)"
                )


class ListKeys(Asked, frozen=True, kw_only=True, tag="key list"):
    """The keys of a user, of an account, or all."""

    changes: ClassVar[bool] = False
    account: str | None = None
    user: str | None = None

    def decide(self, state: State) -> Decided:
        """A row per key. Raises NotDefined."""
        account = None if self.account is None and self.user is None else state.account(self.account)
        if account is not None and self.user is not None:
            state.user(account, self.user)
        rows = [
            *(
                _row(state, name, user.name, key)
                for name, table in state.defined.accounts.items()
                for user in table.users
                for key in user.keys
            ),
            *(_row(state, key.account, key.user, key) for key in state.stored.keys.values()),
        ]
        rows = [row for row in rows if account in (None, row["account"]) and self.user in (None, row["user"])]
        return Decided(sorted(rows, key=lambda row: (row["account"], row["user"], row["created"] or "", row["key"])))


class SetKeyDisabled(Asked, frozen=True, kw_only=True, tag="key set-disabled"):
    """Let a key let nobody in any more, or let it in again."""

    key: str
    disabled: bool

    def decide(self, state: State) -> Decided:
        """Raises NotDefined, DefinedInSettings, CommandRefused when the user has two active ones."""
        key = state.stored_key(self.key)
        if not self.disabled and key.disabled and key.kind is KeyKind.ACCESS:
            check_active(state, key.account, key.user)
        answer = {"account": key.account, "user": key.user, "key": key.id, "disabled": self.disabled}
        return Decided(answer, [Put(msgspec.structs.replace(key, disabled=self.disabled))])


class DeleteKey(Asked, frozen=True, kw_only=True, tag="key delete"):
    """Delete a key for good."""

    key: str

    def decide(self, state: State) -> Decided:
        """Raises NotDefined, DefinedInSettings."""
        key = state.stored_key(self.key)
        return Decided({"account": key.account, "user": key.user, "key": key.id}, [Remove(key)])


class AddMasterKey(Asked, frozen=True, kw_only=True, tag="key new-master"):
    """Add a master key to the file, which from now on seals; `Administration` writes the file before this is decided."""

    @property
    def seals(self) -> bool:
        """Always."""
        return True

    def decide(self, state: State) -> Decided:
        """The versions that there are now."""
        assert state.master_keys is not None
        return Decided({"version": state.master_keys.newest, "versions": sorted(state.master_keys.versions)})


class Reencrypt(Asked, frozen=True, kw_only=True, tag="key reencrypt"):
    """Seal every secret anew by the newest master key."""

    @property
    def seals(self) -> bool:
        """Always."""
        return True

    def decide(self, state: State) -> Decided:
        """All or nothing. Raises SecretsError naming the one that does not open."""
        keys = state.master_keys
        assert keys is not None
        old = [part for part in state.stored.sealed() if part.secret and part.secret.version != keys.newest]
        changes: list[Change] = [*state.proof()]
        for part in old:
            sealed = state.seal(state.open(part), part.place)
            changes.append(Put(msgspec.structs.replace(part, secret=sealed)))
        changes += [Remove(known) for known in state.stored.master_keys.values() if known.version != keys.newest]
        unused = sorted(keys.versions - {keys.newest})
        return Decided({"version": keys.newest, "reencrypted": len(old), "unused_versions": unused}, changes)


def check_active(state: State, account: str, user: str) -> None:
    """Raises CommandRefused when the user has as many active access keys as it may have."""
    active = [
        key.id
        for key in state.keys_of(account, user)
        if key.kind is KeyKind.ACCESS and not getattr(key, "disabled", False) and not _over(key, state.now_ms)
    ]
    if len(active) >= ACTIVE_ACCESS_KEYS_MAX:
        raise CommandRefused(
            f"user {user!r} has {len(active)} active access keys, the most there may be: disable or delete {' or '.join(active)}"
        )


def _over(key: Key | StoredKey, now_ms: int) -> bool:
    return key.expires_ms is not None and now_ms >= key.expires_ms


def _long_over(key: StoredKey, now_ms: int) -> bool:
    return key.kind is KeyKind.SESSION and _over(key, now_ms - EXPIRED_SESSIONS_KEPT_MS)


def _row(state: State, account: str, user: str, key: Key | StoredKey) -> dict[str, Any]:
    used_ms = state.stored.used_ms.get(key.id)
    disabled = isinstance(key, StoredKey) and key.disabled
    return {
        "account": account,
        "user": user,
        "key": key.id,
        "kind": key.kind.value,
        "state": "disabled" if disabled else "expired" if _over(key, state.now_ms) else "active",
        "actions": key.actions,
        "created": timestamp(key.created_ms) if isinstance(key, StoredKey) else None,
        "expires": None if key.expires_ms is None else timestamp(key.expires_ms),
        "last_used": None if used_ms is None else timestamp(used_ms - used_ms % 60_000),
        "defined": state.defined.place_of_key(key.id) or "database",
    }
