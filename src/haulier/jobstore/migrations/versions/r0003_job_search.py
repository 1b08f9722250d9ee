"""What lists can look for, out of the documents: operation, description, tags."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the columns and the table, and fill them for the jobs that are there."""
    op.add_column("job", sa.Column("operation", sa.Text, nullable=False, server_default=""))
    op.add_column("job", sa.Column("description", sa.Text))
    job_tag = op.create_table(
        "job_tag",
        sa.Column("job", sa.Text, sa.ForeignKey("job.id", name="job_tag_of_job", ondelete="CASCADE"), nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("job", "key", name="job_tag_key"),
    )
    connection = op.get_bind()
    update = sa.text("UPDATE job SET operation = :operation, description = :description WHERE id = :id")
    for job_id, text in connection.execute(sa.text("SELECT id, document FROM job")).all():
        document = json.loads(text)
        facts = {"id": job_id, "operation": document["operation"]["name"], "description": document.get("description")}
        connection.execute(update, facts)
        tags = [{"job": job_id, "key": key, "value": value} for key, value in document.get("tags", {}).items()]
        if tags:
            connection.execute(sa.insert(job_tag), tags)
