"""Indices that no query needs are dropped, that of users leaves out the rows without one, and SQLite's triggers leave
the indices of a conversation's sums alone where a turn changes nothing in them."""

import sqlalchemy as sa
from alembic import op

from gateway.ledger.rollups import drop_triggers, triggers

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

DROPPED = {
    "turns_by_history": "turns",
    "turns_by_experiment": "turns",
    "assignments_by_experiment": "assignments",
    "conversations_by_last": "conversations",
}


def upgrade() -> None:
    """Nothing that the versions before read or write goes; of what they ask, a bandit's tally takes longer."""
    for name, table in DROPPED.items():
        op.drop_index(name, table)
    known = sa.text("user_hash IS NOT NULL")
    op.drop_index("turns_by_user", "turns")
    op.create_index("turns_by_user", "turns", ["user_hash"], sqlite_where=known, postgresql_where=known)
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        for statement in (*drop_triggers("sqlite"), *triggers("sqlite")):
            connection.exec_driver_sql(statement)
