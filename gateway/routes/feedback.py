"""`POST /api/feedback`: what users say of an answer, or of a conversation."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request

from gateway.access.keys import Key
from gateway.errors import BadRequest, NotFound
from gateway.ledger.amendments import Amendment
from gateway.ledger.books import Books
from gateway.ledger.records import Feedback
from gateway.metrics import Metrics
from gateway.routes.client import read_body
from gateway.routes.schema import gives, takes
from gateway.routes.shapes import MAX_COMMENT_CHARS
from gateway.wire.fields import check_fields, number, of
from gateway.wire.request import body_of

MAX_BODY_BYTES = 64 * 1024
_FIELDS = {
    "completion_id": of(str, "a string"),
    "conversation_id": of(str, "a string"),
    "adherent": of(bool, "true or false"),
    "score": number(0, 1),
    "comment": of(str, "a string"),
}


def router(books: Books, metrics: Metrics) -> APIRouter:
    """The route over one ledger."""
    routes = APIRouter()

    @routes.post(
        "/api/feedback", openapi_extra=takes("FeedbackRequest"), responses=gives("Feedback", "What was written down")
    )
    async def give_feedback(request: Request) -> dict[str, Any]:
        """Write it down; `adherent` overrules checks and judges in the rows that it is about."""
        body = _checked(body_of(await read_body(request.receive, MAX_BODY_BYTES)))
        key: Key = request.state.key
        request_id, conversation_id = await asyncio.to_thread(_about, books, body, key)
        given = Feedback(
            feedback_id=f"fb_{uuid.uuid4().hex}",
            conversation_id=conversation_id,
            request_id=request_id,
            key_name=key.name,
            given_at=datetime.now(UTC).isoformat(timespec="microseconds"),
            adherent=body.get("adherent"),
            score=body.get("score"),
            comment=body.get("comment"),
        )
        await books.writer.amend(Amendment(feedback=[given]))
        metrics.feedback.labels(_kind(given)).inc()
        return {
            "id": given.feedback_id,
            "object": "feedback",
            "conversation_id": conversation_id,
            "request_id": request_id,
            "adherent": given.adherent,
            "score": given.score,
            "comment": given.comment,
        }

    return routes


def _checked(body: dict[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(body) - set(_FIELDS))
    if unknown:
        raise BadRequest(
            f"Unknown field '{unknown[0][:64]}'; feedback takes: {', '.join(_FIELDS)}.", param=unknown[0][:64]
        )
    check_fields(body, _FIELDS)
    if (body.get("completion_id") is None) == (body.get("conversation_id") is None):
        raise BadRequest("Give either 'completion_id' or 'conversation_id'.", param="completion_id")
    if all(body.get(name) is None for name in ("adherent", "score", "comment")):
        raise BadRequest("Give 'adherent', 'score' or 'comment'.", param="adherent")
    if len(body.get("comment") or "") > MAX_COMMENT_CHARS:
        raise BadRequest(f"'comment' is longer than {MAX_COMMENT_CHARS} characters.", param="comment")
    return body


def _about(books: Books, body: dict[str, Any], key: Key) -> tuple[str | None, str]:
    """(request, conversation). Raises NotFound; to a key that is no admin's, others' conversations do not exist."""
    whose = None if key.admin else key.name
    stores = (books.local,) if books.shared is None else (books.local, books.store)
    if body.get("completion_id") is not None:
        completion_id = body["completion_id"].removeprefix("resp_")
        for store in stores:
            if found := store.request(completion_id, whose):
                return found
        raise NotFound(f"There is no answer '{completion_id[:128]}'.", param="completion_id")
    conversation_id = body["conversation_id"]
    if not any(store.has_conversation(conversation_id, whose) for store in stores):
        raise NotFound(f"There is no conversation '{conversation_id[:256]}'.", param="conversation_id")
    return None, conversation_id


def _kind(given: Feedback) -> str:
    if given.adherent is None:
        return "score" if given.score is not None else "comment"
    return "adherent" if given.adherent else "drifted"
