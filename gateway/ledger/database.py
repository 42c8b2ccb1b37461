"""Opening the ledger's SQLite file."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Literal

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import NullPool, QueuePool

from gateway.errors import ConfigError
from gateway.ledger.migrate import read_schema, upgrade_one

BUSY_TIMEOUT_S = 10.0

Durability = Literal["full", "relaxed"]


def open_database(path: Path, durability: Durability = "full", *, pooled: bool = False) -> Engine:
    """Open the file, making it and its tables when they are missing, and bringing older ones up to date.

    Write-ahead logging lets readers and the writer go on beside each other. `full` makes a commit wait for the disk,
    `relaxed` for the operating system (https://www.sqlite.org/pragma.html#pragma_synchronous). With `pooled`,
    connections are kept for the next question: to open one reads the whole schema, which takes longer than an answer.

    Raises:
        ConfigError: the folder or file cannot be written, is no SQLite database, or is of a newer gattway.
    """
    path = path.absolute()
    if not path.parent.is_dir():
        raise ConfigError(f"ledger.path: the folder {path.parent} does not exist; make it or choose another path")
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=QueuePool if pooled else NullPool,
        connect_args={"timeout": BUSY_TIMEOUT_S},
        hide_parameters=True,
    )
    synchronous = {"full": "FULL", "relaxed": "NORMAL"}[durability]

    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")

    event.listen(engine, "connect", prepare)
    try:
        _bring_up_to_date(engine, path)
    except DatabaseError as error:
        hint = "" if os.access(path.parent, os.W_OK) else "; the folder is not writable"
        raise ConfigError(f"ledger.path: {path} cannot be used as a ledger ({error.orig}){hint}") from None
    return engine


def _bring_up_to_date(engine: Engine, path: Path) -> None:
    """A revision at a time, under SQLite's write lock: several gateways may open the same file at the same moment."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        schema = read_schema(connection)
        schema.refuse_newer(f"ledger.path: {path}")
        if schema.is_current:
            return
        more = True
        while more:
            connection.execute(text("BEGIN IMMEDIATE"))
            more = upgrade_one(connection)
            connection.execute(text("COMMIT"))
