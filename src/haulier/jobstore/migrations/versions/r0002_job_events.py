"""The record of what happened to each job. Jobs that are there already begin theirs with their next change."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "job_event",
        sa.Column("job", sa.Text, sa.ForeignKey("job.id", name="job_event_of_job", ondelete="CASCADE"), nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("by", sa.Text),
        sa.Column("document", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("job", "sequence", name="job_event_key"),
        sa.CheckConstraint("sequence > 0", name="job_event_counted_from_one"),
    )
