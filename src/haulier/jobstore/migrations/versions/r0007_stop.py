"""Whether the operator has stopped everything."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "stop",
        sa.Column("one", sa.Integer, nullable=False),
        sa.Column("since_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("one", name="stop_key"),
        sa.CheckConstraint("one = 1", name="stop_single_row"),
    )
