"""Which jobs that have ended wait for a delivery of their report."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the column and its index."""
    op.add_column("job", sa.Column("delivery_ms", sa.BigInteger))
    awaited = sa.text("delivery_ms IS NOT NULL")
    op.create_index("job_delivery", "job", ["delivery_ms", "id"], sqlite_where=awaited, postgresql_where=awaited)
