"""`GET /api/conversations/{id}/content`: what was said in a conversation, and what the model got to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from gateway.errors import ContentLocked, NotFound
from gateway.ledger.books import Books
from gateway.ledger.content import Content, ContentStore, Placed, kept_turns
from gateway.ledger.pages import Row
from gateway.routes.conversations import answered, conversation, require_one
from gateway.routes.schema import gives


def router(books: Books, *, is_kept: bool) -> APIRouter:
    """The route over one ledger; it goes before the one of a whole conversation, whose ids may hold slashes.

    Args:
        is_kept: whether this gateway keeps content, for the words of a refusal.
    """
    routes = APIRouter()

    @routes.get(
        "/api/conversations/{conversation_id:path}/content",
        responses=gives("ConversationContent", "A page of the conversation's requests with what was said in them"),
    )
    def get_content(
        request: Request,
        response: Response,
        conversation_id: str,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        after: str | None = None,
        key: str | None = None,
    ) -> dict[str, Any]:
        """What the client sent, what the model got with the text that the gateway placed, and the answer.

        In the order of the requests. `after` takes the `last_id` of the page before; `key` says whose, where several
        keys gave the same id.
        """
        if not request.scope["raw_path"].endswith(b"/content"):  # %2Fcontent: the id itself ends so
            return conversation(books, f"{conversation_id}/content", key)
        # No copy of what was said outside the ledger, in a browser's cache or a proxy's.
        response.headers["cache-control"] = "no-store"
        return answered(books, lambda: _page(books, conversation_id, key, limit, after, is_kept))

    return routes


def _page(
    books: Books, conversation_id: str, key: str | None, limit: int, after: str | None, is_kept: bool
) -> dict[str, Any]:
    rows = books.store.turns(conversation_id, key)
    require_one(conversation_id, rows)
    start = _place(rows, after)
    chosen = rows[start : start + limit]
    contents = _contents(books, conversation_id, rows[0]["key_name"], chosen, is_kept)
    data = [_turn(row, contents.get(row["request_id"])) for row in chosen]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": start + limit < len(rows),
    }


def _place(rows: Sequence[Row], after: str | None) -> int:
    """Where the page begins."""
    if after is None:
        return 0
    for index, row in enumerate(rows, 1):
        if row["request_id"] == after:
            return index
    raise NotFound(
        f"There is no request '{after[:256]}' in this conversation to go on after; 'after' takes the 'last_id' of the "
        "page before.",
        param="after",
    )


def _contents(
    books: Books, conversation_id: str, key_name: str | None, rows: Sequence[Row], is_kept: bool
) -> Mapping[str, Content]:
    """Request → content.

    Raises:
        NotFound: nothing of this conversation is kept.
        ContentLocked: there is something, and no key for it.
    """
    with books.store.engine.connect() as connection:
        if not kept_turns(connection, conversation_id, key_name):
            raise NotFound(
                "What was said in this conversation is not kept: "
                + ("it was held before content was, or has been erased." if is_kept else SWITCHED_OFF),
                param="conversation_id",
                code="content_not_stored",
            )
        if books.vault is None:
            raise ContentLocked(
                "What was said in this conversation is kept encrypted, and this gateway was started without the "
                "ledger's key. Start it with the key in ledger.key_env or ledger.key_file."
            )
        store = ContentStore(books.store.engine, books.vault)
        return store.read_all(connection, [row["request_id"] for row in rows])


SWITCHED_OFF = "this gateway keeps no message text. To keep that of new requests, set [ledger] store_content = true."


def _turn(row: Row, content: Content | None) -> dict[str, Any]:
    described = {
        "id": row["request_id"],
        "object": "conversation.turn_content",
        **{name: row[name] for name in ("turn", "started_at", "arm", "strategy", "model", "auxiliary", "shadow_of")},
        "stored": content is not None,
    }
    if content is None:
        return {**described, "messages": None, "new_messages": None, "sent": None, "placed": None, "answer": None}
    return {
        **described,
        "messages": content.messages,
        "new_messages": content.new,
        "sent": content.sent,
        "placed": [_placed(content.sent, one) for one in content.placed],
        "answer": content.answer,
    }


def _placed(sent: Sequence[Mapping[str, Any]], one: Placed) -> dict[str, Any]:
    unit = "part" if isinstance(sent[one.message].get("content"), list) else "character"
    return {"message": one.message, "start": one.start, "end": one.end, "unit": unit, "whole_message": one.whole}
