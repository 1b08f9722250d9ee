"""Accounts, users, keys and roles that commands make, and the master keys that sealed their secrets."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "account",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("aws_account_id", sa.Text),
        sa.Column("cos_uin", sa.Text),
        sa.Column("cos_appid", sa.Text),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="account_key"),
        sa.UniqueConstraint("aws_account_id", name="account_of_aws_account_id"),
        sa.UniqueConstraint("cos_uin", name="account_of_cos_uin"),
        sa.UniqueConstraint("cos_appid", name="account_of_cos_appid"),
        sa.CheckConstraint("(cos_uin IS NULL) = (cos_appid IS NULL)", name="account_cos_together"),
        sa.CheckConstraint("aws_account_id IS NOT NULL OR cos_uin IS NOT NULL", name="account_has_identity"),
    )
    op.create_table(
        "account_user",
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("account", "name", name="account_user_key"),
    )
    op.create_table(
        "user_key",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("user", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("secret_version", sa.BigInteger),
        sa.Column("secret", sa.LargeBinary),
        sa.Column("token_hash", sa.LargeBinary),
        sa.Column("actions", sa.Text),
        sa.Column("expires_ms", sa.BigInteger),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="user_key_key"),
        sa.UniqueConstraint("token_hash", name="user_key_of_token"),
        sa.CheckConstraint("kind IN ('access', 'session', 'bearer')", name="user_key_kind_known"),
        sa.CheckConstraint("(secret IS NOT NULL) = (kind IN ('access', 'session'))", name="user_key_secret_when_it_signs"),
        sa.CheckConstraint("(secret IS NULL) = (secret_version IS NULL)", name="user_key_secret_sealed"),
        sa.CheckConstraint("(token_hash IS NOT NULL) = (kind IN ('session', 'bearer'))", name="user_key_token_when_it_is_sent"),
        sa.CheckConstraint("kind <> 'session' OR expires_ms IS NOT NULL", name="user_key_session_ends"),
    )
    op.create_table(
        "key_use",
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("used_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("key", name="key_use_key"),
    )
    op.create_table(
        "account_role",
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("account", "name", name="account_role_key"),
    )
    op.create_table(
        "role_key",
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("store", sa.Text, nullable=False),
        sa.Column("access_key", sa.Text, nullable=False),
        sa.Column("secret_version", sa.BigInteger, nullable=False),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("account", "role", "store", name="role_key_key"),
        sa.ForeignKeyConstraint(
            ["account", "role"], ["account_role.account", "account_role.name"], name="role_key_of_role", ondelete="CASCADE"
        ),
    )
    op.create_table(
        "master_key",
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("proof", sa.LargeBinary, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("version", name="master_key_key"),
    )
