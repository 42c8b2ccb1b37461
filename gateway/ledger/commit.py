"""What one commit of the writer holds, and putting it into the file."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from itertools import chain
from operator import attrgetter
from typing import Any

import orjson
from sqlalchemy import JSON, Connection
from sqlalchemy.dialects.sqlite import insert

from gateway.errors import LedgerError
from gateway.ledger.amendments import Amendment
from gateway.ledger.records import COLUMNS, Allocation, Assignment, Turn
from gateway.ledger.schema import allocations, assignments, metadata, turns

# Written out and given to the driver, for these statements are on the way of every answer: through SQLAlchemy a commit
# of four rows takes a fifth more.
_DELETE_BEGUN = "DELETE FROM begun WHERE request_id = ?"
AT_ONCE = 16
"""Rows in a statement: the thread lets the event loop go on at each statement, and waits until it gives way again."""
_values_of_assignment = attrgetter(*assignments.c.keys())
_values_of_turn = attrgetter(*COLUMNS)
_NESTED = tuple(place for place, column in enumerate(turns.columns) if isinstance(column.type, JSON))


def _values(row: Turn) -> list[Any]:
    """A turn as SQLite takes it: nested columns as JSON text."""
    values = list(_values_of_turn(row))
    for place in _NESTED:
        if values[place] is not None:
            values[place] = orjson.dumps(values[place]).decode()
    return values


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

    def commit(self, connection: Connection) -> None:
        """Write it all in one transaction.

        Raises:
            sqlite3.Error: the file refuses it; SQLAlchemyError: it refuses an amendment.
        """
        raw = connection.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        if any(item.amendment is not None for item in self.items):
            with connection.begin():
                self._write(raw)
                self._amend(connection)
        else:
            with raw:
                self._write(raw)

    def _write(self, raw: sqlite3.Connection) -> None:
        _insert(raw, "turns", [_values(item.row) for item in self.items if item.row is not None])
        dealt = [_values_of_assignment(item.assignment) for item in self.items if item.assignment is not None]
        _insert(raw, "assignments", dealt)
        said = [
            (item.row.request_id, item.row.conversation_id, item.sealed)
            for item in self.items
            if item.row is not None and item.sealed is not None
        ]
        _insert(raw, "contents", said)
        self._note(raw)

    def _amend(self, connection: Connection) -> None:
        for item in self.items:
            if isinstance(item.amendment, Amendment):
                item.amendment.apply(connection)
            elif item.amendment is not None:
                connection.execute(insert(allocations).on_conflict_do_nothing(), asdict(item.amendment))

    def _note(self, connection: sqlite3.Connection) -> None:
        if self.noted:
            connection.executemany(_DELETE_BEGUN, [(request_id,) for request_id in self.noted])
        notes = [(row.request_id, self.owner, orjson.dumps(row.as_dict(), default=str).decode()) for row in self.notes]
        _insert(connection, "begun", notes)


def _insert(connection: sqlite3.Connection, table: str, rows: Sequence[Sequence[Any]]) -> None:
    """Rows as SQLite takes them, every column in the schema's order; those that are there already stay as they are."""
    for start in range(0, len(rows), AT_ONCE):
        some = rows[start : start + AT_ONCE]
        connection.execute(_statement(table, len(some)), tuple(chain.from_iterable(some)))


@cache
def _statement(table: str, rows: int) -> str:
    columns = metadata.tables[table].c.keys()
    values = ", ".join([f"({', '.join('?' * len(columns))})"] * rows)
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {values} ON CONFLICT DO NOTHING"
