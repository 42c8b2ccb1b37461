"""Cache writes, prices, where figures come from, and what other strategies would have taken."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns."""
    for name in ("cache_write_tokens", "counted_prompt_tokens", "context_headroom_tokens"):
        op.add_column("turns", sa.Column(name, sa.Integer))
    for name in ("figure_sources", "counterfactual_cached_tokens", "counterfactual_cost_usd", "prices"):
        op.add_column("turns", sa.Column(name, sa.JSON(none_as_null=True)))
    for name in ("cost_cache_write_usd", "cost_reasoning_usd"):
        op.add_column("turns", sa.Column(name, sa.Float))
    op.add_column("turns", sa.Column("cache_rule", sa.String))
