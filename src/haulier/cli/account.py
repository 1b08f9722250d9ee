"""`haulier account`: make, list and delete accounts."""

from cyclopts import App

from haulier.cli import output as out
from haulier.cli.administer import Target, administer
from haulier.cli.exits import Exit

app = App(name="account", help="Make, list and delete accounts, whether the server runs or not.")


@app.command
def create(
    name: str, /, *, to: Target, aws_account_id: str | None = None, cos_uin: str | None = None, cos_appid: str | None = None
) -> int:
    """Make an account. It needs an AWS account id, or a COS UIN and APPID, or all three.

    Parameters
    ----------
    name
        What commands and logs call it.
    aws_account_id
        12 digits; S3 requests name it in x-amz-account-id.
    cos_uin
        Stands in the names of COS roles.
    cos_appid
        COS requests name it in x-cos-appid.
    """
    from haulier.admin.accounts import CreateAccount  # noqa: PLC0415

    command = CreateAccount(name=name, aws_account_id=aws_account_id, cos_uin=cos_uin, cos_appid=cos_appid)
    out.done(administer(to, command), to.output, "account", "account {account} created")
    return Exit.CLEAN


@app.command(name="list")
def list_accounts(*, to: Target) -> int:
    """List all accounts, those of the settings too."""
    from haulier.admin.accounts import ListAccounts  # noqa: PLC0415

    columns = ("account", "aws_account_id", "cos_uin", "cos_appid", "users", "roles", "created", "defined")
    out.listed(administer(to, ListAccounts()), to.output, "account", columns)
    return Exit.CLEAN


@app.command
def delete(name: str, /, *, to: Target) -> int:
    """Delete an account that has no users, roles and unfinished jobs any more.

    Parameters
    ----------
    name
        The account.
    """
    from haulier.admin.accounts import DeleteAccount  # noqa: PLC0415

    out.done(administer(to, DeleteAccount(name=name)), to.output, "account", "account {account} deleted")
    return Exit.CLEAN
