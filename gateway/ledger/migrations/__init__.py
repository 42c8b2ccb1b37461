"""Alembic's migrations of the ledger, for SQLite and PostgreSQL alike (see docs/ledger.md)."""
