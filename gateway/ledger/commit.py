"""What one commit of the writer holds, and putting it into the file."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from operator import attrgetter
from typing import Any

import orjson
from sqlalchemy import JSON, Connection
from sqlalchemy.dialects.sqlite import insert

from gateway.errors import LedgerError
from gateway.ledger.amendments import Amendment
from gateway.ledger.records import COLUMNS, Allocation, Assignment, Turn
from gateway.ledger.schema import allocations, assignments, begun, contents, turns

# Written out, for these statements are on the way of every answer, and Core takes nearly twice as long for them.
_INSERT_TURNS = (
    f"INSERT INTO turns ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))}) ON CONFLICT DO NOTHING"
)
_INSERT_ASSIGNMENTS, _INSERT_CONTENTS, _INSERT_BEGUN = (
    f"INSERT INTO {table.name} ({', '.join(table.c.keys())}) VALUES ({', '.join('?' * len(table.c))}) "
    "ON CONFLICT DO NOTHING"
    for table in (assignments, contents, begun)
)
_DELETE_BEGUN = "DELETE FROM begun WHERE request_id = ?"
_values_of_assignment = attrgetter(*assignments.c.keys())
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
        """Let who waits go on; in the loop's own thread."""
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)


def settle_all(items: Sequence[Item], error: LedgerError | None) -> None:
    """Let all who wait go on, from whatever thread: each loop is woken once, for that costs more than the rest."""
    loops = {item.loop for item in items}
    for loop in loops:
        loop.call_soon_threadsafe(_settle, [item for item in items if item.loop is loop], error)


def _settle(items: Sequence[Item], error: LedgerError | None) -> None:
    for item in items:
        item.settle(error)


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
        dealt = [_values_of_assignment(item.assignment) for item in self.items if item.assignment is not None]
        if dealt:
            connection.exec_driver_sql(_INSERT_ASSIGNMENTS, dealt)
        said = [
            (item.row.request_id, item.row.conversation_id, item.sealed)
            for item in self.items
            if item.row is not None and item.sealed is not None
        ]
        if said:
            connection.exec_driver_sql(_INSERT_CONTENTS, said)
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
            connection.exec_driver_sql(_DELETE_BEGUN, [(request_id,) for request_id in self.noted])
        if self.notes:
            notes = [
                (row.request_id, self.owner, orjson.dumps(row.as_dict(), default=str).decode()) for row in self.notes
            ]
            connection.exec_driver_sql(_INSERT_BEGUN, notes)
