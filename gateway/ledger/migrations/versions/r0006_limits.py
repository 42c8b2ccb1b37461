"""Limits that several gateways hold together."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add tables that earlier versions know nothing of and need nothing of."""
    op.create_table(
        "limit_meters",
        sa.Column("meter", sa.String, primary_key=True),
        sa.Column("asked", sa.Integer, nullable=False),
    )
    op.create_table(
        "limit_slices",
        sa.Column("meter", sa.String, primary_key=True),
        sa.Column("ends", sa.Float, primary_key=True),
        sa.Column("amount", sa.Float, nullable=False),
    )
    op.create_table(
        "limit_gateways",
        sa.Column("gateway", sa.String, primary_key=True),
        sa.Column("seen_at", sa.Float, nullable=False),
    )
