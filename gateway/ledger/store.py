"""Reading the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Select, and_, case, func, or_, select, true

from gateway.ledger.pages import Filter, Page, page
from gateway.ledger.records import COLUMNS, Allocation, Answered, Spent, Turn
from gateway.ledger.schema import DEALT, allocations, assignments, turns

Row = dict[str, Any]

_PRIVATE = {"history_hash", "answered_hash"}
PUBLIC_TURN = [column for column in turns.c if column.name not in _PRIVATE]
_ANSWERED = (
    turns.c.request_id,
    turns.c.conversation_id,
    turns.c.parent_request_id,
    turns.c.turn,
    turns.c.history_hash,
    turns.c.answered_hash,
    turns.c.context_used,
)


class Store:
    """Queries over one ledger. Every method blocks on the disk: call it from a thread."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def assignment(self, conversation_id: str, experiment: str, key_name: str) -> tuple[str, str | None] | None:
        """The arm that the key's conversation was dealt in the experiment and why it is excluded, or None."""
        with self.engine.connect() as connection:
            return select_assignment(connection, conversation_id, experiment, key_name)

    def answered(self, hashes: Sequence[str]) -> list[Answered]:
        """Answered turns whose `answered_hash` is one of `hashes`, newest first."""
        with self.engine.connect() as connection:
            return select_answered(connection, hashes)

    def turn(self, request_id: str) -> Turn | None:
        """The whole row of a request, or None."""
        with self.engine.connect() as connection:
            return select_turn(connection, request_id)

    def continuations(self, request_ids: Sequence[str]) -> list[Answered]:
        """Answered turns that continue one of the given requests, newest first."""
        with self.engine.connect() as connection:
            return select_continuations(connection, request_ids)

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
        with self.engine.connect() as connection:
            rows = list(connection.execute(query))
        return [Spent(key, (now - datetime.fromisoformat(at)).total_seconds(), usd) for key, at, usd in rows]

    def turns(self, conversation_id: str, key_name: str | None = None) -> list[Row]:
        """All rows of a conversation in the order they began; empty when it is unknown.

        Two keys may have given the same id: without a `key_name` the rows are those of all keys.
        """
        query = (
            select(*PUBLIC_TURN)
            .where(turns.c.conversation_id == conversation_id)
            .order_by(turns.c.started_at, turns.c.request_id)
        )
        if key_name is not None:
            query = query.where(turns.c.key_name == key_name)
        with self.engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]

    def windows(self, conversation_ids: Sequence[str]) -> dict[tuple[str, str | None], tuple[int, int]]:
        """(conversation, key) → (tokens in the context, tokens of the window) at its last turn of which both are known.

        Auxiliary requests and shadows are none of its turns.
        """
        whose = (turns.c.conversation_id, turns.c.key_name)
        newest = func.row_number().over(partition_by=whose, order_by=turns.c.started_at.desc()).label("newest")
        known = (
            select(*whose, turns.c.context_used, turns.c.context_window, newest)
            .where(turns.c.conversation_id.in_(conversation_ids), turns.c.auxiliary.is_(None))
            .where(turns.c.shadow_of.is_(None), turns.c.context_used.is_not(None), turns.c.context_window > 0)
            .subquery()
        )
        query = select(known).where(known.c.newest == 1)
        with self.engine.connect() as connection:
            found = connection.execute(query)
            return {(row.conversation_id, row.key_name): (row.context_used, row.context_window) for row in found}

    def export(self, chosen: Filter | None = None, batch: int = 5000) -> Iterator[list[Row]]:
        """The turns of the chosen conversations, the oldest first, in batches of at most `batch` rows."""
        query = select(*PUBLIC_TURN).order_by(turns.c.started_at, turns.c.request_id)
        if chosen is not None and chosen != Filter():
            query = query.where(chosen.of_turns())
        with self.engine.connect() as connection:
            found = connection.execution_options(yield_per=batch).execute(query)
            for rows in found.partitions():
                yield [{str(name): value for name, value in row._mapping.items()} for row in rows]

    def request(self, completion_id: str, key_name: str | None) -> tuple[str, str] | None:
        """The (request_id, conversation_id) of an answer by its own id or by its request's; None when it is unknown.

        With a `key_name`, only where that key asked for it.
        """
        same = or_(turns.c.completion_id == completion_id, turns.c.request_id == completion_id)
        whose = true() if key_name is None else turns.c.key_name == key_name
        query = select(turns.c.request_id, turns.c.conversation_id).where(same, whose, turns.c.shadow_of.is_(None))
        with self.engine.connect() as connection:
            found = connection.execute(query.order_by(turns.c.started_at.desc()).limit(1)).first()
        return (found[0], found[1]) if found else None

    def has_conversation(self, conversation_id: str, key_name: str | None) -> bool:
        """Whether there is such a conversation; with a `key_name`, one of that key."""
        whose = true() if key_name is None else turns.c.key_name == key_name
        query = select(turns.c.request_id).where(turns.c.conversation_id == conversation_id, whose).limit(1)
        with self.engine.connect() as connection:
            return connection.execute(query).first() is not None

    def allocations(self) -> dict[str, Allocation]:
        """The latest change of each experiment's weights."""
        newest = select(allocations.c.experiment, func.max(allocations.c.changed_at).label("at"))
        latest = newest.group_by(allocations.c.experiment).subquery()
        query = select(allocations).join(
            latest,
            and_(allocations.c.experiment == latest.c.experiment, allocations.c.changed_at == latest.c.at),
        )
        with self.engine.connect() as connection:
            return {row.experiment: Allocation(**row._mapping) for row in connection.execute(query)}

    def tallies(self, experiment: str) -> dict[str, tuple[float, int]]:
        """Arm → (sum of the shares of adherent answers by conversation, conversations), over an experiment's judged
        conversations."""
        share = func.avg(case((turns.c.adherent, 1.0), else_=0.0)).label("share")
        judged = (
            select(turns.c.arm, share)
            .join(assignments, DEALT)
            .where(assignments.c.experiment == experiment)
            .where(turns.c.adherent.is_not(None), turns.c.excluded.is_(None))
            .group_by(turns.c.conversation_id, turns.c.key_name, turns.c.arm)
            .subquery()
        )
        query = select(judged.c.arm, func.sum(judged.c.share), func.count()).group_by(judged.c.arm)
        with self.engine.connect() as connection:
            return {arm: (float(adherent), n) for arm, adherent, n in connection.execute(query)}

    def conversations(
        self, limit: int, after: str | None = None, chosen: Filter | None = None, after_key: str | None = None
    ) -> Page:
        """Conversations with their sums, last begun first. Auxiliary requests and shadows are in none.

        Args:
            after: the last id of the page before; `after_key` is its key, where several have that id.

        Raises:
            NotFound: nothing is known of `after`.
            BadRequest: several keys have a conversation of that id.
        """
        with self.engine.connect() as connection:
            return page(connection, limit, after, chosen or Filter(), after_key)


