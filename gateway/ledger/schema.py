"""The ledger's tables, in SQLAlchemy Core: the same in a gateway's own SQLite file and in a shared PostgreSQL.

Every change is a revision under `migrations/versions` as well; a test compares the two. Revisions only add, so that the
version before goes on beside the new one (docs/ledger.md).
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    and_,
    event,
    func,
    text,
)

from gateway.ledger.rollups import SUMMED, triggers
from gateway.ledger.ruling import ruling_triggers
from gateway.ledger.segments import segment_triggers

REVISION = "0010"
"""The newest revision under `migrations/versions`."""

GENERATION = 1
"""Raised by a revision that the versions before it cannot live with; they refuse a database of a later generation."""

metadata = MetaData()

_LEFT_OUT = text("excluded IS NOT NULL")
_HAS_USER = text("user_hash IS NOT NULL")

turns = Table(
    "turns",
    metadata,
    Column("request_id", String, primary_key=True),
    Column("conversation_id", String, nullable=False),
    Column("identity_source", String, nullable=False),
    Column("parent_request_id", String),
    Column("experiment", String),
    Column("arm", String),
    Column("forced", Boolean, nullable=False),
    Column("strategy", String, nullable=False),
    Column("model", String, nullable=False),
    Column("upstream", String, nullable=False),
    Column("turn", Integer, nullable=False),
    Column("started_at", String, nullable=False),
    Column("status", String, nullable=False),
    Column("finish_reason", String),
    Column("http_status", Integer),
    Column("error_code", String),
    Column("prompt_tokens", Integer),
    Column("completion_tokens", Integer),
    Column("cached_tokens", Integer),
    Column("cache_write_tokens", Integer),
    Column("reasoning_tokens", Integer),
    Column("counted_prompt_tokens", Integer),
    Column("usage_source", String),
    Column("figure_sources", JSON(none_as_null=True)),
    Column("instruction_tokens", Integer),
    Column("repeated_instruction_tokens", Integer),
    Column("counterfactual_prompt_tokens", JSON(none_as_null=True)),
    Column("counterfactual_cached_tokens", JSON(none_as_null=True)),
    Column("counterfactual_cost_usd", JSON(none_as_null=True)),
    Column("cache_rule", String),
    Column("context_window", Integer),
    Column("context_used", Integer),
    Column("context_headroom_tokens", Integer),
    Column("context_headroom_turns", Integer),
    Column("cost_usd", Float),
    Column("cost_input_usd", Float),
    Column("cost_cached_usd", Float),
    Column("cost_cache_write_usd", Float),
    Column("cost_output_usd", Float),
    Column("cost_reasoning_usd", Float),
    Column("price_source", String),
    Column("prices", JSON(none_as_null=True)),
    Column("ttft_ms", Float),
    Column("duration_ms", Float),
    Column("overhead_ms", Float),
    Column("adherent", Boolean),
    Column("adherence_source", String),
    Column("key_name", String),
    Column("auxiliary", String),
    Column("attempts", Integer, nullable=False),
    Column("fallback_for", String),
    Column("completion_id", String),
    Column("excluded", String),
    Column("shadow_of", String),
    Column("history_hash", String),
    Column("answered_hash", String),
    Column("user_hash", String),
    Index("turns_by_conversation", "conversation_id", "started_at"),
    Index("turns_by_start", "started_at"),
    Index("turns_by_answer", "answered_hash"),
    Index("turns_by_parent", "parent_request_id"),
    Index("turns_by_completion", "completion_id"),
    Index("turns_by_user", "user_hash", sqlite_where=_HAS_USER),
    Index(
        "turns_left_out",
        "experiment",
        "excluded",
        "conversation_id",
        "cost_usd",
        sqlite_where=_LEFT_OUT,
    ),
)

assignments = Table(
    "assignments",
    metadata,
    Column("conversation_id", String, primary_key=True),
    Column("experiment", String, primary_key=True),
    Column("key_name", String, primary_key=True),  # empty without keys
    Column("arm", String, nullable=False),
    Column("assigned_at", String, nullable=False),
    Column("policy", String, nullable=False, server_default="fixed"),
    Column("propensity", Float),
    Column("weights", String),
    Column("excluded", String),
    Column("turn", Integer),
    Column("instruction_chars", Integer),
    Column("prompt_chars", Integer),
    Index("assignments_by_time", "experiment", "assigned_at"),
)

# A turn's own assignment.
DEALT = and_(
    turns.c.conversation_id == assignments.c.conversation_id,
    turns.c.experiment == assignments.c.experiment,
    func.coalesce(turns.c.key_name, "") == assignments.c.key_name,
)

verdicts = Table(
    "verdicts",
    metadata,
    Column("request_id", String, primary_key=True),
    Column("source", String, primary_key=True),
    Column("experiment", String, nullable=False),
    Column("arm", String, nullable=False),
    Column("adherent", Boolean),  # null where the source cannot tell
    Column("given_at", String, nullable=False),
    Index("verdicts_by_experiment", "experiment", "source"),
)

feedback = Table(
    "feedback",
    metadata,
    Column("feedback_id", String, primary_key=True),
    Column("conversation_id", String, nullable=False),
    Column("request_id", String),  # null when it is about the whole conversation
    Column("key_name", String),
    Column("given_at", String, nullable=False),
    Column("adherent", Boolean),
    Column("score", Float),
    Column("comment", String),
    Index("feedback_by_conversation", "conversation_id"),
)

allocations = Table(
    "allocations",
    metadata,
    Column("allocation_id", String, primary_key=True),
    Column("experiment", String, nullable=False),
    Column("changed_at", String, nullable=False),
    Column("weights", String, nullable=False),
    Column("coverage", Float, nullable=False),
    Column("configured", String, nullable=False),
    Index("allocations_by_experiment", "experiment", "changed_at"),
)

# A conversation's sums, kept by the triggers of `gateway.ledger.rollups`.
conversations = Table(
    "conversations",
    metadata,
    Column("conversation_id", String, primary_key=True),
    Column("key_name", String, primary_key=True),  # empty without keys
    Column("identity_source", String),
    Column("experiment", String),
    Column("arm", String),
    Column("strategy", String),
    Column("model", String),
    Column("turn_count", Integer, nullable=False),
    Column("requests", Integer, nullable=False),
    Column("started_at", String, nullable=False),
    Column("last_at", String, nullable=False),
    *(Column(name, Float if name == "cost_usd" else BigInteger) for name in SUMMED),
    Column("failed", Integer, nullable=False),
    Column("excluded", Integer, nullable=False),
    Column("judged", Integer, nullable=False),
    Column("adherent", Integer, nullable=False),
    Column("drifted_at", Integer),  # the first turn that did not adhere
    Index("conversations_by_start", "started_at", "conversation_id", "key_name"),
    Index("conversations_by_arm", "experiment", "arm", "started_at", "conversation_id", "key_name"),
)


# Sums of some of an experiment's conversations: `gateway.ledger.segments`, whose triggers delete what is out of date.
report_segments = Table(
    "report_segments",
    metadata,
    Column("experiment", String, primary_key=True),
    Column("begins_at", String, primary_key=True),  # an assignment's time
    Column("ends_at", String, nullable=False),  # the first one that is not in it any more
    Column("version", String, nullable=False),  # of what is in the summary
    Column("maker", String, nullable=False),
    Column("summary", LargeBinary),  # JSON; null while it is being made
)


def _keep_sums(_target: MetaData, connection: Connection, **_: object) -> None:
    dialect = connection.dialect.name
    for statement in (*triggers(dialect), *segment_triggers(dialect), *ruling_triggers(dialect)):
        connection.exec_driver_sql(statement)


def _narrow_indices(_target: MetaData, connection: Connection, **_: object) -> None:
    """What SQLite's indices leave out, PostgreSQL's do too. Said here, because to name another database's options
    in a table loads all that SQLAlchemy knows of it, at every start."""
    if connection.dialect.name == "postgresql":
        for index in (index for table in metadata.tables.values() for index in table.indexes):
            if "sqlite_where" in index.dialect_kwargs:
                index.dialect_kwargs["postgresql_where"] = index.dialect_kwargs["sqlite_where"]


event.listen(metadata, "before_create", _narrow_indices)
event.listen(metadata, "after_create", _keep_sums)

# Requests that have begun; what a gateway leaves here when it dies is closed by the next one. `row` is the turn so far.
begun = Table(
    "begun",
    metadata,
    Column("request_id", String, primary_key=True),
    Column("owner", String, nullable=False),
    Column("row", JSON, nullable=False),
)

# What PostgreSQL lacks of the local file: `kind` is a table's name, `key` its primary key as JSON; `queued_at` in
# seconds since 1970.
outbox = Table(
    "outbox",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("kind", String, nullable=False),
    Column("key", String, nullable=False),
    Column("queued_at", Float, nullable=False),
    sqlite_autoincrement=True,
)

# What was said, sealed by `gateway.ledger.sealing`.
contents = Table(
    "contents",
    metadata,
    Column("request_id", String, primary_key=True),
    Column("conversation_id", String, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index("contents_by_conversation", "conversation_id"),
)

# What was erased in PostgreSQL, for the gateways to erase in their own files too.
erasures = Table(
    "erasures",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", String, nullable=False),  # conversation or user
    Column("value", String, nullable=False),  # the conversation's id, or the user's hash
    Column("erased_at", String, nullable=False),
    sqlite_autoincrement=True,
)

# Limits that several gateways hold together. A slice is what they took from a meter's window, or were lent of it, and
# counts until a whole period after `ends`; times are seconds since 1970 by the database's clock.
limit_meters = Table(
    "limit_meters",
    metadata,
    Column("meter", String, primary_key=True),
    Column("asked", Integer, nullable=False),  # its row is locked while the meter's slices are changed
)

limit_slices = Table(
    "limit_slices",
    metadata,
    Column("meter", String, primary_key=True),
    Column("ends", Float, primary_key=True),
    Column("amount", Float, nullable=False),
)

limit_gateways = Table(
    "limit_gateways",
    metadata,
    Column("gateway", String, primary_key=True),
    Column("seen_at", Float, nullable=False),
)

ledger_meta = Table(
    "ledger_meta",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", String, nullable=False),
)
