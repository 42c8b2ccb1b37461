"""Who gets in: the key of every request is looked at before anything else, in one place for all routes.

    /health/…                      open
    /ui/…                          open: the page's files; what the page asks of the gateway comes back with its key
    /v1/…, /api/feedback           any key
    all else (/api, /metrics)      a key with `admin = true`

Without keys everybody gets in, but no web page from elsewhere does: a page of any site can have the browser of its
visitor send requests to 127.0.0.1 (Ollama's OLLAMA_ORIGINS is the same precaution), under a name of its own too
(`gateway.access.hosts`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from starlette.datastructures import MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.access.hosts import Hosts
from gateway.access.keys import Key, Keyring
from gateway.access.limits import Limiter
from gateway.errors import Forbidden, GatewayError, HeadersTooLarge, http_status
from gateway.telemetry.request_log import log_refusal

EXPOSED = (
    "x-request-id",
    *(f"x-gattway-{name}" for name in ("conversation-id", "experiment", "arm", "turn", "overhead-ms")),
    *(f"x-ratelimit-{what}-{kind}" for kind in ("requests", "tokens") for what in ("limit", "remaining", "reset")),
    *("retry-after", "retry-after-ms", "x-should-retry"),
)
"""Response headers that a web page of an allowed origin may read."""


class Access:
    """Pure ASGI middleware: `request.state.key`, or a refusal; and the key's limits in the headers of its answers.

    Beside the key, `request.state.headers` has the request's headers, decoded once for all.
    """

    def __init__(
        self,
        app: ASGIApp,
        keyring: Keyring,
        limiter: Limiter,
        hosts: Hosts,
        origins: Collection[str],
        max_header_bytes: int,
    ) -> None:
        self._app = app
        self._keyring = keyring
        self._limiter = limiter
        self._hosts = hosts
        self._origins = origins
        self._max_header_bytes = max_header_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        try:
            headers = state["headers"] = _decoded(scope["headers"])
            key = state["key"] = self._let_in(scope, headers)
        except GatewayError as error:
            await _refuse(error, scope, receive, send)
            return

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(await self._limiter.headers(key))
            await send(message)

        limited = scope["path"].startswith("/v1/") and key.name is not None
        try:
            await self._app(scope, receive, send_with_limits if limited else send)
        finally:
            await self._limiter.leave(state.get("request_id", ""))

    def _let_in(self, scope: Scope, headers: Mapping[str, str]) -> Key:
        path = scope["path"]
        size = sum([len(name) + len(value) for name, value in scope["headers"]])
        if size > self._max_header_bytes:
            raise HeadersTooLarge(
                f"The request headers are {size} bytes; this gateway takes {self._max_header_bytes} "
                "(bounds.max_header_bytes)."
            )
        if path.startswith("/health/"):
            return self._keyring.named(None)
        self._hosts.check(headers.get("host"))
        if not self._keyring:
            self._check_origin(headers)
        if path == "/ui" or path.startswith("/ui/"):
            return self._keyring.named(None)
        key = self._keyring.owner(headers.get("authorization"))
        if not key.admin and not path.startswith("/v1/") and path != "/api/feedback":
            raise Forbidden(
                f"This key does not open {path}; a key with 'admin = true' does.", code="admin_key_required"
            )
        return key

    def _check_origin(self, headers: Mapping[str, str]) -> None:
        origin = headers.get("origin")
        if origin is None or origin in self._origins or "*" in self._origins:
            return
        if urlsplit(origin).netloc != headers.get("host"):
            raise Forbidden(
                "Web pages of other origins may not call this gateway. To let them, add the page's origin to "
                "server.cors_origins, or set keys up.",
                code="origin_not_allowed",
            )


def allow_origins(app: FastAPI, origins: Collection[str]) -> None:
    """Open the gateway to web pages of `origins`; to none when it is empty."""
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=EXPOSED,
        )


def _decoded(raw: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """By name in small letters, as ASGI gives them; of a name that comes twice, the first."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(raw)}


async def _refuse(error: GatewayError, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": error.code or error.type})
        return
    scope["app"].state.metrics.count_refusal(error)
    log_refusal(error)
    await JSONResponse(error.body(), http_status(error), error.headers)(scope, receive, send)
