"""`haulier account`: make, list and delete accounts."""

from cyclopts import App

from haulier.cli import output as out
from haulier.cli.administer import Config, OutputOption, administer
from haulier.cli.exits import Exit

app = App(name="account", help="Make, list and delete accounts, whether the server runs or not.")


@app.command
def create(
    name: str,
    /,
    *,
    config: Config,
    aws_account_id: str | None = None,
    cos_uin: str | None = None,
    cos_appid: str | None = None,
    output: OutputOption = "table",
) -> int:
    """Make an account. It needs an AWS account id, or a COS UIN and APPID, or all three.

    Parameters
    ----------
    name
        What commands and logs call it.
    config
        The settings file of the server (TOML). Else HAULIER_CONFIG.
    aws_account_id
        12 digits; S3 requests name it in x-amz-account-id.
    cos_uin
        Stands in the names of COS roles.
    cos_appid
        COS requests name it in x-cos-appid.
    output
        How to print: text, JSON, or the name only.
    """
    from haulier.admin.accounts import CreateAccount  # noqa: PLC0415

    command = CreateAccount(name=name, aws_account_id=aws_account_id, cos_uin=cos_uin, cos_appid=cos_appid)
    out.done(administer(config, command), output, "account", "account {account} created")
    return Exit.CLEAN


@app.command(name="list")
def list_accounts(*, config: Config, output: OutputOption = "table") -> int:
    """List all accounts, those of the settings too.

    Parameters
    ----------
    config
        The settings file of the server (TOML). Else HAULIER_CONFIG.
    output
        How to print: a table, JSON, or names only.
    """
    from haulier.admin.accounts import ListAccounts  # noqa: PLC0415

    columns = ("account", "aws_account_id", "cos_uin", "cos_appid", "users", "roles", "created", "defined")
    out.listed(administer(config, ListAccounts()), output, "account", columns)
    return Exit.CLEAN


@app.command
def delete(name: str, /, *, config: Config, output: OutputOption = "table") -> int:
    """Delete an account that has no users, roles and unfinished jobs any more.

    Parameters
    ----------
    name
        The account.
    config
        The settings file of the server (TOML). Else HAULIER_CONFIG.
    output
        How to print: text, JSON, or the name only.
    """
    from haulier.admin.accounts import DeleteAccount  # noqa: PLC0415

    out.done(administer(config, DeleteAccount(name=name)), output, "account", "account {account} deleted")
    return Exit.CLEAN
