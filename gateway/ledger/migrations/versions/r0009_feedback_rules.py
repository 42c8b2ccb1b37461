"""Feedback given at one gateway rules the row that another one shipped: triggers, on PostgreSQL alone."""

from alembic import op

from gateway.ledger.ruling import ruling_triggers

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the triggers, and have them look at what there is."""
    connection = op.get_bind()
    for statement in ruling_triggers(connection.dialect.name):
        connection.exec_driver_sql(statement)
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("UPDATE feedback SET adherent = adherent WHERE adherent IS NOT NULL")
