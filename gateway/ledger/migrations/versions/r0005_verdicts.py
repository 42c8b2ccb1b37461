"""What each source says of an answer's adherence."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a table that earlier versions know nothing of and need nothing of."""
    op.create_table(
        "verdicts",
        sa.Column("request_id", sa.String, primary_key=True),
        sa.Column("source", sa.String, primary_key=True),
        sa.Column("experiment", sa.String, nullable=False),
        sa.Column("arm", sa.String, nullable=False),
        sa.Column("adherent", sa.Boolean),
        sa.Column("given_at", sa.String, nullable=False),
    )
    op.create_index("verdicts_by_experiment", "verdicts", ["experiment", "source"])
