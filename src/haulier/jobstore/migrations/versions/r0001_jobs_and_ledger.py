"""Jobs, their chunks and segments, and the coordinator's epoch."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

STATUSES = (
    "'New', 'Preparing', 'Suspended', 'Ready', 'Active', 'Pausing', 'Paused', 'Completing', 'Complete', "
    "'Cancelling', 'Cancelled', 'Failing', 'Failed'"
)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "job",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("token", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("priority", sa.BigInteger, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("ended_ms", sa.BigInteger),
        sa.Column("deleted_ms", sa.BigInteger),
        sa.Column("total", sa.BigInteger),
        sa.Column("succeeded", sa.BigInteger, nullable=False),
        sa.Column("failed", sa.BigInteger, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="job_key"),
        sa.CheckConstraint(f"status IN ({STATUSES})", name="job_status_known"),
        sa.CheckConstraint(
            "(ended_ms IS NOT NULL) = (status IN ('Complete', 'Cancelled', 'Failed'))", name="job_ended_when_terminal"
        ),
        sa.CheckConstraint("priority >= 0", name="job_priority_natural"),
        sa.CheckConstraint("succeeded >= 0 AND failed >= 0", name="job_counters_natural"),
        sa.CheckConstraint("succeeded + failed <= coalesce(total, 0)", name="job_counters_within_total"),
        sa.CheckConstraint(
            "status <> 'Complete' OR succeeded + failed = coalesce(total, -1)", name="job_complete_when_all_counted"
        ),
    )
    visible, unfinished, ended = map(sa.text, ("deleted_ms IS NULL", "ended_ms IS NULL", "ended_ms IS NOT NULL"))
    op.create_index("job_token", "job", ["account", "token"], unique=True)
    op.create_index("job_ended", "job", ["ended_ms", "id"], sqlite_where=ended, postgresql_where=ended)
    op.create_index("job_list", "job", ["account", "status", "created_ms", "id"], sqlite_where=visible, postgresql_where=visible)
    op.create_index(
        "job_unfinished", "job", ["created_ms", "id", "account"], sqlite_where=unfinished, postgresql_where=unfinished
    )
    op.create_table(
        "chunk",
        sa.Column("job", sa.Text, sa.ForeignKey("job.id", name="chunk_of_job", ondelete="CASCADE"), nullable=False),
        sa.Column("index", sa.BigInteger, nullable=False),
        sa.Column("first_row", sa.BigInteger, nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("opened_ms", sa.BigInteger),
        sa.Column("first_opened_ms", sa.BigInteger),
        sa.Column("horizon", sa.BigInteger, nullable=False),
        sa.Column("sealed_name", sa.Text),
        sa.Column("succeeded", sa.BigInteger, nullable=False),
        sa.Column("failed", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("job", "index", name="chunk_key"),
        sa.CheckConstraint('"index" >= 0 AND first_row >= 0 AND "rows" > 0', name="chunk_place"),
        sa.CheckConstraint('horizon >= 0 AND horizon <= "rows"', name="chunk_horizon_within_rows"),
        sa.CheckConstraint("opened_ms IS NULL OR first_opened_ms IS NOT NULL", name="chunk_opened_first"),
        sa.CheckConstraint('succeeded >= 0 AND failed >= 0 AND succeeded + failed <= "rows"', name="chunk_counts_within_rows"),
        sa.CheckConstraint('sealed_name IS NULL OR succeeded + failed = "rows"', name="chunk_sealed_when_all_counted"),
    )
    op.create_table(
        "segment",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("chunk", sa.BigInteger, nullable=False),
        sa.Column("attempt_epoch", sa.BigInteger, nullable=False),
        sa.Column("attempt_counter", sa.BigInteger, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("failed", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="segment_order"),
        sa.UniqueConstraint("job", "chunk", "attempt_epoch", "attempt_counter", "sequence", name="segment_counts_once"),
        sa.ForeignKeyConstraint(["job", "chunk"], ["chunk.job", "chunk.index"], name="segment_of_chunk", ondelete="CASCADE"),
        sa.CheckConstraint('failed >= 0 AND failed <= "rows"', name="segment_counts"),
    )
    made = op.create_table(
        "epoch",
        sa.Column("one", sa.Integer, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("one", name="epoch_key"),
        sa.CheckConstraint("one = 1", name="epoch_single_row"),
    )
    op.bulk_insert(made, [{"one": 1, "epoch": 0}])
