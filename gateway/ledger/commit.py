"""What one commit of the writer holds, and putting it into the file."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson
from sqlalchemy import JSON, Connection, delete
from sqlalchemy.dialects.sqlite import insert

from gateway.errors import LedgerError
from gateway.ledger.amendments import Amendment
from gateway.ledger.records import COLUMNS, Allocation, Assignment, Turn
from gateway.ledger.schema import allocations, assignments, begun, contents, turns

# Written out, for this is the one statement on the way of every answer, and Core takes nearly twice as long for it.
_INSERT_TURNS = (
    f"INSERT INTO turns ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))}) ON CONFLICT DO NOTHING"
)
_NESTED = frozenset(column.name for column in turns.columns if isinstance(column.type, JSON))


def _values(row: Turn) -> tuple[Any, ...]:
    """A turn as SQLite takes it: nested columns as JSON text."""
    return tuple(
        orjson.dumps(value).decode() if name in _NESTED and value is not None else value
        for name in COLUMNS
        for value in (getattr(row, name),)
    )


@dataclass(slots=True)
class Item:
    """A turn that has ended, or something said of earlier ones, and who waits for it to be on disk."""

    row: Turn | None
    assignment: Assignment | None
    sealed: bytes | None
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]
    amendment: Amendment | Allocation | None = None
    since: float = field(default_factory=time.monotonic)

    def settle(self, error: LedgerError | None) -> None:
        """Let who waits go on, from whatever thread."""
        self.loop.call_soon_threadsafe(self._resolve, error)

    def _resolve(self, error: LedgerError | None) -> None:
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)


@dataclass(frozen=True, slots=True)
class Group:
    """One transaction: what has ended, notes of what has begun, and the requests whose notes are to go."""

    items: Sequence[Item]
    notes: Sequence[Turn]
    noted: Sequence[str]
    owner: str

    def apply(self, connection: Connection) -> None:
        """Write it all; the caller commits."""
        rows = [item.row for item in self.items if item.row is not None]
        if rows:
            connection.exec_driver_sql(_INSERT_TURNS, [_values(row) for row in rows])
        dealt = [asdict(item.assignment) for item in self.items if item.assignment is not None]
        if dealt:
            connection.execute(insert(assignments).on_conflict_do_nothing(), dealt)
        said = [
            {"request_id": item.row.request_id, "conversation_id": item.row.conversation_id, "sealed": item.sealed}
            for item in self.items
            if item.row is not None and item.sealed is not None
        ]
        if said:
            connection.execute(insert(contents).on_conflict_do_nothing(), said)
        self._amend(connection)
        self._note(connection)

    def _amend(self, connection: Connection) -> None:
        for item in self.items:
            if isinstance(item.amendment, Amendment):
                item.amendment.apply(connection)
            elif item.amendment is not None:
                connection.execute(insert(allocations).on_conflict_do_nothing(), asdict(item.amendment))

    def _note(self, connection: Connection) -> None:
        if self.noted:
            connection.execute(delete(begun).where(begun.c.request_id.in_(self.noted)))
        if self.notes:
            notes = [{"request_id": row.request_id, "owner": self.owner, "row": row.as_dict()} for row in self.notes]
            connection.execute(insert(begun).on_conflict_do_nothing(), notes)
