"""`haulier user`: make, list, disable and delete users, and say what they may do."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from haulier.cli import output as out
from haulier.cli.administer import AccountTarget, administer
from haulier.cli.exits import CommandFailed, Exit

app = App(name="user", help="Make, list, disable and delete users, whether the server runs or not.")

_POLICY_BYTES_MAX = 65_536
_PolicyFile = Annotated[Path | None, Parameter(name="--file")]


@app.command
def create(name: str, /, *, to: AccountTarget, policy: str | None = None, file: _PolicyFile = None) -> int:
    """Make a user. It has no key yet: haulier key create makes one.

    Parameters
    ----------
    name
        The user.
    policy
        What it may do: admin, operator or viewer.
    file
        What it may do, as a policy document (JSON); - reads it from standard input.
    """
    from haulier.admin.users import CreateUser  # noqa: PLC0415

    command = CreateUser(name=name, policy=_policy(policy, file), account=to.account)
    out.done(administer(to, command), to.output, "user", "user {user} of account {account} created")
    if to.output == "table":
        out.note(f"it has no key yet: haulier key create {name} makes one")
    return Exit.CLEAN


@app.command(name="list")
def list_users(*, to: AccountTarget) -> int:
    """List users, those of the settings too."""
    from haulier.admin.users import ListUsers  # noqa: PLC0415

    rows = administer(to, ListUsers(account=to.account))
    out.listed(rows, to.output, "user", ("account", "user", "policy", "disabled", "keys", "created", "defined"))
    return Exit.CLEAN


@app.command
def set_policy(name: str, policy: str | None = None, /, *, to: AccountTarget, file: _PolicyFile = None) -> int:
    """Give a user another policy; it holds from the next request on.

    Parameters
    ----------
    name
        The user.
    policy
        admin, operator or viewer.
    file
        A policy document (JSON) instead; - reads it from standard input.
    """
    from haulier.admin.users import SetUserPolicy  # noqa: PLC0415

    command = SetUserPolicy(name=name, policy=_policy(policy, file), account=to.account)
    out.done(administer(to, command), to.output, "user", "user {user} of account {account} has another policy")
    return Exit.CLEAN


@app.command
def disable(name: str, /, *, to: AccountTarget) -> int:
    """Let none of a user's keys in any more, and none of its jobs start.

    Parameters
    ----------
    name
        The user.
    """
    return _set_disabled(name, True, to)


@app.command
def enable(name: str, /, *, to: AccountTarget) -> int:
    """Let a disabled user in again, with the keys it had.

    Parameters
    ----------
    name
        The user.
    """
    return _set_disabled(name, False, to)


def _set_disabled(name: str, disabled: bool, to: AccountTarget) -> int:
    from haulier.admin.users import SetUserDisabled  # noqa: PLC0415

    answer = administer(to, SetUserDisabled(name=name, disabled=disabled, account=to.account))
    out.done(answer, to.output, "user", f"user {{user}} of account {{account}} {'disabled' if disabled else 'enabled'}")
    return Exit.CLEAN


@app.command
def delete(name: str, /, *, to: AccountTarget) -> int:
    """Delete a user with its keys. Its unfinished jobs fail within a minute.

    Parameters
    ----------
    name
        The user.
    """
    from haulier.admin.users import DeleteUser  # noqa: PLC0415

    answer = administer(to, DeleteUser(name=name, account=to.account))
    out.done(answer, to.output, "user", "user {user} of account {account} deleted")
    return Exit.CLEAN


def _policy(policy: str | None, file: Path | None) -> str:
    if (policy is None) == (file is None):
        raise CommandFailed(Exit.USAGE, "which policy? Give admin, operator or viewer, or a document with --file")
    if file is None:
        assert policy is not None
        return policy
    try:
        text = out.read_input(file, _POLICY_BYTES_MAX)
    except OSError as error:
        raise CommandFailed(Exit.USAGE, f"cannot read {file}: {error.strerror}") from None
    return text.strip()
