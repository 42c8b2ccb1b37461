"""`GET /api/conversations` and `GET /api/conversations/{id}`: the ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Query
from sqlalchemy.exc import SQLAlchemyError

from gateway.accounting.conversation import comparison, totals
from gateway.errors import BadRequest, LedgerError, NotFound
from gateway.ledger.books import Books
from gateway.ledger.content import kept_turns
from gateway.ledger.pages import Filter, Row, moment, summary
from gateway.ledger.shared import reason_of
from gateway.routes.schema import gives

T = TypeVar("T")
Share = Annotated[float | None, Query(ge=0, le=1)]


def router(books: Books) -> APIRouter:
    """The routes over one ledger."""
    routes = APIRouter()

    @routes.get("/api/conversations", responses=gives("Conversations", "A page of conversations"))
    def list_conversations(
        chosen: Annotated[Filter, Depends(_chosen)],
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
        after: str | None = None,
        after_key: str | None = None,
    ) -> dict[str, Any]:
        """Conversations with their sums, last begun first.

        `after` takes the `last_id` of the page before, `after_key` its `key_name` where several keys use one id.
        """
        page = answered(books, lambda: books.store.conversations(limit, after, chosen, after_key))
        data = [{"id": row["conversation_id"], "object": "conversation", **row} for row in page.rows]
        return {
            "object": "list",
            "data": data,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
            "has_more": page.has_more,
        }

    @routes.get(
        "/api/conversations/{conversation_id:path}",
        responses=gives("ConversationWithTurns", "The conversation and its rows"),
    )
    def get_conversation(conversation_id: str, key: str | None = None) -> dict[str, Any]:
        """One conversation with a row for every request; `key` says whose, where several keys gave the same id."""
        return conversation(books, conversation_id, key)

    return routes


def conversation(books: Books, conversation_id: str, key: str | None) -> dict[str, Any]:
    """What `described` says, and of how many requests it is kept what was said."""
    found = described(conversation_id, answered(books, lambda: books.store.turns(conversation_id, key)))
    return {**found, "content_turns": answered(books, lambda: _kept(books, conversation_id, found["key_name"]))}


def require_one(conversation_id: str, rows: Sequence[Row]) -> None:
    """Make sure that `rows` are those of one conversation.

    Raises:
        NotFound: there are no rows.
        BadRequest: the rows are those of several keys.
    """
    if not rows:
        raise NotFound(f"There is no conversation '{conversation_id[:256]}'.", param="conversation_id")
    owners = sorted({row["key_name"] or "" for row in rows})
    if len(owners) > 1:
        raise BadRequest(
            f"Several keys have a conversation of that id; say whose with ?key=: {', '.join(owners)}.", param="key"
        )


def described(conversation_id: str, rows: Sequence[Row]) -> dict[str, Any]:
    """A conversation with its sums by kind, what other placements of its instruction would have cost, and its rows.

    Raises as `require_one` does.
    """
    require_one(conversation_id, rows)
    return {
        "id": conversation_id,
        "object": "conversation",
        **summary(rows),
        "totals": totals(rows),
        "comparison": comparison(rows),
        "turns": rows,
    }


def _chosen(
    prefix: str | None = None,
    experiment: str | None = None,
    arm: str | None = None,
    model: str | None = None,
    key: str | None = None,
    since: str | None = None,
    until: str | None = None,
    min_turns: int | None = None,
    max_turns: int | None = None,
    min_cost_usd: float | None = None,
    max_cost_usd: float | None = None,
    min_adherence: Share = None,
    max_adherence: Share = None,
    drifted: bool | None = None,
) -> Filter:
    """What of the query says which conversations."""
    return Filter(
        prefix=prefix,
        experiment=experiment,
        arm=arm,
        model=model,
        key_name=key,
        since=_time(since, "since"),
        until=_time(until, "until"),
        min_turns=min_turns,
        max_turns=max_turns,
        min_cost_usd=min_cost_usd,
        max_cost_usd=max_cost_usd,
        min_adherence=min_adherence,
        max_adherence=max_adherence,
        drifted=drifted,
    )


def _time(text: str | None, name: str) -> str | None:
    try:
        return None if text is None else moment(text)
    except ValueError:
        raise BadRequest(
            f"Invalid value for '{name}': {text!r} is no ISO 8601 date or time, such as 2026-01-31T12:00:00Z.",
            param=name,
        ) from None


def _kept(books: Books, conversation_id: str, key_name: str | None) -> int:
    with books.store.engine.connect() as connection:
        return kept_turns(connection, conversation_id, key_name)


def answered(books: Books, question: Callable[[], T]) -> T:
    """What the ledger answers; its failure is a 503 that says why."""
    try:
        return question()
    except SQLAlchemyError as error:
        where = "shared ledger" if books.shared else "ledger"
        raise LedgerError(f"The {where} cannot be read: {reason_of(error)}") from None
