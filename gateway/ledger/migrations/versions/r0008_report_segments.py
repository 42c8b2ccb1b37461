"""Summaries that a report reads instead of the rows; triggers drop what is out of date."""

import sqlalchemy as sa
from alembic import op

from gateway.ledger.segments import segment_triggers

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a table and two indices; the first report fills the table."""
    op.create_table(
        "report_segments",
        sa.Column("experiment", sa.String, primary_key=True),
        sa.Column("begins_at", sa.String, primary_key=True),
        sa.Column("ends_at", sa.String, nullable=False),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("maker", sa.String, nullable=False),
        sa.Column("summary", sa.LargeBinary),
    )
    op.create_index("assignments_by_time", "assignments", ["experiment", "assigned_at"])
    left_out = sa.text("excluded IS NOT NULL")
    op.create_index(
        "turns_left_out",
        "turns",
        ["experiment", "excluded", "conversation_id", "cost_usd"],
        sqlite_where=left_out,
        postgresql_where=left_out,
    )
    connection = op.get_bind()
    for statement in segment_triggers(connection.dialect.name):
        connection.exec_driver_sql(statement)
