"""The schema as it is after the newest migration; a test compares the two.

Times are integers (Unix ms), documents are JSON in text, so that SQLite and PostgreSQL hold the same. Constraints are written
to refuse what must never be true, whatever code is wrong.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from haulier.core.lifecycle import TERMINAL, JobStatus

metadata: Final = MetaData()


def _listed(statuses: list[JobStatus]) -> str:
    return ", ".join(f"'{status}'" for status in statuses)


_STATUSES: Final = _listed(list(JobStatus))
_TERMINAL: Final = _listed([status for status in JobStatus if status in TERMINAL])
_VISIBLE: Final = text("deleted_ms IS NULL")
_UNFINISHED: Final = text("ended_ms IS NULL")
_ENDED: Final = text("ended_ms IS NOT NULL")

job: Final = Table(
    "job",
    metadata,
    Column("id", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("token", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("priority", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("ended_ms", BigInteger),
    Column("deleted_ms", BigInteger),
    Column("total", BigInteger),
    Column("succeeded", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
    Column("operation", Text, nullable=False, server_default=""),
    Column("description", Text),
    PrimaryKeyConstraint("id", name="job_key"),
    CheckConstraint(f"status IN ({_STATUSES})", name="job_status_known"),
    CheckConstraint(f"(ended_ms IS NOT NULL) = (status IN ({_TERMINAL}))", name="job_ended_when_terminal"),
    CheckConstraint("priority >= 0", name="job_priority_natural"),
    CheckConstraint("succeeded >= 0 AND failed >= 0", name="job_counters_natural"),
    CheckConstraint("succeeded + failed <= coalesce(total, 0)", name="job_counters_within_total"),
    CheckConstraint("status <> 'Complete' OR succeeded + failed = coalesce(total, -1)", name="job_complete_when_all_counted"),
)
"""A job: what is searched or summed in columns, all else in `document`. `deleted_ms` set = hidden from its account."""

Index("job_token", job.c.account, job.c.token, unique=True)
Index(
    "job_list",
    job.c.account,
    job.c.status,
    job.c.created_ms,
    job.c.id,
    sqlite_where=_VISIBLE,
    postgresql_where=_VISIBLE,
)
Index("job_unfinished", job.c.created_ms, job.c.id, job.c.account, sqlite_where=_UNFINISHED, postgresql_where=_UNFINISHED)
Index("job_ended", job.c.ended_ms, job.c.id, sqlite_where=_ENDED, postgresql_where=_ENDED)

chunk: Final = Table(
    "chunk",
    metadata,
    Column("job", Text, ForeignKey("job.id", name="chunk_of_job", ondelete="CASCADE"), nullable=False),
    Column("index", BigInteger, nullable=False),
    Column("first_row", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("opened_ms", BigInteger),
    Column("first_opened_ms", BigInteger),
    Column("horizon", BigInteger, nullable=False),
    Column("sealed_name", Text),
    Column("succeeded", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    PrimaryKeyConstraint("job", "index", name="chunk_key"),
    CheckConstraint('"index" >= 0 AND first_row >= 0 AND "rows" > 0', name="chunk_place"),
    CheckConstraint('horizon >= 0 AND horizon <= "rows"', name="chunk_horizon_within_rows"),
    CheckConstraint("opened_ms IS NULL OR first_opened_ms IS NOT NULL", name="chunk_opened_first"),
    CheckConstraint('succeeded >= 0 AND failed >= 0 AND succeeded + failed <= "rows"', name="chunk_counts_within_rows"),
    CheckConstraint('sealed_name IS NULL OR succeeded + failed = "rows"', name="chunk_sealed_when_all_counted"),
)
"""A row of the ledger. `succeeded` and `failed` are what this chunk adds to its job's counters: of its segments until it is
sealed, of the sealed file from then on. So a job's counters are always the sums over its chunks."""

segment: Final = Table(
    "segment",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), nullable=False),
    Column("job", Text, nullable=False),
    Column("chunk", BigInteger, nullable=False),
    Column("attempt_epoch", BigInteger, nullable=False),
    Column("attempt_counter", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    PrimaryKeyConstraint("id", name="segment_order"),
    UniqueConstraint("job", "chunk", "attempt_epoch", "attempt_counter", "sequence", name="segment_counts_once"),
    ForeignKeyConstraint(["job", "chunk"], ["chunk.job", "chunk.index"], name="segment_of_chunk", ondelete="CASCADE"),
    CheckConstraint('failed >= 0 AND failed <= "rows"', name="segment_counts"),
)
"""A committed flush of a chunk that is not sealed; `id` grows in the order of commits."""

job_tag: Final = Table(
    "job_tag",
    metadata,
    Column("job", Text, ForeignKey("job.id", name="job_tag_of_job", ondelete="CASCADE"), nullable=False),
    Column("key", Text, nullable=False),
    Column("value", Text, nullable=False),
    PrimaryKeyConstraint("job", "key", name="job_tag_key"),
)
"""The job's tags once more, for lists that look for them."""

job_event: Final = Table(
    "job_event",
    metadata,
    Column("job", Text, ForeignKey("job.id", name="job_event_of_job", ondelete="CASCADE"), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("by", Text),
    Column("document", Text, nullable=False),
    PrimaryKeyConstraint("job", "sequence", name="job_event_key"),
    CheckConstraint("sequence > 0", name="job_event_counted_from_one"),
)
"""A job's record, in the order of commits (`core.history`): `by` is a user or NULL, the facts are in `document`."""

epoch: Final = Table(
    "epoch",
    metadata,
    Column("one", Integer, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    PrimaryKeyConstraint("one", name="epoch_key"),
    CheckConstraint("one = 1", name="epoch_single_row"),
)
"""One row: the epoch of the coordinator that took over last, 0 before the first."""
