"""Why tasks failed, in classes. Of jobs that are there already only the counts by code are known."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the table, and fill it with what the jobs' documents count."""
    table = op.create_table(
        "failure_class",
        sa.Column("job", sa.Text, sa.ForeignKey("job.id", name="failure_class_of_job", ondelete="CASCADE"), nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("first_ms", sa.BigInteger),
        sa.Column("last_ms", sa.BigInteger),
        sa.Column("samples", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("job", "code", "status", name="failure_class_key"),
        sa.CheckConstraint('"count" > 0', name="failure_class_counts"),
    )
    job = sa.table("job", sa.column("id"), sa.column("failed"), sa.column("document"))
    connection = op.get_bind()
    for row in connection.execute(sa.select(job.c.id, job.c.document).where(job.c.failed > 0)).all():
        counts = json.loads(row.document).get("failures", {})
        known = [{"job": row.id, "code": code, "status": 0, "count": count, "samples": "[]"} for code, count in counts.items()]
        if known:
            connection.execute(sa.insert(table), known)
