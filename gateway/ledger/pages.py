"""Conversations by the page: filtered, last begun first, from the sums that the database keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, and_, exists, func, literal, select, tuple_
from sqlalchemy.sql import ColumnElement

from gateway.errors import BadRequest, NotFound
from gateway.ledger.rollups import SUMMED
from gateway.ledger.schema import conversations, turns

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of one page, and whether more follow."""

    rows: list[Row]
    has_more: bool


@dataclass(frozen=True, slots=True)
class Filter:
    """Which conversations; None leaves open.

    `prefix` is how the id begins. The first turn is not before `since` and is before `until`, both from `moment`.
    `min_adherence` and `max_adherence` are shares of the turns that were judged;
    `drifted` says whether one of them did not adhere. `key_name` is empty for conversations without a key.
    """

    prefix: str | None = None
    experiment: str | None = None
    arm: str | None = None
    model: str | None = None
    key_name: str | None = None
    since: str | None = None
    until: str | None = None
    min_turns: int | None = None
    max_turns: int | None = None
    min_cost_usd: float | None = None
    max_cost_usd: float | None = None
    min_adherence: float | None = None
    max_adherence: float | None = None
    drifted: bool | None = None

    def of_conversations(self) -> ColumnElement[bool]:
        """The condition on rows of `conversations`."""
        table = conversations.c
        share = table.adherent * 1.0 / func.nullif(table.judged, 0)
        at_least = ((table.started_at, self.since), (table.turn_count, self.min_turns))
        figures = (*at_least, (table.cost_usd, self.min_cost_usd), (share, self.min_adherence))
        most = ((table.turn_count, self.max_turns), (table.cost_usd, self.max_cost_usd), (share, self.max_adherence))
        same = ("experiment", "arm", "model", "key_name")
        conditions = [
            *(table[name] == getattr(self, name) for name in same if getattr(self, name) is not None),
            *(column >= least for column, least in figures if least is not None),
            *(column <= limit for column, limit in most if limit is not None),
        ]
        if self.until is not None:
            conditions.append(table.started_at < self.until)
        if self.prefix:
            conditions.append(func.substr(table.conversation_id, 1, len(self.prefix)) == self.prefix)
        if self.drifted is not None:
            conditions.append(table.drifted_at.is_not(None) if self.drifted else table.drifted_at.is_(None))
        return and_(literal(True), *conditions)

    def of_turns(self) -> ColumnElement[bool]:
        """The condition on rows of `turns`: those of the conversations that are meant."""
        own = and_(
            conversations.c.conversation_id == turns.c.conversation_id,
            conversations.c.key_name == func.coalesce(turns.c.key_name, ""),
        )
        return exists().where(own, self.of_conversations())


def moment(text: str) -> str:
    """A time as the ledger writes it, from an ISO 8601 date or time; UTC where it names no other zone.

    Raises:
        ValueError: it is none.
    """
    at = datetime.fromisoformat(text)
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return at.isoformat(timespec="microseconds")


def page(connection: Connection, limit: int, after: str | None, chosen: Filter, after_key: str | None) -> Page:
    """See `Store.conversations`."""
    table = conversations.c
    place = (table.started_at, table.conversation_id, table.key_name)
    query = select(conversations).where(chosen.of_conversations())
    if after is not None:
        query = query.where(tuple_(*place) < tuple_(*_mark(connection, after, after_key or chosen.key_name)))
    query = query.order_by(*(column.desc() for column in place)).limit(limit + 1)
    rows = [_public(dict(row._mapping)) for row in connection.execute(query)]
    return Page(rows[:limit], len(rows) > limit)


def summary(rows: Sequence[Row]) -> Row:
    """A conversation's sums over its rows, in the shape that `Store.conversations` gives.

    Auxiliary requests are left out, unless there is nothing else.
    """
    rows = [row for row in rows if row["auxiliary"] is None and row["shadow_of"] is None] or rows
    last = rows[-1]
    judged = [row for row in rows if row["adherent"] is not None]
    return _public(
        {
            "conversation_id": last["conversation_id"],
            "key_name": last["key_name"],
            "identity_source": rows[0]["identity_source"],
            **{name: last[name] for name in ("experiment", "arm", "strategy", "model")},
            "turn_count": max(row["turn"] for row in rows),
            "requests": len(rows),
            "started_at": rows[0]["started_at"],
            "last_at": last["started_at"],
            **{name: _sum(rows, name) for name in SUMMED},
            "failed": sum(row["status"] != "ok" for row in rows),
            "excluded": sum(row["excluded"] is not None for row in rows),
            "judged": len(judged),
            "adherent": sum(row["adherent"] for row in judged),
            "drifted_at": min((row["turn"] for row in judged if not row["adherent"]), default=None),
        }
    )


def _mark(connection: Connection, after: str, key_name: str | None) -> tuple[Any, ...]:
    """The place of the last row of the page before."""
    table = conversations.c
    query = select(table.started_at, table.conversation_id, table.key_name).where(table.conversation_id == after)
    if key_name is not None:
        query = query.where(table.key_name == key_name)
    found = connection.execute(query.limit(2)).all()
    if not found:
        raise NotFound(
            f"There is no conversation '{after[:256]}' to go on after; 'after' takes the 'last_id' of the page before.",
            param="after",
        )
    if len(found) > 1:
        raise BadRequest(
            "Several keys have a conversation of that id; say whose was the last one with 'after_key'.",
            param="after_key",
        )
    return tuple(literal(value) for value in found[0])


def _public(row: Row) -> Row:
    """A conversation without a key has none, and nothing judged is no share."""
    share = row["adherent"] / row["judged"] if row["judged"] else None
    return {**row, "key_name": row["key_name"] or None, "adherence": share}


def _sum(rows: Sequence[Row], name: str) -> Any:
    known = [row[name] for row in rows if row[name] is not None]
    return sum(known) if known else None
