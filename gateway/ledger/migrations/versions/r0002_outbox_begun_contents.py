"""Requests under way, the outbox, content, erasures, and whose turn it was."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add tables and a column that gattway 0.1 knows nothing of and needs nothing of."""
    op.add_column("turns", sa.Column("user_hash", sa.String))
    op.create_index("turns_by_user", "turns", ["user_hash"])
    op.create_table(
        "begun",
        sa.Column("request_id", sa.String, primary_key=True),
        sa.Column("owner", sa.String, nullable=False),
        sa.Column("row", sa.JSON, nullable=False),
    )
    op.create_table(
        "outbox",
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("key", sa.String, nullable=False),
        sa.Column("queued_at", sa.Float, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "contents",
        sa.Column("request_id", sa.String, primary_key=True),
        sa.Column("conversation_id", sa.String, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
    op.create_index("contents_by_conversation", "contents", ["conversation_id"])
    op.create_table(
        "erasures",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("value", sa.String, nullable=False),
        sa.Column("erased_at", sa.String, nullable=False),
        sqlite_autoincrement=True,
    )
    meta = op.create_table(
        "ledger_meta",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("value", sa.String, nullable=False),
    )
    op.bulk_insert(meta, [{"name": "generation", "value": "1"}])
