"""Deleting for good: a conversation or a user, from every table that knows of them.

What is erased in the shared database is noted in it, for every gateway to erase in its own file too. SQLite overwrites
what it deletes (`secure_delete`) and empties the write-ahead log afterwards, so nothing is left in the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Engine, delete, func, insert, select, text
from sqlalchemy.sql import ColumnElement

from gateway.ledger.schema import begun, erasures, ledger_meta, metadata, outbox, turns

CONVERSATION, USER = "conversation", "user"
NOTED_DAYS = 90
"""How long the shared database says what was erased: a gateway that is away for longer has to be erased by hand."""

_MARK = "erasures"
_AT_ONCE = 400


def erase(engine: Engine, kind: str, values: Sequence[str]) -> int:
    """Erase the conversation of that id, or every conversation in which the user of that hash took part.

    Args:
        kind: `conversation` or `user`.
        values: ids of conversations, or hashes of one user under each of the ledger's keys.

    Returns:
        How many conversations are gone.
    """
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            connection.execute(text("PRAGMA secure_delete = ON"))
            connection.commit()
        with connection.begin():
            ids = _erase(connection, kind, values)
            if connection.dialect.name == "postgresql":
                _note(connection, [(kind, value) for value in values])
                if kind == USER:  # a gateway may hold feedback on a conversation of which it has no turn
                    _note(connection, [(CONVERSATION, one) for one in ids])
    _empty_log(engine)
    return len(ids)


def apply_erasures(shared: Connection, local: Engine) -> None:
    """Erase here what was erased in the shared database since the last look."""
    with local.connect() as connection:
        mark = connection.execute(select(ledger_meta.c.value).where(ledger_meta.c.name == _MARK)).scalar_one_or_none()
    with shared.begin():
        if mark is None:
            new, last = [], shared.execute(select(func.max(erasures.c.id))).scalar_one_or_none() or 0
        else:
            new = list(shared.execute(select(erasures).where(erasures.c.id > int(mark)).order_by(erasures.c.id)))
            last = new[-1].id if new else int(mark)
    for one in new:
        erase(local, one.kind, [one.value])
    if mark is None or new:
        with local.begin() as connection:
            connection.execute(delete(ledger_meta).where(ledger_meta.c.name == _MARK))
            connection.execute(insert(ledger_meta).values(name=_MARK, value=str(last)))


def delete_conversations(connection: Connection, ids: Sequence[str]) -> None:
    """Delete every row of these conversations, in whatever table it is."""
    for start in range(0, len(ids), _AT_ONCE):
        some = ids[start : start + _AT_ONCE]
        requests = select(turns.c.request_id).where(turns.c.conversation_id.in_(some))
        for table in metadata.sorted_tables:
            if "conversation_id" in table.c and table is not turns:
                connection.execute(delete(table).where(table.c.conversation_id.in_(some)))
            elif "request_id" in table.c and table is not turns:
                connection.execute(delete(table).where(table.c.request_id.in_(requests)))
        if connection.dialect.name == "sqlite":
            connection.execute(delete(begun).where(_within(begun.c.row, "$.conversation_id").in_(some)))
            connection.execute(delete(outbox).where(_within(outbox.c.key, "$[0]").in_(some)))
        connection.execute(delete(turns).where(turns.c.conversation_id.in_(some)))


def _erase(connection: Connection, kind: str, values: Sequence[str]) -> list[str]:
    """Gives the conversations of which there were turns."""
    column = {CONVERSATION: turns.c.conversation_id, USER: turns.c.user_hash}[kind]
    ids = list(connection.execute(select(turns.c.conversation_id).where(column.in_(values)).distinct()).scalars())
    delete_conversations(connection, values if kind == CONVERSATION else ids)
    return ids


def _note(connection: Connection, erased: Sequence[tuple[str, str]]) -> None:
    """Leave word for the gateways, and forget what all of them have had the time to read."""
    now = datetime.now(UTC)
    connection.execute(delete(erasures).where(erasures.c.erased_at < _iso(now - timedelta(NOTED_DAYS))))
    if erased:
        noted = [{"kind": kind, "value": value, "erased_at": _iso(now)} for kind, value in erased]
        connection.execute(insert(erasures), noted)


def _within(column: ColumnElement[object], path: str) -> ColumnElement[str]:
    return func.json_extract(column, path)


def _empty_log(engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="microseconds")
