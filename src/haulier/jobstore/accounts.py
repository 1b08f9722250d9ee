"""Accounts, users, keys and roles in SQL. The promises stand in `core.stored.AccountStore`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Table, and_, bindparam, delete, exists, insert, select, update

from haulier.core.accounts import KeyKind
from haulier.core.sealing import Sealed
from haulier.core.stored import (
    Change,
    Put,
    Stored,
    StoredAccount,
    StoredKey,
    StoredMasterKey,
    StoredPart,
    StoredRole,
    StoredRoleKey,
    StoredStop,
    StoredUser,
)
from haulier.jobstore import tables
from haulier.jobstore.database import Database

_TABLES: Final[Mapping[type[StoredPart], Table]] = {
    StoredAccount: tables.account,
    StoredUser: tables.account_user,
    StoredKey: tables.user_key,
    StoredRole: tables.account_role,
    StoredRoleKey: tables.role_key,
    StoredMasterKey: tables.master_key,
    StoredStop: tables.stop,
}
_COLUMNS_OF_A_ROLE: Final = ("account", "name", "created_ms")
"""What of a role is not in its document."""


class SqlAccountStore:
    """Accounts, users, keys and roles, in the database that the jobs are in."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self) -> Stored:
        """All of them."""
        with self._database.read() as connection, connection.begin():
            connection.exec_driver_sql("BEGIN")  # the driver begins none by itself, and the tables belong together
            return _read(connection)

    def write(self, decide: Callable[[Stored], Sequence[Change]]) -> Stored:
        """Decide on what is stored, and store what was decided."""

        def work(connection: Connection) -> Stored:
            for change in decide(_read(connection)):
                _apply(connection, change)
            return _read(connection)

        return self._database.write(work)

    def note_uses(self, uses: Mapping[str, int]) -> None:
        """Keep when keys were used last."""

        def work(connection: Connection) -> None:
            connection.execute(
                delete(tables.key_use).where(tables.key_use.c.key == bindparam("of_key")), [{"of_key": key} for key in uses]
            )
            connection.execute(insert(tables.key_use), [{"key": key, "used_ms": at_ms} for key, at_ms in uses.items()])

        if uses:
            self._database.write(work)

    def has_jobs(self, account: str, *, unfinished: bool) -> bool:
        """Whether there are jobs of an account of that name."""
        job = tables.job
        wanted = [job.c.account == account, *([job.c.ended_ms.is_(None)] if unfinished else [])]
        with self._database.read() as connection:
            return bool(connection.execute(select(exists().where(*wanted))).scalar())


def _read(connection: Connection) -> Stored:
    def rows(table: Table) -> Sequence[Any]:
        return connection.execute(select(table).order_by(*table.primary_key.columns)).all()

    return Stored(
        accounts={row.name: StoredAccount(**row._mapping) for row in rows(tables.account)},  # noqa: SLF001 - its public name
        users={(row.account, row.name): StoredUser(**row._mapping) for row in rows(tables.account_user)},  # noqa: SLF001
        keys={row.id: _key(row) for row in rows(tables.user_key)},
        roles={(row.account, row.name): _role(row) for row in rows(tables.account_role)},
        role_keys={(row.account, row.role, row.store): _role_key(row) for row in rows(tables.role_key)},
        master_keys={row.version: _master_key(row) for row in rows(tables.master_key)},
        used_ms={row.key: row.used_ms for row in rows(tables.key_use)},
        stop=next((StoredStop(**row._mapping) for row in rows(tables.stop)), None),  # noqa: SLF001
    )


def _apply(connection: Connection, change: Change) -> None:
    table = _TABLES[type(change.part)]
    row = _row(change.part)
    same = and_(*(column == row[column.name] for column in table.primary_key.columns))
    if isinstance(change, Put):
        if not connection.execute(update(table).where(same).values(row)).rowcount:
            connection.execute(insert(table).values(row))
        return
    connection.execute(delete(table).where(same))
    if isinstance(change.part, StoredKey):
        connection.execute(delete(tables.key_use).where(tables.key_use.c.key == change.part.id))


# -- parts to rows and back ------------------------------------------------------------------------------------------------


def _row(part: StoredPart) -> dict[str, Any]:
    row = msgspec.structs.asdict(part)
    match part:
        case StoredKey():
            row["kind"] = part.kind.value
            row["secret"] = part.secret and part.secret.data
            row["secret_version"] = part.secret and part.secret.version
            row["actions"] = None if part.actions is None else msgspec.json.encode(part.actions).decode()
        case StoredRole():
            document = {name: row.pop(name) for name in list(row) if name not in _COLUMNS_OF_A_ROLE}
            row["document"] = msgspec.json.encode(document).decode()
        case StoredRoleKey():
            row["secret"] = part.secret.data
            row["secret_version"] = part.secret.version
        case StoredMasterKey():
            row["proof"] = part.proof.data
        case _:
            pass
    return row


def _key(row: Any) -> StoredKey:
    return StoredKey(
        id=row.id,
        account=row.account,
        user=row.user,
        kind=KeyKind(row.kind),
        secret=None if row.secret is None else Sealed(row.secret_version, row.secret),
        token_hash=row.token_hash,
        actions=None if row.actions is None else msgspec.json.decode(row.actions, type=tuple[str, ...]),
        expires_ms=row.expires_ms,
        disabled=row.disabled,
        created_ms=row.created_ms,
    )


def _role(row: Any) -> StoredRole:
    facts = {**msgspec.json.decode(row.document), **{name: getattr(row, name) for name in _COLUMNS_OF_A_ROLE}}
    return msgspec.convert(facts, StoredRole)


def _role_key(row: Any) -> StoredRoleKey:
    sealed = Sealed(row.secret_version, row.secret)
    return StoredRoleKey(account=row.account, role=row.role, store=row.store, access_key=row.access_key, secret=sealed)


def _master_key(row: Any) -> StoredMasterKey:
    return StoredMasterKey(version=row.version, proof=Sealed(row.version, row.proof), created_ms=row.created_ms)
