"""What the shared database lacks of this gateway's file.

Triggers note every row that is written or changed in the tables that gateways share, in the same transaction as the row
itself; whatever writes, nothing is left out. The triggers are there only while a shared database is configured; when it
is configured anew, everything that the file holds is noted once.
"""

from __future__ import annotations

from sqlalchemy import Connection, Engine, Table, func, select, text

from gateway.ledger.schema import allocations, assignments, contents, feedback, ledger_meta, outbox, turns, verdicts

_TABLES = (turns, assignments, contents, verdicts, feedback, allocations)
SHARED: dict[str, Table] = {table.name: table for table in _TABLES}
"""Tables that gateways share, in the order in which their rows go."""

_MARK = "outbox"
_NOW = "(julianday('now') - 2440587.5) * 86400"


def switch_on(engine: Engine) -> None:
    """Note from now on what is written, and once what is there; under the write lock, for workers start together."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("BEGIN IMMEDIATE"))
        for name, table in SHARED.items():
            for change in ("insert", "update"):
                note = f"INSERT INTO outbox (kind, key, queued_at) VALUES ('{name}', {_key(table, 'NEW.')}, {_NOW})"
                trigger = f"CREATE TRIGGER IF NOT EXISTS {name}_shipped_on_{change} AFTER {change.upper()} ON {name}"
                connection.execute(text(f"{trigger} BEGIN {note}; END"))
        if _marked(connection):
            connection.execute(text("UPDATE outbox SET kind = substr(kind, 9) WHERE kind LIKE 'refused:%'"))
        else:
            _note_everything(connection)
        connection.execute(text("COMMIT"))


def switch_off(engine: Engine) -> None:
    """Note nothing any more, and forget what was noted."""
    with engine.connect() as connection:
        if not _marked(connection):
            return
    with engine.begin() as connection:
        for name in SHARED:
            for change in ("insert", "update"):
                connection.execute(text(f"DROP TRIGGER IF EXISTS {name}_shipped_on_{change}"))
        connection.execute(outbox.delete())
        connection.execute(ledger_meta.delete().where(ledger_meta.c.name == _MARK))


def waiting(connection: Connection) -> tuple[int, float | None]:
    """How many rows wait, and since when the first of them does (seconds since 1970); a look at both ends only."""
    first, last = connection.execute(select(func.min(outbox.c.seq), func.max(outbox.c.seq))).one()
    if first is None:
        return 0, None
    since = connection.execute(select(outbox.c.queued_at).where(outbox.c.seq == first)).scalar_one_or_none()
    return last - first + 1, since


def _note_everything(connection: Connection) -> None:
    for name, table in SHARED.items():
        connection.execute(
            text(f"INSERT INTO outbox (kind, key, queued_at) SELECT '{name}', {_key(table)}, {_NOW} FROM {name}")
        )
    connection.execute(ledger_meta.insert().values(name=_MARK, value="on"))


def _marked(connection: Connection) -> bool:
    return connection.execute(select(ledger_meta.c.value).where(ledger_meta.c.name == _MARK)).first() is not None


def _key(table: Table, row: str = "") -> str:
    return f"json_array({', '.join(f'{row}{column.name}' for column in table.primary_key)})"
