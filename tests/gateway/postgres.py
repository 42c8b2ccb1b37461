"""A real PostgreSQL for the tests: the benchmarks' own."""

from benchmarks.postgres import Postgres, running_postgres

__all__ = ["Postgres", "running_postgres"]
