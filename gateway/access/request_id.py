"""Gives every request an id of its own and every response the header that tells it."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.ids import timed
from gateway.telemetry.logs import REQUEST_ID
from gateway.telemetry.otlp import TRACEPARENT

_HEADER = b"x-request-id"


def new_id() -> str:
    """A request's id: ids sort by the month they were given in, which is how the shared ledger divides its turns."""
    return f"req_{timed()}"


class RequestId:
    """Pure ASGI middleware: `request.state.request_id`, and `x-request-id` on every response."""

    def __init__(self, app: ASGIApp, *, is_traced: bool = False) -> None:
        self._app = app
        self._is_traced = is_traced

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = new_id()
        scope.setdefault("state", {})["request_id"] = request_id
        REQUEST_ID.set(request_id)
        if self._is_traced:
            given = next((value for name, value in scope["headers"] if name == b"traceparent"), None)
            TRACEPARENT.set(given.decode("latin-1") if given else None)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message.get("headers", [])
                if not any(name == _HEADER for name, _ in headers):
                    message = {**message, "headers": [*headers, (_HEADER, request_id.encode())]}
            await send(message)

        await self._app(scope, receive, send_with_id)
