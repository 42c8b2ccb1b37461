"""`POST /v1/chat/completions`.

The one route that must cost next to nothing: FastAPI describes it, and a request for it is answered before it comes to
FastAPI's routing, exit stacks, parameters and response models, of which it needs none (docs/adr/027, 040).
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.chat import Chat
from gateway.errors import GatewayError
from gateway.metrics import Metrics
from gateway.routes.client import arrival_of, read_body, unless_client_leaves
from gateway.routes.errors import refused
from gateway.routes.schema import completes, takes
from gateway.routes.stream import EventStream, Whole
from gateway.wire.request import parse

PATH = "/v1/chat/completions"


class Completions:
    """The route over one `Chat`."""

    def __init__(self, chat: Chat, max_body_bytes: int) -> None:
        self._chat = chat
        self._max_body_bytes = max_body_bytes

    async def answer(self, scope: Scope, receive: Receive) -> Response:
        """The answer to one request, as far as it has come when its status is known.

        Raises:
            GatewayError: there is none.
        """
        arrival = arrival_of(scope)
        asked = parse(await read_body(receive, self._max_body_bytes))
        exchange = await unless_client_leaves(receive, self._chat.complete(asked, arrival))
        if not asked.stream:
            return Whole(exchange.body, exchange.headers)
        return EventStream(exchange.stream(), exchange.headers)

    async def complete(self, request: Request) -> Response:
        """OpenAI's chat completion, streaming and not (https://platform.openai.com/docs/api-reference/chat)."""
        return await self.answer(request.scope, request.receive)

    def described(self) -> APIRouter:
        """The route as FastAPI knows it, for the schema and the methods that the path allows."""
        routes = APIRouter()
        routes.add_api_route(
            PATH,
            self.complete,
            methods=["POST"],
            openapi_extra=takes("ChatRequest"),
            responses=completes("ChatCompletion", "a `chat.completion.chunk`, and then `[DONE]`"),
        )
        return routes


class Shortcut:
    """Pure ASGI middleware, the last before the routes: answers this route's requests, and hands on all others."""

    def __init__(self, app: ASGIApp, chat: Completions, metrics: Metrics) -> None:
        self._app = app
        self._chat = chat
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        try:
            response = await self._chat.answer(scope, receive)
        except GatewayError as error:
            response = refused(error, self._metrics)
        await response(scope, receive, send)
