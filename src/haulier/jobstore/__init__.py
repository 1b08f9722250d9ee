"""Jobs and the ledger of their chunks, in SQL: SQLite embedded; the schema is PostgreSQL's as well.

`SqlJobStore.open` is the door. Inside: `tables` (the schema), `rows` (values to rows and back), `ledger` (what a commit
means), `writer` (the one thread that writes), `sqlite` (how SQLite is opened), `migrations`.
"""

from haulier.jobstore.sql import SqlJobStore

__all__ = ["SqlJobStore"]
