"""`POST /v1/chat/completions`.

The one route that must cost next to nothing: FastAPI describes it, and Starlette routes to it past FastAPI's handling
of parameters, dependencies and response models, of which it has none (docs/adr/027).
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gateway.chat import Chat
from gateway.routes.client import arrival_of, read_body, unless_client_leaves
from gateway.routes.schema import completes, takes
from gateway.routes.stream import EventStream
from gateway.wire.request import parse

PATH = "/v1/chat/completions"


class Completions:
    """The route over one `Chat`, as an ASGI application."""

    def __init__(self, chat: Chat, max_body_bytes: int) -> None:
        self._chat = chat
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        response = await self.complete(Request(scope, receive))
        await response(scope, receive, send)

    async def complete(self, request: Request) -> Response:
        """OpenAI's chat completion, streaming and not (https://platform.openai.com/docs/api-reference/chat)."""
        arrival = arrival_of(request)
        asked = parse(await read_body(request, self._max_body_bytes))
        exchange = await unless_client_leaves(request, self._chat.complete(asked, arrival))
        if not asked.stream:
            return Response(exchange.body, media_type="application/json", headers=exchange.headers)
        return EventStream(exchange.stream(), exchange.headers)

    def routed(self) -> Route:
        """The route as it is taken; goes before all others."""
        return Route(PATH, self, methods=["POST"], include_in_schema=False)

    def described(self) -> APIRouter:
        """The same as FastAPI knows it, for the schema and the methods that the path allows."""
        routes = APIRouter()
        routes.add_api_route(
            PATH,
            self.complete,
            methods=["POST"],
            openapi_extra=takes("ChatRequest"),
            responses=completes("ChatCompletion", "a `chat.completion.chunk`, and then `[DONE]`"),
        )
        return routes
