"""`haulier key`: make, list, disable and delete keys and bearer tokens, and renew the master key that seals them."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from haulier.cli import output as out
from haulier.cli.administer import AccountOption, Config, OutputOption, administer
from haulier.cli.exits import CommandFailed, Exit

app = App(name="key", help="Make, list, disable and delete keys and bearer tokens, whether the server runs or not.")


@app.command
def create(
    user: str,
    /,
    *,
    config: Config,
    account: AccountOption = None,
    session: Annotated[bool, Parameter(negative=())] = False,
    bearer: Annotated[bool, Parameter(negative=())] = False,
    hours: int | None = None,
    action: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
    output: OutputOption = "table",
) -> int:
    """Make a key for a user and print its secret, this once. A user may have two active access keys, so that one can be changed.

    Parameters
    ----------
    user
        The user, of the settings or not.
    config
        The settings file of the server (TOML). Else HAULIER_CONFIG.
    account
        Whose user it is; may be left out where there is one account only.
    session
        A temporary key with a session token, which must be sent along; good for an hour, with --hours up to 36.
    bearer
        A token for the native API that is sent as it is, only over TLS or to a server on the same machine.
    hours
        How long the key is good.
    action
        Of a bearer token: an action, or a glob of actions, that it is good for (s3:DescribeJob, s3:*Job*); may be given several
        times. Left out: all that its user may do.
    output
        How to print: text, JSON, or the key's id only, which loses the secret.
    """
    from haulier.admin.keys import CreateKey  # noqa: PLC0415
    from haulier.core.accounts import KeyKind  # noqa: PLC0415

    if session and bearer:
        raise CommandFailed(Exit.USAGE, "--session and --bearer are two kinds of key: give one of them")
    if output == "name":
        raise CommandFailed(Exit.USAGE, "-o name would lose the secret, which is told this once: use -o json")
    kind = KeyKind.SESSION if session else KeyKind.BEARER if bearer else KeyKind.ACCESS
    answer = administer(config, CreateKey(user=user, account=account, kind=kind, hours=hours, actions=action or None))
    if output == "json":
        out.as_json(answer)
        return Exit.CLEAN
    names = {"token": "Bearer token" if bearer else "Session token"}
    out.fields(
        {
            "User": f"{answer['account']}/{answer['user']}",
            "Key id" if bearer else "Access key": answer["key"],
            "Secret key": answer.get("secret_key"),
            names["token"]: answer.get("token"),
            "Expires": answer["expires"],
        }
    )
    out.note("this secret is not shown again")
    return Exit.CLEAN


@app.command(name="list")
def list_keys(
    *,
    config: Config,
    user: Annotated[str | None, Parameter(name="--user")] = None,
    account: AccountOption = None,
    output: OutputOption = "table",
) -> int:
    """List keys, those of the settings too, and when they were used last.

    Parameters
    ----------
    config
        The settings file of the server (TOML). Else HAULIER_CONFIG.
    user
        Only keys of this user.
    account
        Only keys of this account.
    output
        How to print: a table, JSON, or ids only.
    """
    from haulier.admin.keys import ListKeys  # noqa: PLC0415

    rows = administer(config, ListKeys(user=user, account=account))
    out.listed(rows, output, "key", ("account", "user", "key", "kind", "state", "created", "expires", "last_used", "defined"))
    return Exit.CLEAN


@app.command
def disable(key: str, /, *, config: Config, output: OutputOption = "table") -> int:
    """Let a key let nobody in any more, from the next request on; what it began (sessions, streams) ends within 5 s.

    Parameters
    ----------
    key
        The access key, or the id of a bearer token.
    config
        The settings file of the server (TOML). Else HAULIER_CONFIG.
    output
        How to print: text, JSON, or the id only.
    """
    return _set_disabled(key, True, config, output)


@app.command
def enable(key: str, /, *, config: Config, output: OutputOption = "table") -> int:
    """Let a disabled key in again.

    Parameters
    ----------
    key
        The access key, or the id of a bearer token.
    config
        The settings file of the server (TOML). Else HAULIER_CONFIG.
    output
        How to print: text, JSON, or the id only.
    """
    return _set_disabled(key, False, config, output)


def _set_disabled(key: str, disabled: bool, config: Path, output: out.Output) -> int:
    from haulier.admin.keys import SetKeyDisabled  # noqa: PLC0415

    answer = administer(config, SetKeyDisabled(key=key, disabled=disabled))
    out.done(answer, output, "key", f"key {{key}} of user {{account}}/{{user}} {'disabled' if disabled else 'enabled'}")
    return Exit.CLEAN


@app.command
def delete(key: str, /, *, config: Config, output: OutputOption = "table") -> int:
    """Delete a key for good.

    Parameters
    ----------
    key
        The access key, or the id of a bearer token.
    config
        The settings file of the server (TOML). Else HAULIER_CONFIG.
    output
        How to print: text, JSON, or the id only.
    """
    from haulier.admin.keys import DeleteKey  # noqa: PLC0415

    out.done(administer(config, DeleteKey(key=key)), output, "key", "key {key} of user {account}/{user} deleted")
    return Exit.CLEAN


@app.command
def new_master(*, config: Config, output: OutputOption = "table") -> int:
    """Add a master key to the file of master keys, or make that file. What is stored from now on is sealed by it.

    Parameters
    ----------
    config
        The settings file of the server (TOML). Else HAULIER_CONFIG.
    output
        How to print: text, JSON, or the version only.
    """
    from haulier.admin.keys import AddMasterKey  # noqa: PLC0415

    answer: dict[str, Any] = administer(config, AddMasterKey())
    out.done(answer, output, "version", "master key {version} seals from now on")
    if output == "table" and len(answer["versions"]) > 1:
        out.note("what older ones have sealed stays so until haulier key reencrypt")
    return Exit.CLEAN


@app.command
def reencrypt(*, config: Config, output: OutputOption = "table") -> int:
    """Seal every stored secret anew by the newest master key.

    Parameters
    ----------
    config
        The settings file of the server (TOML). Else HAULIER_CONFIG.
    output
        How to print: text, JSON, or the version only.
    """
    from haulier.admin.keys import Reencrypt  # noqa: PLC0415

    answer: dict[str, Any] = administer(config, Reencrypt())
    out.done(answer, output, "version", "{reencrypted} secrets sealed anew by master key {version}")
    if output == "table" and (unused := answer["unused_versions"]):
        versions = ", ".join(map(str, unused))
        out.note(f"nothing that is stored is sealed by master key {versions} any more; backups of the database may be")
    return Exit.CLEAN
