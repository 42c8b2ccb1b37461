"""A conversation's sums, kept by triggers."""

import sqlalchemy as sa
from alembic import op

from gateway.ledger.rollups import rebuild, triggers

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SUMMED = (
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "instruction_tokens",
    "repeated_instruction_tokens",
    "cost_usd",
)


def upgrade() -> None:
    """Make the table, have triggers keep it, and add up what there is."""
    op.create_table(
        "conversations",
        sa.Column("conversation_id", sa.String, primary_key=True),
        sa.Column("key_name", sa.String, primary_key=True),
        *(sa.Column(name, sa.String) for name in ("identity_source", "experiment", "arm", "strategy", "model")),
        sa.Column("turn_count", sa.Integer, nullable=False),
        sa.Column("requests", sa.Integer, nullable=False),
        sa.Column("started_at", sa.String, nullable=False),
        sa.Column("last_at", sa.String, nullable=False),
        *(sa.Column(name, sa.Float if name == "cost_usd" else sa.BigInteger) for name in SUMMED),
        *(sa.Column(name, sa.Integer, nullable=False) for name in ("failed", "excluded", "judged", "adherent")),
        sa.Column("drifted_at", sa.Integer),
    )
    op.create_index("conversations_by_start", "conversations", ["started_at", "conversation_id", "key_name"])
    op.create_index(
        "conversations_by_arm", "conversations", ["experiment", "arm", "started_at", "conversation_id", "key_name"]
    )
    op.create_index("conversations_by_last", "conversations", ["last_at"])
    connection = op.get_bind()
    for statement in triggers(connection.dialect.name, SUMMED):
        connection.exec_driver_sql(statement)
    rebuild(connection, SUMMED)  # after the triggers, which keep the gateways beside from writing until it is committed
