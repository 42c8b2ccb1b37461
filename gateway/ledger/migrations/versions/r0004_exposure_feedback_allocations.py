"""Exposure, what is left out of the statistics and why, completion ids, feedback, allocations."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns and tables."""
    for name in ("completion_id", "excluded", "shadow_of"):
        op.add_column("turns", sa.Column(name, sa.String))
    op.create_index("turns_by_completion", "turns", ["completion_id"])
    op.create_index("turns_by_experiment", "turns", ["experiment", "conversation_id", "turn"])
    op.add_column("assignments", sa.Column("policy", sa.String, nullable=False, server_default="fixed"))
    op.add_column("assignments", sa.Column("propensity", sa.Float))
    for name in ("weights", "excluded"):
        op.add_column("assignments", sa.Column(name, sa.String))
    for name in ("turn", "instruction_chars", "prompt_chars"):
        op.add_column("assignments", sa.Column(name, sa.Integer))
    op.create_index("assignments_by_experiment", "assignments", ["experiment", "arm"])
    op.create_table(
        "feedback",
        sa.Column("feedback_id", sa.String, primary_key=True),
        sa.Column("conversation_id", sa.String, nullable=False),
        sa.Column("request_id", sa.String),
        sa.Column("key_name", sa.String),
        sa.Column("given_at", sa.String, nullable=False),
        sa.Column("adherent", sa.Boolean),
        sa.Column("score", sa.Float),
        sa.Column("comment", sa.String),
    )
    op.create_index("feedback_by_conversation", "feedback", ["conversation_id"])
    op.create_table(
        "allocations",
        sa.Column("allocation_id", sa.String, primary_key=True),
        sa.Column("experiment", sa.String, nullable=False),
        sa.Column("changed_at", sa.String, nullable=False),
        sa.Column("weights", sa.String, nullable=False),
        sa.Column("coverage", sa.Float, nullable=False),
        sa.Column("configured", sa.String, nullable=False),
    )
    op.create_index("allocations_by_experiment", "allocations", ["experiment", "changed_at"])
