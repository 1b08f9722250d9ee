"""`haulier user`: make, list, disable and delete users, and say what they may do."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from haulier.cli import output as out
from haulier.cli.administer import AccountOption, Config, OutputOption, administer
from haulier.cli.exits import CommandFailed, Exit

app = App(name="user", help="Make, list, disable and delete users, whether the server runs or not.")

_POLICY_BYTES_MAX = 65_536
_PolicyFile = Annotated[Path | None, Parameter(name="--file")]


@app.command
def create(
    name: str,
    /,
    *,
    config: Config,
    policy: str | None = None,
    file: _PolicyFile = None,
    account: AccountOption = None,
    output: OutputOption = "table",
) -> int:
    """Make a user. It has no key yet: haulier key create makes one.

    Parameters
    ----------
    name
        The user.
    config
        The settings file of the server (TOML). Else HAULIER_CONFIG.
    policy
        What it may do: admin, operator or viewer.
    file
        What it may do, as a policy document (JSON); - reads it from standard input.
    account
        Whose user it is; may be left out where there is one account only.
    output
        How to print: text, JSON, or the name only.
    """
    from haulier.admin.users import CreateUser  # noqa: PLC0415

    command = CreateUser(name=name, policy=_policy(policy, file), account=account)
    out.done(administer(config, command), output, "user", "user {user} of account {account} created")
    if output == "table":
        out.note(f"it has no key yet: haulier key create {name} makes one")
    return Exit.CLEAN


@app.command(name="list")
def list_users(*, config: Config, account: AccountOption = None, output: OutputOption = "table") -> int:
    """List users, those of the settings too.

    Parameters
    ----------
    config
        The settings file of the server (TOML). Else HAULIER_CONFIG.
    account
        Only users of this account.
    output
        How to print: a table, JSON, or names only.
    """
    from haulier.admin.users import ListUsers  # noqa: PLC0415

    rows = administer(config, ListUsers(account=account))
    out.listed(rows, output, "user", ("account", "user", "policy", "disabled", "keys", "created", "defined"))
    return Exit.CLEAN


@app.command
def set_policy(
    name: str,
    policy: str | None = None,
    /,
    *,
    config: Config,
    file: _PolicyFile = None,
    account: AccountOption = None,
    output: OutputOption = "table",
) -> int:
    """Give a user another policy; it holds from the next request on.

    Parameters
    ----------
    name
        The user.
    policy
        admin, operator or viewer.
    config
        The settings file of the server (TOML). Else HAULIER_CONFIG.
    file
        A policy document (JSON) instead; - reads it from standard input.
    account
        Whose user it is; may be left out where there is one account only.
    output
        How to print: text, JSON, or the name only.
    """
    from haulier.admin.users import SetUserPolicy  # noqa: PLC0415

    command = SetUserPolicy(name=name, policy=_policy(policy, file), account=account)
    out.done(administer(config, command), output, "user", "user {user} of account {account} has another policy")
    return Exit.CLEAN


@app.command
def disable(name: str, /, *, config: Config, account: AccountOption = None, output: OutputOption = "table") -> int:
    """Let none of a user's keys in any more, and none of its jobs start.

    Parameters
    ----------
    name
        The user.
    config
        The settings file of the server (TOML). Else HAULIER_CONFIG.
    account
        Whose user it is; may be left out where there is one account only.
    output
        How to print: text, JSON, or the name only.
    """
    return _set_disabled(name, True, config, account, output)


@app.command
def enable(name: str, /, *, config: Config, account: AccountOption = None, output: OutputOption = "table") -> int:
    """Let a disabled user in again, with the keys it had.

    Parameters
    ----------
    name
        The user.
    config
        The settings file of the server (TOML). Else HAULIER_CONFIG.
    account
        Whose user it is; may be left out where there is one account only.
    output
        How to print: text, JSON, or the name only.
    """
    return _set_disabled(name, False, config, account, output)


def _set_disabled(name: str, disabled: bool, config: Path, account: str | None, output: out.Output) -> int:
    from haulier.admin.users import SetUserDisabled  # noqa: PLC0415

    answer = administer(config, SetUserDisabled(name=name, disabled=disabled, account=account))
    out.done(answer, output, "user", f"user {{user}} of account {{account}} {'disabled' if disabled else 'enabled'}")
    return Exit.CLEAN


@app.command
def delete(name: str, /, *, config: Config, account: AccountOption = None, output: OutputOption = "table") -> int:
    """Delete a user with its keys. Its unfinished jobs fail at their next chunk.

    Parameters
    ----------
    name
        The user.
    config
        The settings file of the server (TOML). Else HAULIER_CONFIG.
    account
        Whose user it is; may be left out where there is one account only.
    output
        How to print: text, JSON, or the name only.
    """
    from haulier.admin.users import DeleteUser  # noqa: PLC0415

    answer = administer(config, DeleteUser(name=name, account=account))
    out.done(answer, output, "user", "user {user} of account {account} deleted")
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
