"""The ledger of gattway 0.1: turns and assignments."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "turns",
        sa.Column("request_id", sa.String, primary_key=True),
        sa.Column("conversation_id", sa.String, nullable=False),
        sa.Column("identity_source", sa.String, nullable=False),
        sa.Column("parent_request_id", sa.String),
        sa.Column("experiment", sa.String),
        sa.Column("arm", sa.String),
        sa.Column("forced", sa.Boolean, nullable=False),
        sa.Column("strategy", sa.String, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("upstream", sa.String, nullable=False),
        sa.Column("turn", sa.Integer, nullable=False),
        sa.Column("started_at", sa.String, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("finish_reason", sa.String),
        sa.Column("http_status", sa.Integer),
        sa.Column("error_code", sa.String),
        sa.Column("prompt_tokens", sa.Integer),
        sa.Column("completion_tokens", sa.Integer),
        sa.Column("cached_tokens", sa.Integer),
        sa.Column("reasoning_tokens", sa.Integer),
        sa.Column("usage_source", sa.String),
        sa.Column("instruction_tokens", sa.Integer),
        sa.Column("repeated_instruction_tokens", sa.Integer),
        sa.Column("counterfactual_prompt_tokens", sa.JSON(none_as_null=True)),
        sa.Column("context_window", sa.Integer),
        sa.Column("context_used", sa.Integer),
        sa.Column("context_headroom_turns", sa.Integer),
        sa.Column("cost_usd", sa.Float),
        sa.Column("cost_input_usd", sa.Float),
        sa.Column("cost_cached_usd", sa.Float),
        sa.Column("cost_output_usd", sa.Float),
        sa.Column("price_source", sa.String),
        sa.Column("ttft_ms", sa.Float),
        sa.Column("duration_ms", sa.Float),
        sa.Column("overhead_ms", sa.Float),
        sa.Column("adherent", sa.Boolean),
        sa.Column("adherence_source", sa.String),
        sa.Column("key_name", sa.String),
        sa.Column("auxiliary", sa.String),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("fallback_for", sa.String),
        sa.Column("history_hash", sa.String),
        sa.Column("answered_hash", sa.String),
    )
    op.create_index("turns_by_conversation", "turns", ["conversation_id", "started_at"])
    op.create_index("turns_by_start", "turns", ["started_at"])
    op.create_index("turns_by_history", "turns", ["history_hash"])
    op.create_index("turns_by_answer", "turns", ["answered_hash"])
    op.create_index("turns_by_parent", "turns", ["parent_request_id"])
    op.create_table(
        "assignments",
        sa.Column("conversation_id", sa.String, primary_key=True),
        sa.Column("experiment", sa.String, primary_key=True),
        sa.Column("key_name", sa.String, primary_key=True),
        sa.Column("arm", sa.String, nullable=False),
        sa.Column("assigned_at", sa.String, nullable=False),
    )
