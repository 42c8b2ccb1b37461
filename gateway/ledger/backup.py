"""Back-up and restoring, while the gateway runs.

SQLite: the online backup API, one consistent file that is a ledger itself. PostgreSQL: a zip archive with a CSV file
for each table, taken from one snapshot (COPY), and a manifest. What can be added up anew, and what belongs to one
gateway alone, is left out.
"""

from __future__ import annotations

import json
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from sqlalchemy import Connection, Engine, Table, func, inspect, select, text

from gateway.errors import ConfigError, LedgerError
from gateway.ledger.migrate import read_schema, require_shared, upgrade_shared
from gateway.ledger.rollups import drop_triggers, rebuild, triggers
from gateway.ledger.schema import begun, conversations, ledger_meta, metadata, outbox, report_segments, turns

_FORMAT = "gattway-ledger"
_MANIFEST = "manifest.json"
_LEFT_OUT = (conversations, report_segments, begun, outbox, ledger_meta)


def backup_file(ledger: Path, out: Path) -> None:
    """Copy a SQLite ledger, in whatever state it is, into the file `out`.

    Raises:
        LedgerError: either cannot be read or written.
    """
    try:
        with closing(_reading(ledger)) as source, closing(sqlite3.connect(out)) as target:
            source.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
    except sqlite3.Error as error:
        raise LedgerError(f"{ledger} cannot be backed up to {out}: {error}") from None


def restore_file(backup: Path, ledger: Path) -> None:
    """Put a back-up in the place of a SQLite ledger.

    Raises:
        ConfigError: a gateway uses the ledger.
        LedgerError: the back-up is none, or the ledger cannot be written.
    """
    for lock in sorted(ledger.parent.glob(f"{ledger.name}-gateway-*")):
        try:
            FileLock(lock).acquire(timeout=0).lock.release()
        except Timeout:
            raise ConfigError(f"a gateway uses {ledger}; stop it first") from None
    try:
        with closing(_reading(backup)) as source:
            if source.execute("SELECT count(*) FROM sqlite_master WHERE name = 'turns'").fetchone() != (1,):
                raise LedgerError(f"{backup} holds no ledger")
            with closing(sqlite3.connect(ledger)) as target:
                source.backup(target)
    except sqlite3.Error as error:
        raise LedgerError(f"{backup} cannot be restored to {ledger}: {error}") from None


def backup_shared(engine: Engine, out: Path) -> dict[str, int]:
    """Write the archive; gives the number of rows of each table.

    Raises:
        SQLAlchemyError: the database does not answer.
        OSError: the file cannot be written.
    """
    counts: dict[str, int] = {}
    with engine.connect() as connection, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive:
        require_shared(connection)
        connection.rollback()
        connection = connection.execution_options(isolation_level="REPEATABLE READ")
        columns = {}
        for table in _kept():
            columns[table.name] = _columns(connection, table)
            counts[table.name] = connection.execute(select(func.count()).select_from(table)).scalar_one()
            with archive.open(f"{table.name}.csv", "w", force_zip64=True) as file:
                for block in _copied(connection, table.name, columns[table.name]):
                    file.write(block)
        manifest = {
            "format": _FORMAT,
            "schema_version": 1,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "revision": read_schema(connection).revision,
            "columns": columns,
            "rows": counts,
        }
        archive.writestr(_MANIFEST, json.dumps(manifest, indent=2))
    return counts


def restore_shared(backup: Path, engine: Engine) -> dict[str, int]:
    """Fill an empty database from the archive, in one transaction; gives the number of rows of each table.

    Raises:
        LedgerError: the archive is none, or the database holds turns.
        ConfigError: a later gattway made the archive.
        SQLAlchemyError: the database does not answer.
    """
    try:
        archive = zipfile.ZipFile(backup)
        manifest = json.loads(archive.read(_MANIFEST))
        if manifest["format"] != _FORMAT:
            raise KeyError(_FORMAT)
    except (zipfile.BadZipFile, KeyError, ValueError):
        raise LedgerError(f"{backup} is no back-up of a shared ledger") from None
    upgrade_shared(engine)
    with archive, engine.begin() as connection:
        if connection.execute(select(turns.c.request_id).limit(1)).first() is not None:
            raise LedgerError("the database holds turns already; restore into an empty one")
        _refuse_unknown(connection, manifest["columns"])
        for statement in drop_triggers("postgresql"):
            connection.execute(text(statement))
        for name, columns in manifest["columns"].items():
            _fill(connection, archive, name, columns)
        rebuild(connection)
        for statement in triggers("postgresql"):
            connection.exec_driver_sql(statement)
        connection.execute(
            text("SELECT setval(pg_get_serial_sequence('erasures', 'id'), coalesce(max(id), 0) + 1) FROM erasures")
        )
    rows: dict[str, int] = manifest["rows"]
    return rows


def _reading(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def _kept() -> list[Table]:
    return [table for table in metadata.sorted_tables if table not in _LEFT_OUT]


def _columns(connection: Connection, table: Table) -> list[str]:
    """The database's own: a later gattway may have added some."""
    return [column["name"] for column in inspect(connection).get_columns(table.name)]


def _refuse_unknown(connection: Connection, columns: dict[str, list[str]]) -> None:
    for name, wanted in columns.items():
        known = _columns(connection, metadata.tables[name]) if name in metadata.tables else []
        if unknown := sorted(set(wanted) - set(known)):
            raise ConfigError(f"the back-up has {name}.{unknown[0]}, which this gattway does not know; upgrade gattway")


def _copied(connection: Connection, table: str, columns: list[str]) -> Iterator[bytes]:
    with _cursor(connection) as cursor, cursor.copy(_copy_out(table, columns)) as copy:
        for block in copy:
            yield bytes(block)


def _fill(connection: Connection, archive: zipfile.ZipFile, table: str, columns: list[str]) -> None:
    command = f'COPY "{table}" ({_names(columns)}) FROM STDIN (FORMAT csv, HEADER true)'
    with archive.open(f"{table}.csv") as file, _cursor(connection) as cursor, cursor.copy(command) as copy:
        while block := file.read(1 << 20):
            copy.write(block)


def _copy_out(table: str, columns: list[str]) -> str:
    """Of a query, for a table that is divided into partitions has no rows of its own."""
    return f'COPY (SELECT {_names(columns)} FROM "{table}") TO STDOUT (FORMAT csv, HEADER true)'


def _names(columns: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)


def _cursor(connection: Connection) -> Any:
    return connection.connection.cursor()
