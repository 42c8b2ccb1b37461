"""Reading the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, Select, and_, func, or_, select, true

from gateway.ledger.records import Answered, Spent
from gateway.ledger.schema import assignments, turns

Row = dict[str, Any]

_PRIVATE = {"history_hash", "answered_hash"}
_PUBLIC_TURN = [column for column in turns.c if column.name not in _PRIVATE]
_ANSWERED = (
    turns.c.request_id,
    turns.c.conversation_id,
    turns.c.parent_request_id,
    turns.c.turn,
    turns.c.history_hash,
    turns.c.answered_hash,
    turns.c.context_used,
)


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of one page, and whether more follow."""

    rows: list[Row]
    has_more: bool


class Store:
    """Queries over one ledger. Every method blocks on the disk: call it from a thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def assignment(self, conversation_id: str, experiment: str, key_name: str) -> str | None:
        """The arm that the key's conversation was dealt in the experiment, or None."""
        query = select(assignments.c.arm).where(
            assignments.c.conversation_id == conversation_id,
            assignments.c.experiment == experiment,
            assignments.c.key_name == key_name,
        )
        with self._engine.connect() as connection:
            return connection.execute(query).scalar_one_or_none()

    def answered(self, hashes: Sequence[str]) -> list[Answered]:
        """Answered turns whose `answered_hash` is one of `hashes`, newest first."""
        return self._answered(turns.c.answered_hash.in_(hashes))

    def continuations(self, request_ids: Sequence[str]) -> list[Answered]:
        """Answered turns that continue one of the given requests, newest first."""
        return self._answered(turns.c.parent_request_id.in_(request_ids))

    def _answered(self, condition: Any) -> list[Answered]:
        query = (
            select(*_ANSWERED)
            .where(condition, turns.c.answered_hash.is_not(None))
            .order_by(turns.c.started_at.desc(), turns.c.request_id.desc())
            .limit(256)
        )
        with self._engine.connect() as connection:
            return [Answered(*row) for row in connection.execute(query)]

    def spent(self, period_s: float) -> list[Spent]:
        """What each key spent in the last `period_s` seconds, by the minute, the oldest first."""
        now = datetime.now(UTC)
        minute = func.substr(turns.c.started_at, 1, 16)
        query = (
            select(turns.c.key_name, func.max(turns.c.started_at), func.sum(turns.c.cost_usd))
            .where(
                turns.c.started_at > (now - timedelta(seconds=period_s)).isoformat(timespec="microseconds"),
                turns.c.key_name.is_not(None),
                turns.c.cost_usd > 0,
            )
            .group_by(turns.c.key_name, minute)
            .order_by(minute)
        )
        with self._engine.connect() as connection:
            rows = list(connection.execute(query))
        return [Spent(key, (now - datetime.fromisoformat(at)).total_seconds(), usd) for key, at, usd in rows]

    def turns(self, conversation_id: str, key_name: str | None = None) -> list[Row]:
        """All rows of a conversation in the order they began; empty when it is unknown.

        Two keys may have given the same id: without a `key_name` the rows are those of all keys.
        """
        query = (
            select(*_PUBLIC_TURN)
            .where(turns.c.conversation_id == conversation_id)
            .order_by(turns.c.started_at, turns.c.request_id)
        )
        if key_name is not None:
            query = query.where(turns.c.key_name == key_name)
        with self._engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]

    def conversations(self, limit: int, after: str | None = None, key_name: str | None = None) -> Page:
        """Conversations, last begun first, with their sums; `after` is the last id of the page before.

        Those of one key only, when `key_name` is given. Auxiliary requests are no conversations and in no sum.
        """
        chosen = and_(turns.c.auxiliary.is_(None), true() if key_name is None else turns.c.key_name == key_name)
        with self._engine.connect() as connection:
            query = _summaries().where(chosen)
            if after is not None:
                begun = func.min(turns.c.started_at)
                last = select(begun).where(chosen, turns.c.conversation_id == after)
                mark = connection.execute(last).scalar_one_or_none()
                query = query.having(or_(begun < mark, and_(begun == mark, turns.c.conversation_id < after)))
            rows = [dict(row._mapping) for row in connection.execute(query.limit(limit + 1))]
        return Page(rows[:limit], len(rows) > limit)


def summary(rows: Sequence[Row]) -> Row:
    """A conversation's sums over its rows, in the shape that `Store.conversations` gives.

    Auxiliary requests are left out, unless there is nothing else.
    """
    rows = [row for row in rows if row["auxiliary"] is None] or rows
    last = rows[-1]
    return {
        "conversation_id": last["conversation_id"],
        "key_name": last["key_name"],
        "identity_source": rows[0]["identity_source"],
        "experiment": last["experiment"],
        "arm": last["arm"],
        "model": last["model"],
        "turn_count": max(row["turn"] for row in rows),
        "requests": len(rows),
        "started_at": rows[0]["started_at"],
        "last_at": last["started_at"],
        **{name: _sum(rows, name) for name in _SUMMED},
    }


_SUMMED = ("prompt_tokens", "completion_tokens", "cached_tokens", "repeated_instruction_tokens", "cost_usd")


def _sum(rows: Sequence[Row], name: str) -> Any:
    known = [row[name] for row in rows if row[name] is not None]
    return sum(known) if known else None


def _summaries() -> Select[Any]:
    begun = func.min(turns.c.started_at)
    return (
        select(
            turns.c.conversation_id,
            turns.c.key_name,
            func.max(turns.c.identity_source).label("identity_source"),
            func.max(turns.c.experiment).label("experiment"),
            func.max(turns.c.arm).label("arm"),
            func.max(turns.c.model).label("model"),
            func.max(turns.c.turn).label("turn_count"),
            func.count().label("requests"),
            begun.label("started_at"),
            func.max(turns.c.started_at).label("last_at"),
            *(func.sum(turns.c[name]).label(name) for name in _SUMMED),
        )
        .group_by(turns.c.conversation_id, turns.c.key_name)
        .order_by(begun.desc(), turns.c.conversation_id.desc())
    )
