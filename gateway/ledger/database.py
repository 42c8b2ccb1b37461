"""Opening the ledger's SQLite file."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import NullPool

from gateway.errors import ConfigError
from gateway.ledger.schema import SCHEMA_VERSION, metadata

BUSY_TIMEOUT_S = 10.0


def open_database(path: Path) -> Engine:
    """Open the file, making it and its tables when they are missing.

    Write-ahead logging lets readers and the writer go on beside each other; `synchronous=FULL` makes a commit wait
    for the disk (https://www.sqlite.org/pragma.html#pragma_synchronous).

    Raises:
        ConfigError: the folder or file cannot be written, is no SQLite database, or is of a newer gattway.
    """
    path = path.absolute()
    if not path.parent.is_dir():
        raise ConfigError(f"ledger.path: the folder {path.parent} does not exist; make it or choose another path")
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool, connect_args={"timeout": BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _prepare)
    try:
        with engine.begin() as connection:
            version = connection.execute(text("PRAGMA user_version")).scalar_one()
            if version > SCHEMA_VERSION:
                raise ConfigError(
                    f"ledger.path: {path} has schema version {version}, this gattway knows {SCHEMA_VERSION}; "
                    "upgrade gattway or choose another path"
                )
            metadata.create_all(connection)
            connection.execute(text(f"PRAGMA user_version = {SCHEMA_VERSION}"))
    except DatabaseError as error:
        hint = "" if os.access(path.parent, os.W_OK) else "; the folder is not writable"
        raise ConfigError(f"ledger.path: {path} cannot be used as a ledger ({error.orig}){hint}") from None
    return engine


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
