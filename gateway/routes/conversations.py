"""`GET /api/conversations` and `GET /api/conversations/{id}`: the ledger."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from gateway.errors import BadRequest, NotFound
from gateway.ledger.store import Store, summary


def router(store: Store) -> APIRouter:
    """The routes over one ledger."""
    routes = APIRouter()

    @routes.get("/api/conversations")
    def list_conversations(
        limit: Annotated[int, Query(ge=1, le=1000)] = 50, after: str | None = None, key: str | None = None
    ) -> dict[str, Any]:
        """Conversations with their sums, last begun first; those of one key only when its name is given."""
        page = store.conversations(limit, after, key)
        data = [{"id": row["conversation_id"], "object": "conversation", **row} for row in page.rows]
        return {
            "object": "list",
            "data": data,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
            "has_more": page.has_more,
        }

    @routes.get("/api/conversations/{conversation_id:path}")
    def get_conversation(conversation_id: str, key: str | None = None) -> dict[str, Any]:
        """One conversation with a row for every request; `key` says whose, where several keys gave the same id."""
        rows = store.turns(conversation_id, key)
        if not rows:
            raise NotFound(f"There is no conversation '{conversation_id[:256]}'.", param="conversation_id")
        owners = sorted({row["key_name"] or "" for row in rows})
        if len(owners) > 1:
            raise BadRequest(
                f"Several keys have a conversation of that id; say whose with ?key=: {', '.join(owners)}.", param="key"
            )
        return {"id": conversation_id, "object": "conversation", **summary(rows), "turns": rows}

    return routes
