"""`POST /v1/…`: every other route of a named model."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from gateway.errors import GatewayError
from gateway.other_routes import KNOWN, OtherRoutes
from gateway.routes.client import arrival_of, read_body, unless_client_leaves

log = logging.getLogger(__name__)
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def router(others: OtherRoutes, max_body_bytes: int, beside: Sequence[APIRouter]) -> APIRouter:
    """The routes over one `OtherRoutes`; include it behind those `beside` it, for it takes what they leave."""
    routes = APIRouter()
    known = [route for router in beside for route in router.routes if isinstance(route, APIRoute)]

    @routes.api_route("/v1/{route:path}", methods=METHODS, include_in_schema=False)
    async def relay(request: Request, route: str) -> Response:
        """Relayed to the upstream of the model that the body names; the answer's bytes come back as they are."""
        _refuse_wrong_method(request, route, known)
        others.check(route)
        arrival = arrival_of(request.scope)
        raw = await read_body(request.receive, max_body_bytes)
        content_type = request.headers.get("content-type", "application/json")
        answer = await unless_client_leaves(
            request.receive, others.post(route, request.url.query, raw, content_type, arrival)
        )
        return _Relayed(answer.stream(), answer.status, answer.headers)

    return routes


def _refuse_wrong_method(request: Request, path: str, known: Sequence[APIRoute]) -> None:
    """405 for a path that another route has with another method: this one takes every path, and would hide it."""
    partly = [route for route in known if route.matches(request.scope)[0] is Match.PARTIAL]
    allowed = {method for route in partly for method in route.methods or ()}
    if not allowed and request.method != "POST":
        if path not in KNOWN:
            raise HTTPException(404)
        allowed = {"POST"}
    if allowed:
        raise HTTPException(405, headers={"allow": ", ".join(sorted(allowed))})


class _Relayed(StreamingResponse):
    """Bytes as they come; closes their source at once when the client leaves."""

    def __init__(self, body: AsyncGenerator[bytes, None], status: int, headers: Mapping[str, str]) -> None:
        super().__init__(body, status, dict(headers))
        self._body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        async with aclosing(self._body):
            await super().__call__(scope, receive, send)

    async def stream_response(self, send: Send) -> None:
        """Send the body; what breaks off gets no end, so that the server closes the connection."""
        try:
            await super().stream_response(send)
        except GatewayError as error:
            log.info("an answer broke off: %s", error.code)
