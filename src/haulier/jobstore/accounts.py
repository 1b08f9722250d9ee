"""Accounts, users, keys and roles in SQL. The promises stand in `core.records.AccountStore`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Table, and_, delete, exists, insert, select, update

from haulier.core.accounts import KeyKind
from haulier.core.records import (
    AccountRecord,
    Change,
    KeyRecord,
    MasterKeyRecord,
    Put,
    Record,
    Records,
    RoleKeyRecord,
    RoleRecord,
    UserRecord,
)
from haulier.core.sealing import Sealed
from haulier.jobstore import tables
from haulier.jobstore.database import Database

_TABLES: Final[Mapping[type[Record], Table]] = {
    AccountRecord: tables.account,
    UserRecord: tables.account_user,
    KeyRecord: tables.user_key,
    RoleRecord: tables.account_role,
    RoleKeyRecord: tables.role_key,
    MasterKeyRecord: tables.master_key,
}
_COLUMNS_OF_A_ROLE: Final = ("account", "name", "created_ms")
"""What of a role is not in its document."""


class SqlAccountStore:
    """The records, in the database that the jobs are in."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self) -> Records:
        """All records."""
        with self._database.read() as connection, connection.begin():
            connection.exec_driver_sql("BEGIN")  # the driver begins none by itself, and the tables belong together
            return _read(connection)

    def write(self, decide: Callable[[Records], Sequence[Change]]) -> Records:
        """Decide on what is stored, and store what was decided."""

        def work(connection: Connection) -> Records:
            for change in decide(_read(connection)):
                _apply(connection, change)
            return _read(connection)

        return self._database.write(work)

    def note_uses(self, uses: Mapping[str, int]) -> None:
        """Keep when keys were used last."""

        def work(connection: Connection) -> None:
            connection.execute(delete(tables.key_use).where(tables.key_use.c.key.in_(list(uses))))
            connection.execute(insert(tables.key_use), [{"key": key, "used_ms": at_ms} for key, at_ms in uses.items()])

        if uses:
            self._database.write(work)

    def has_jobs(self, account: str, *, unfinished: bool) -> bool:
        """Whether there are jobs of an account of that name."""
        job = tables.job
        wanted = [job.c.account == account, *([job.c.ended_ms.is_(None)] if unfinished else [])]
        with self._database.read() as connection:
            return bool(connection.execute(select(exists().where(*wanted))).scalar())


def _read(connection: Connection) -> Records:
    def rows(table: Table) -> Sequence[Any]:
        return connection.execute(select(table).order_by(*table.primary_key.columns)).all()

    return Records(
        accounts={row.name: AccountRecord(**row._mapping) for row in rows(tables.account)},  # noqa: SLF001 - its public name
        users={(row.account, row.name): UserRecord(**row._mapping) for row in rows(tables.account_user)},  # noqa: SLF001
        keys={row.id: _key(row) for row in rows(tables.user_key)},
        roles={(row.account, row.name): _role(row) for row in rows(tables.account_role)},
        role_keys={(row.account, row.role, row.store): _role_key(row) for row in rows(tables.role_key)},
        master_keys={row.version: _master_key(row) for row in rows(tables.master_key)},
        used_ms={row.key: row.used_ms for row in rows(tables.key_use)},
    )


def _apply(connection: Connection, change: Change) -> None:
    table = _TABLES[type(change.record)]
    row = _row(change.record)
    same = and_(*(column == row[column.name] for column in table.primary_key.columns))
    if isinstance(change, Put):
        if not connection.execute(update(table).where(same).values(row)).rowcount:
            connection.execute(insert(table).values(row))
        return
    connection.execute(delete(table).where(same))
    if isinstance(change.record, KeyRecord):
        connection.execute(delete(tables.key_use).where(tables.key_use.c.key == change.record.id))


# -- records to rows and back ------------------------------------------------------------------------------------------------


def _row(record: Record) -> dict[str, Any]:
    row = msgspec.structs.asdict(record)
    match record:
        case KeyRecord():
            row["kind"] = record.kind.value
            row["secret"] = record.secret and record.secret.data
            row["secret_version"] = record.secret and record.secret.version
            row["actions"] = None if record.actions is None else msgspec.json.encode(record.actions).decode()
        case RoleRecord():
            document = {name: row.pop(name) for name in list(row) if name not in _COLUMNS_OF_A_ROLE}
            row["document"] = msgspec.json.encode(document).decode()
        case RoleKeyRecord():
            row["secret"] = record.secret.data
            row["secret_version"] = record.secret.version
        case MasterKeyRecord():
            row["proof"] = record.proof.data
        case _:
            pass
    return row


def _key(row: Any) -> KeyRecord:
    return KeyRecord(
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


def _role(row: Any) -> RoleRecord:
    facts = {**msgspec.json.decode(row.document), **{name: getattr(row, name) for name in _COLUMNS_OF_A_ROLE}}
    return msgspec.convert(facts, RoleRecord)


def _role_key(row: Any) -> RoleKeyRecord:
    sealed = Sealed(row.secret_version, row.secret)
    return RoleKeyRecord(account=row.account, role=row.role, store=row.store, access_key=row.access_key, secret=sealed)


def _master_key(row: Any) -> MasterKeyRecord:
    return MasterKeyRecord(version=row.version, proof=Sealed(row.version, row.proof), created_ms=row.created_ms)
