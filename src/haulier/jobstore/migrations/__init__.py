"""Brings a database to the newest schema: forward only, all steps in one transaction, at every start.

A new step is a new file in `versions/`; the files are never changed once released, and use no name of `tables`.
"""

from typing import Final

from sqlalchemy import Connection

from haulier.core.errors import SettingsError

NEWEST: Final = "0007"
"""The last file in `versions/`."""


def migrate(connection: Connection, name: str) -> None:
    """Bring the database to the newest schema, inside the transaction that the connection is in.

    `name` is for messages. Raises SettingsError for a database of a newer version, which this one must not touch.
    """
    # Alembic takes half a second to import, and most starts find the newest schema.
    if _version(connection) == NEWEST:
        return
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "haulier.jobstore:migrations")
    config.attributes["connection"] = connection
    version = _version(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if version is not None and version not in known:
        raise _newer(name, version)
    command.upgrade(config, "head")


def check_newest(connection: Connection, name: str) -> None:
    """For who only reads. Raises SettingsError unless the database has the newest schema."""
    version = _version(connection)
    if version is None:
        raise SettingsError("server.data_dir", f"{name} is no database of Haulier")
    if version > NEWEST:
        raise _newer(name, version)
    if version != NEWEST:
        raise SettingsError(
            "server.data_dir",
            f"{name} was written by an earlier version of Haulier (schema {version}, this version reads {NEWEST}): start this"
            " version's server on it once, which brings it up to date",
        )


def _newer(name: str, version: str) -> SettingsError:
    return SettingsError(
        "server.data_dir",
        f"{name} was written by a newer version of Haulier (schema {version}, this version knows {NEWEST}): use that version",
    )


def _version(connection: Connection) -> str | None:
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    version: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return version
