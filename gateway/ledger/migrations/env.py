"""What Alembic runs: the revisions, over the connection that `gateway.ledger.migrate` hands in."""

from alembic import context

from gateway.ledger.schema import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, transaction_per_migration=False
)
with context.begin_transaction():
    context.run_migrations()
