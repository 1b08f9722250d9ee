"""`haulier role`: make, list, change and delete roles. A role's own keys for stores are read from standard input, never from the
command line, which others can see."""

import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from haulier.cli import output as out
from haulier.cli.administer import AccountTarget, administer
from haulier.cli.exits import CommandFailed, Exit

if TYPE_CHECKING:
    from haulier.admin.roles import StoreKey

app = App(name="role", help="Make, list, change and delete roles, whether the server runs or not.")

_Names = Annotated[tuple[str, ...] | None, Parameter(negative=(), show_default=False)]
_Keys = Annotated[bool, Parameter(name="--keys", negative=())]
_INPUT_CHARACTERS_MAX = 1_000_000


@app.command
def create(
    name: str,
    /,
    *,
    to: AccountTarget,
    store: _Names = None,
    bucket: _Names = None,
    user: _Names = None,
    use_store_keys: Annotated[bool, Parameter(negative=())] = False,
    keys: _Keys = False,
) -> int:
    """Make a role that jobs may act as.

    Parameters
    ----------
    name
        The role; its ARN ends with it.
    store
        A store that it may act on; may be given several times.
    bucket
        A bucket, or a glob of buckets, that it may touch; may be given several times. Left out: none.
    user
        A user who may pass it to a job; may be given several times.
    use_store_keys
        Act with the store's own keys, where the role has none for the store.
    keys
        Read keys of its own from standard input, a line for each store: STORE ACCESS_KEY SECRET_KEY [SESSION_TOKEN].
    """
    from haulier.admin.roles import CreateRole  # noqa: PLC0415

    command = CreateRole(
        name=name,
        account=to.account,
        stores=store or (),
        buckets=bucket or (),
        users=user or (),
        use_store_keys=use_store_keys,
        keys=_read_keys() if keys else {},
    )
    out.done(administer(to, command), to.output, "role", "role {role} of account {account} created")
    return Exit.CLEAN


@app.command(name="list")
def list_roles(*, to: AccountTarget) -> int:
    """List roles, those of the settings too."""
    from haulier.admin.roles import ListRoles  # noqa: PLC0415

    rows = administer(to, ListRoles(account=to.account))
    out.listed(rows, to.output, "role", ("account", "role", "stores", "buckets", "users", "keys", "use_store_keys", "defined"))
    return Exit.CLEAN


@app.command(name="set")
def set_role(
    name: str,
    /,
    *,
    to: AccountTarget,
    store: _Names = None,
    bucket: _Names = None,
    user: _Names = None,
    use_store_keys: bool | None = None,
    keys: _Keys = False,
) -> int:
    """Change a role: what is given takes the place of what was there, the rest stays. It holds from a job's next chunk on.

    Parameters
    ----------
    name
        The role.
    store
        All stores that it may act on; its keys for others are deleted.
    bucket
        All buckets, or globs of buckets, that it may touch.
    user
        All users who may pass it to a job.
    use_store_keys
        Whether to act with the store's own keys, where the role has none for the store.
    keys
        Read keys of its own from standard input, a line for each store: STORE ACCESS_KEY SECRET_KEY [SESSION_TOKEN].
    """
    from haulier.admin.roles import SetRole  # noqa: PLC0415

    command = SetRole(
        name=name,
        account=to.account,
        stores=store,
        buckets=bucket,
        users=user,
        use_store_keys=use_store_keys,
        keys=_read_keys() if keys else {},
    )
    out.done(administer(to, command), to.output, "role", "role {role} of account {account} changed")
    return Exit.CLEAN


@app.command
def delete(name: str, /, *, to: AccountTarget) -> int:
    """Delete a role with its keys. Jobs that act as it fail within a minute.

    Parameters
    ----------
    name
        The role.
    """
    from haulier.admin.roles import DeleteRole  # noqa: PLC0415

    out.done(
        administer(to, DeleteRole(name=name, account=to.account)), to.output, "role", "role {role} of account {account} deleted"
    )
    return Exit.CLEAN


def _read_keys() -> "dict[str, StoreKey]":
    """What stands on standard input; typed in, it is not shown. Raises CommandFailed, in which no secret stands."""
    from haulier.admin.roles import StoreKey  # noqa: PLC0415

    found: dict[str, StoreKey] = {}
    for number, line in enumerate(_lines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) not in (3, 4):
            raise CommandFailed(
                Exit.USAGE, f"line {number} of the keys has {len(words)} words, not STORE ACCESS_KEY SECRET_KEY [SESSION_TOKEN]"
            )
        if words[0] in found:
            raise CommandFailed(Exit.USAGE, f"line {number} of the keys names store {words[0]!r} again")
        token = words[3] if len(words) == 4 else None
        found[words[0]] = StoreKey(access_key=words[1], secret_key=words[2], session_token=token)
    if not found:
        raise CommandFailed(Exit.USAGE, "--keys reads keys from standard input, and there were none")
    return found


def _lines() -> list[str]:
    if not sys.stdin.isatty():
        return sys.stdin.read(_INPUT_CHARACTERS_MAX).splitlines()
    from getpass import getpass  # noqa: PLC0415

    lines = []
    while line := getpass("STORE ACCESS_KEY SECRET_KEY [SESSION_TOKEN], or nothing to end: ").strip():
        lines.append(line)
    return lines