def select_assignment(
    connection: Connection, conversation_id: str, experiment: str, key_name: str
) -> tuple[str, str | None] | None:
    """See `Store.assignment`."""
    found = connection.execute(assignment_of(conversation_id, experiment, key_name)).first()
    return (found[0], found[1]) if found else None


def assignment_of(conversation_id: str, experiment: str, key_name: str) -> Select[Any]:
    """The query for it: arm, and why it is excluded."""
    return select(assignments.c.arm, assignments.c.excluded).where(
        assignments.c.conversation_id == conversation_id,
        assignments.c.experiment == experiment,
        assignments.c.key_name == key_name,
    )


def select_answered(connection: Connection, hashes: Sequence[str]) -> list[Answered]:
    """See `Store.answered`."""
    return _answered(connection, turns.c.answered_hash.in_(hashes))


def select_continuations(connection: Connection, request_ids: Sequence[str]) -> list[Answered]:
    """See `Store.continuations`."""
    return _answered(connection, turns.c.parent_request_id.in_(request_ids))


def select_turn(connection: Connection, request_id: str) -> Turn | None:
    """See `Store.turn`."""
    row = connection.execute(select(turns).where(turns.c.request_id == request_id)).mappings().first()
    return Turn(**{name: row[name] for name in COLUMNS}) if row else None


def answered_where(condition: ColumnElement[bool]) -> Select[Any]:
    """The query for answered turns, the columns in the order of `Answered`; newest first."""
    return (
        select(*_ANSWERED)
        .where(condition, turns.c.answered_hash.is_not(None))
        .order_by(turns.c.started_at.desc(), turns.c.request_id.desc())
        .limit(256)
    )


def _answered(connection: Connection, condition: ColumnElement[bool]) -> list[Answered]:
    return [Answered(*row) for row in connection.execute(answered_where(condition))]
