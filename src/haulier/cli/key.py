"""`haulier key`: make, list, disable and delete keys and bearer tokens, and renew the master key that seals them."""

from typing import Annotated, Any

from cyclopts import App, Parameter

from haulier.cli import output as out
from haulier.cli.administer import AccountTarget, Target, administer
from haulier.cli.exits import CommandFailed, Exit

app = App(name="key", help="Make, list, disable and delete keys and bearer tokens, whether the server runs or not.")


@app.command
def create(
    user: str,
    /,
    *,
    to: AccountTarget,
    session: Annotated[bool, Parameter(negative=())] = False,
    bearer: Annotated[bool, Parameter(negative=())] = False,
    hours: int | None = None,
    action: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
) -> int:
    """Make a key for a user and print its secret, this once. A user may have two active access keys, so that one can be changed.

    Parameters
    ----------
    user
        The user, of the settings or not.
    session
        A temporary key with a session token, which must be sent along; good for an hour, with --hours up to 36.
    bearer
        A token for the native API that is sent as it is, only over TLS or to a server on the same machine.
    hours
        How long the key is good.
    action
        Of a bearer token: an action, or a glob of actions, that it is good for (`s3:DescribeJob`, `s3:*Job*`); may be given
        several times. Left out: all that its user may do.
    """
    from haulier.admin.keys import CreateKey  # noqa: PLC0415
    from haulier.core.accounts import KeyKind  # noqa: PLC0415

    if session and bearer:
        raise CommandFailed(Exit.USAGE, "--session and --bearer are two kinds of key: give one of them")
    if to.output == "name":
        raise CommandFailed(Exit.USAGE, "-o name would lose the secret, which is told this once: use -o json")
    kind = KeyKind.SESSION if session else KeyKind.BEARER if bearer else KeyKind.ACCESS
    answer = administer(to, CreateKey(user=user, account=to.account, kind=kind, hours=hours, actions=action or None))
    if to.output == "json":
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
def list_keys(*, to: AccountTarget, user: Annotated[str | None, Parameter(name="--user")] = None) -> int:
    """List keys, those of the settings too, and when they were used last.

    Parameters
    ----------
    user
        Only keys of this user.
    """
    from haulier.admin.keys import ListKeys  # noqa: PLC0415

    rows = administer(to, ListKeys(user=user, account=to.account))
    out.listed(rows, to.output, "key", ("account", "user", "key", "kind", "state", "created", "expires", "last_used", "defined"))
    return Exit.CLEAN


@app.command
def disable(key: str, /, *, to: Target) -> int:
    """Let a key let nobody in any more, from the next request on; what it began (sessions, streams) ends within 5 s.

    Parameters
    ----------
    key
        The access key, or the id of a bearer token.
    """
    return _set_disabled(key, True, to)


@app.command
def enable(key: str, /, *, to: Target) -> int:
    """Let a disabled key in again.

    Parameters
    ----------
    key
        The access key, or the id of a bearer token.
    """
    return _set_disabled(key, False, to)


def _set_disabled(key: str, disabled: bool, to: Target) -> int:
    from haulier.admin.keys import SetKeyDisabled  # noqa: PLC0415

    answer = administer(to, SetKeyDisabled(key=key, disabled=disabled))
    out.done(answer, to.output, "key", f"key {{key}} of user {{account}}/{{user}} {'disabled' if disabled else 'enabled'}")
    return Exit.CLEAN


@app.command
def delete(key: str, /, *, to: Target) -> int:
    """Delete a key for good.

    Parameters
    ----------
    key
        The access key, or the id of a bearer token.
    """
    from haulier.admin.keys import DeleteKey  # noqa: PLC0415

    out.done(administer(to, DeleteKey(key=key)), to.output, "key", "key {key} of user {account}/{user} deleted")
    return Exit.CLEAN


@app.command
def new_master(*, to: Target) -> int:
    """Add a master key to the file of master keys, or make that file. What is stored from now on is sealed by it."""
    from haulier.admin.keys import AddMasterKey  # noqa: PLC0415

    answer: dict[str, Any] = administer(to, AddMasterKey())
    out.done(answer, to.output, "version", "master key {version} seals from now on")
    if to.output == "table" and len(answer["versions"]) > 1:
        out.note("what older ones have sealed stays so until haulier key reencrypt")
    return Exit.CLEAN


@app.command
def reencrypt(*, to: Target) -> int:
    """Seal every stored secret anew by the newest master key."""
    from haulier.admin.keys import Reencrypt  # noqa: PLC0415

    answer: dict[str, Any] = administer(to, Reencrypt())
    out.done(answer, to.output, "version", "{reencrypted} secrets sealed anew by master key {version}")
    if to.output == "table" and (unused := answer["unused_versions"]):
        versions = ", ".join(map(str, unused))
        out.note(f"nothing that is stored is sealed by master key {versions} any more; backups of the database may be")
    return Exit.CLEAN
