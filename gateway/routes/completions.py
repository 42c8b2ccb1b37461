"""`POST /v1/chat/completions`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from gateway.chat import Chat
from gateway.routes.client import arrival_of, read_body, unless_client_leaves
from gateway.routes.schema import completes, takes
from gateway.routes.stream import EventStream
from gateway.wire.request import parse


def router(chat: Chat, max_body_bytes: int) -> APIRouter:
    """The route over one `Chat`."""
    routes = APIRouter()

    @routes.post(
        "/v1/chat/completions",
        openapi_extra=takes("ChatRequest"),
        responses=completes("ChatCompletion", "a `chat.completion.chunk`, and then `[DONE]`"),
    )
    async def complete(request: Request) -> Response:
        """OpenAI's chat completion, streaming and not (https://platform.openai.com/docs/api-reference/chat)."""
        arrival = arrival_of(request)
        asked = parse(await read_body(request, max_body_bytes))
        exchange = await unless_client_leaves(request, chat.complete(asked, arrival))
        if not asked.stream:
            return Response(exchange.body, media_type="application/json", headers=exchange.headers)
        return EventStream(exchange.stream(), exchange.headers)

    return routes
