"""The forms of names and keys, and what must hold for a role, wherever it is defined: in the settings or by a command."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Final, Protocol

ACCOUNT: Final = re.compile(r"[A-Za-z0-9](?:_?[A-Za-z0-9-]){0,63}")
AWS_ACCOUNT_ID: Final = re.compile(r"[0-9]{12}")
DIGITS: Final = re.compile(r"[0-9]{1,20}")
PRINCIPAL: Final = re.compile(r"[A-Za-z0-9_+=,.@-]{1,64}")
"""Of a user or role; ARNs hold it."""
BUCKET_PATTERN: Final = re.compile(r"[A-Za-z0-9._*?\[\]!-]{1,255}")
WORD: Final = re.compile(r"[!-~]{1,4096}")
"""What may stand in a header; session tokens are long."""


class KeyPair(Protocol):
    """A role's own key for a store."""

    @property
    def access_key(self) -> str | None: ...  # noqa: D102
    @property
    def secret_key(self) -> str | None: ...  # noqa: D102
    @property
    def session_token(self) -> str | None: ...  # noqa: D102


class RoleLike(Protocol):
    """A role as the settings have it, or as it is everywhere else."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def stores(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def buckets(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def use_store_keys(self) -> bool: ...  # noqa: D102
    @property
    def keys(self) -> Mapping[str, KeyPair]: ...  # noqa: D102


def problems_of_role(role: RoleLike, stores: Collection[str], keyed: Collection[str]) -> Iterator[tuple[str, str]]:
    """What is wrong with the role: where in it (`.stores[0]`; empty for the whole), and what. `stores` are all stores' names,
    `keyed` those that have keys of their own."""
    if not PRINCIPAL.fullmatch(role.name):
        yield ".name", f"{role.name[:80]!r} is not a name: up to 64 letters, digits and _+=,.@-"
    for at, pattern in enumerate(role.buckets):
        if not BUCKET_PATTERN.fullmatch(pattern):
            yield f".buckets[{at}]", f"{pattern[:60]!r} is not a bucket's name or glob"
    for name, keys in role.keys.items():
        if name not in role.stores:
            yield f".keys.{name}", f"the role's stores do not name {name!r}"
        for key, value in (
            ("access_key", keys.access_key),
            ("secret_key", keys.secret_key),
            ("session_token", keys.session_token),
        ):
            if value is not None and not WORD.fullmatch(value):
                yield f".keys.{name}.{key}", "must be at most 4,096 ASCII characters without blanks"
    for at, name in enumerate(role.stores):
        if name not in stores:
            known = f"known: {', '.join(sorted(stores))}" if stores else "no [stores.NAME] is set"
            yield f".stores[{at}]", f"there is no store {name[:80]!r} ({known})"
        elif name not in role.keys and not role.use_store_keys:
            yield "", f"has no keys for store {name!r}: give it keys of its own there, or let it use the store's (use_store_keys)"
        elif name not in role.keys and name not in keyed:
            yield ".use_store_keys", f"stores.{name} has no access_key and secret_key"
