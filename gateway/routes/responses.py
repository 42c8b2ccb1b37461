"""`POST /v1/responses`, answered as a chat completion is; and the routes of stored responses: there are none."""

from __future__ import annotations

import orjson
from fastapi import APIRouter, Request, Response

from gateway.chat import Chat
from gateway.errors import GatewayError, NotFound
from gateway.routes.client import arrival_of, read_body, unless_client_leaves
from gateway.routes.stream import event_stream
from gateway.wire.responses.answer import Answer
from gateway.wire.responses.errors import in_responses_words
from gateway.wire.responses.request import parse


def router(chat: Chat, max_body_bytes: int) -> APIRouter:
    """The routes over one `Chat`."""
    routes = APIRouter()

    @routes.post("/v1/responses")
    async def respond(request: Request) -> Response:
        """OpenAI's Responses API, streaming and not (https://platform.openai.com/docs/api-reference/responses)."""
        arrival = arrival_of(request)
        asked = parse(await read_body(request, max_body_bytes))
        try:
            exchange = await unless_client_leaves(request, chat.complete(asked.chat, arrival))
        except GatewayError as error:
            raise in_responses_words(error) from None
        answer = Answer(arrival.request_id, asked.chat.model, asked.shown)
        if not asked.chat.stream:
            whole = orjson.dumps(answer.whole(orjson.loads(exchange.body)))
            return Response(whole, media_type="application/json", headers=exchange.headers)
        return event_stream(answer.events(exchange.stream()), exchange.headers)

    @routes.get("/v1/responses/{response_id}")
    @routes.delete("/v1/responses/{response_id}")
    @routes.get("/v1/responses/{response_id}/input_items")
    @routes.post("/v1/responses/{response_id}/cancel")
    def stored(response_id: str) -> Response:
        """The gateway answers and forgets: it keeps figures, no text."""
        raise NotFound(
            f"Response with id '{response_id[:128]}' not found: this gateway answers with 'store': false and keeps no "
            "response to get, list, cancel or delete.",
            param="response_id",
        )

    return routes
