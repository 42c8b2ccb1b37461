"""The ledger's tables, in SQLAlchemy Core."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Float, Index, Integer, MetaData, String, Table

SCHEMA_VERSION = 1

metadata = MetaData()

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
    Column("reasoning_tokens", Integer),
    Column("usage_source", String),
    Column("instruction_tokens", Integer),
    Column("repeated_instruction_tokens", Integer),
    Column("counterfactual_prompt_tokens", JSON(none_as_null=True)),
    Column("context_window", Integer),
    Column("context_used", Integer),
    Column("context_headroom_turns", Integer),
    Column("cost_usd", Float),
    Column("cost_input_usd", Float),
    Column("cost_cached_usd", Float),
    Column("cost_output_usd", Float),
    Column("price_source", String),
    Column("ttft_ms", Float),
    Column("duration_ms", Float),
    Column("overhead_ms", Float),
    Column("adherent", Boolean),
    Column("adherence_source", String),
    Column("key_name", String),
    Column("auxiliary", String),
    Column("attempts", Integer, nullable=False),
    Column("fallback_for", String),
    Column("history_hash", String),
    Column("answered_hash", String),
    Index("turns_by_conversation", "conversation_id", "started_at"),
    Index("turns_by_start", "started_at"),
    Index("turns_by_history", "history_hash"),
    Index("turns_by_answer", "answered_hash"),
    Index("turns_by_parent", "parent_request_id"),
)

assignments = Table(
    "assignments",
    metadata,
    Column("conversation_id", String, primary_key=True),
    Column("experiment", String, primary_key=True),
    Column("key_name", String, primary_key=True),  # empty without keys
    Column("arm", String, nullable=False),
    Column("assigned_at", String, nullable=False),
)
