"""`GET /api/conversations` and `GET /api/conversations/{id}`: the ledger."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from gateway.errors import NotFound
from gateway.ledger.store import Store, summary


def router(store: Store) -> APIRouter:
    """The routes over one ledger."""
    routes = APIRouter()

    @routes.get("/api/conversations")
    def list_conversations(
        limit: Annotated[int, Query(ge=1, le=1000)] = 50, after: str | None = None
    ) -> dict[str, Any]:
        """Conversations with their sums, last begun first."""
        page = store.conversations(limit, after)
        data = [{"id": row["conversation_id"], "object": "conversation", **row} for row in page.rows]
        return {
            "object": "list",
            "data": data,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
            "has_more": page.has_more,
        }

    @routes.get("/api/conversations/{conversation_id:path}")
    def get_conversation(conversation_id: str) -> dict[str, Any]:
        """One conversation with a row for every request."""
        rows = store.turns(conversation_id)
        if not rows:
            raise NotFound(f"There is no conversation '{conversation_id[:256]}'.", param="conversation_id")
        return {"id": conversation_id, "object": "conversation", **summary(rows), "turns": rows}

    return routes
