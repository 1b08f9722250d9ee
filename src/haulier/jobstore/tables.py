"""The schema as it is after the newest migration; a test compares the two.

Times are integers (Unix ms), documents are JSON in text, so that SQLite and PostgreSQL hold the same. Constraints are written
to refuse what must never be true, whatever code is wrong.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
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
_AWAITED: Final = text("delivery_ms IS NOT NULL")
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
    Column("delivery_ms", BigInteger),
    PrimaryKeyConstraint("id", name="job_key"),
    CheckConstraint(f"status IN ({_STATUSES})", name="job_status_known"),
    CheckConstraint(f"(ended_ms IS NOT NULL) = (status IN ({_TERMINAL}))", name="job_ended_when_terminal"),
    CheckConstraint("priority >= 0", name="job_priority_natural"),
    CheckConstraint("succeeded >= 0 AND failed >= 0", name="job_counters_natural"),
    CheckConstraint("succeeded + failed <= coalesce(total, 0)", name="job_counters_within_total"),
    CheckConstraint("status <> 'Complete' OR succeeded + failed = coalesce(total, -1)", name="job_complete_when_all_counted"),
)
"""A job: what is searched or summed in columns, all else in `document`. `deleted_ms` set = hidden from its account; `delivery_ms`
set = it has ended, and its report is to be delivered once more."""

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
Index("job_delivery", job.c.delivery_ms, job.c.id, sqlite_where=_AWAITED, postgresql_where=_AWAITED)
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

failure_class: Final = Table(
    "failure_class",
    metadata,
    Column("job", Text, ForeignKey("job.id", name="failure_class_of_job", ondelete="CASCADE"), nullable=False),
    Column("code", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("first_ms", BigInteger),
    Column("last_ms", BigInteger),
    Column("samples", Text, nullable=False),
    PrimaryKeyConstraint("job", "code", "status", name="failure_class_key"),
    CheckConstraint('"count" > 0', name="failure_class_counts"),
)
"""Why tasks of a job failed (`core.failures`); the counts of a job add up to its `failed`."""

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

account: Final = Table(
    "account",
    metadata,
    Column("name", Text, nullable=False),
    Column("aws_account_id", Text),
    Column("cos_uin", Text),
    Column("cos_appid", Text),
    Column("created_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("name", name="account_key"),
    UniqueConstraint("aws_account_id", name="account_of_aws_account_id"),
    UniqueConstraint("cos_uin", name="account_of_cos_uin"),
    UniqueConstraint("cos_appid", name="account_of_cos_appid"),
    CheckConstraint("(cos_uin IS NULL) = (cos_appid IS NULL)", name="account_cos_together"),
    CheckConstraint("aws_account_id IS NOT NULL OR cos_uin IS NOT NULL", name="account_has_identity"),
)
"""A tenant that a command made. What names an account below may name one of the settings, so no table refers to this one."""

account_user: Final = Table(
    "account_user",
    metadata,
    Column("account", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("policy", Text, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("account", "name", name="account_user_key"),
)
"""A user that a command made."""

user_key: Final = Table(
    "user_key",
    metadata,
    Column("id", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("user", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("secret_version", BigInteger),
    Column("secret", LargeBinary),
    Column("token_hash", LargeBinary),
    Column("actions", Text),
    Column("expires_ms", BigInteger),
    Column("disabled", Boolean, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("id", name="user_key_key"),
    UniqueConstraint("token_hash", name="user_key_of_token"),
    CheckConstraint("kind IN ('access', 'session', 'bearer')", name="user_key_kind_known"),
    CheckConstraint("(secret IS NOT NULL) = (kind IN ('access', 'session'))", name="user_key_secret_when_it_signs"),
    CheckConstraint("(secret IS NULL) = (secret_version IS NULL)", name="user_key_secret_sealed"),
    CheckConstraint("(token_hash IS NOT NULL) = (kind IN ('session', 'bearer'))", name="user_key_token_when_it_is_sent"),
    CheckConstraint("kind <> 'session' OR expires_ms IS NOT NULL", name="user_key_session_ends"),
)
"""A key of a user; the user may be one of the settings. `secret` is sealed under master key `secret_version`, of a token there is
only a hash, and `actions` is a JSON array or NULL for all."""

key_use: Final = Table(
    "key_use",
    metadata,
    Column("key", Text, nullable=False),
    Column("used_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("key", name="key_use_key"),
)
"""When a key, of the settings too, was used last."""

account_role: Final = Table(
    "account_role",
    metadata,
    Column("account", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("document", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("account", "name", name="account_role_key"),
)
"""A role that a command made; what it may do stands in `document`."""

role_key: Final = Table(
    "role_key",
    metadata,
    Column("account", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("store", Text, nullable=False),
    Column("access_key", Text, nullable=False),
    Column("secret_version", BigInteger, nullable=False),
    Column("secret", LargeBinary, nullable=False),
    PrimaryKeyConstraint("account", "role", "store", name="role_key_key"),
    ForeignKeyConstraint(
        ["account", "role"], ["account_role.account", "account_role.name"], name="role_key_of_role", ondelete="CASCADE"
    ),
)
"""A role's own key for a store; `secret` is sealed under master key `secret_version`."""

master_key: Final = Table(
    "master_key",
    metadata,
    Column("version", BigInteger, nullable=False),
    Column("proof", LargeBinary, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("version", name="master_key_key"),
)
"""A master key that has sealed something: `proof` opens under that key alone."""

epoch: Final = Table(
    "epoch",
    metadata,
    Column("one", Integer, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    PrimaryKeyConstraint("one", name="epoch_key"),
    CheckConstraint("one = 1", name="epoch_single_row"),
)
"""One row: the epoch of the coordinator that took over last, 0 before the first."""

stop: Final = Table(
    "stop",
    metadata,
    Column("one", Integer, nullable=False),
    Column("since_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("one", name="stop_key"),
    CheckConstraint("one = 1", name="stop_single_row"),
)
"""A row while the operator has stopped everything."""
