"""The page's server: its files, its sessions, and a door to the gateway.

    /ui/                    the page
    /ui/session             GET whether a key is needed and given; POST {"key"} logs in; DELETE logs out
    /ui/gateway/…           the gateway's own API with the session's key: /v1, /api, /metrics, /health, /openapi.json
    /ui/scripts             ready-made conversations; POST /ui/verdict judges an answer in one of them
    /ui/maps/…              attention maps of the embedded models, as `python -m benchmarks maps` makes them

Files and scripts are open: there is nothing of the gateway's in them. All else comes through the gateway, which looks
at the key itself. Requests that a page of another origin had the browser send are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.access.hosts import Hosts
from gateway.errors import BadRequest, Forbidden, GatewayError, InvalidKey, NotFound, UpstreamUnavailable, http_status
from gateway.ui.backend import PREFIX, inward, status_of
from gateway.ui.scripts import Script, load
from gateway.ui.sessions import LIFETIME_S, Sessions

STATIC = Path(__file__).parent / "static"
MAPS = Path(__file__).parent / "maps"
ADMIN_PATH = "/api/conversations?limit=1"
"""Answered only to a key that opens the page, where the gateway has keys."""

MAX_BODY_BYTES = 256 * 2**10
REACHABLE = ("/v1/", "/api/", "/health/", "/metrics", "/openapi.json")

# Nothing from elsewhere, no inline script: an answer that is HTML stays text even if it got into the page as markup.
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "manifest-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",
}


def create_page(gateway: ASGIApp, *, hosts: Hosts | None = None, only_with_key: bool = False) -> Starlette:
    """The page before a gateway, to be mounted at `/ui`.

    Args:
        gateway: answers the documented HTTP API.
        hosts: names under which the page answers, where nothing in front of it has looked at them.
        only_with_key: refuse to open the door to a gateway that has no keys, because other machines reach this page.
    """
    door = Door(gateway, Sessions(), only_with_key)
    stage = Stage(load())
    routes = [
        Route("/session", door.session, methods=["GET", "POST", "DELETE"]),
        Mount(PREFIX, door),
        Route("/scripts", stage.scripts),
        Route("/verdict", stage.judge, methods=["POST"]),
        Mount("/maps", StaticFiles(directory=MAPS)),
        Mount("/", StaticFiles(directory=STATIC, html=True)),
    ]
    handlers: dict[Any, Any] = {GatewayError: _on_gateway_error, HTTPException: _on_http_error}
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.add_middleware(_Headers, hosts=hosts or Hosts(None))
    return app


class Absent:
    """Stands at `/ui` where the page is not served, and says what to do about it."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse one request."""
        raise NotFound(self._reason, code="page_not_served")


class Door:
    """Lets the page through to the gateway, with the key of its session."""

    def __init__(self, gateway: ASGIApp, sessions: Sessions, only_with_key: bool) -> None:
        self._gateway = gateway
        self._sessions = sessions
        self._only_with_key = only_with_key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on to the gateway."""
        request = Request(scope, receive)
        refuse_other_origins(request)
        inner = inward(scope, self._sessions.key(_token(request)))
        if not inner["path"].startswith(REACHABLE):
            raise NotFound(f"The page does not reach {inner['path'][:256]}.")
        if self._only_with_key and _has_no_key(inner):
            raise InvalidKey("Open the page with a key first.")
        await self._gateway(inner, receive, send)

    async def session(self, request: Request) -> Response:
        """Log in, log out, or say how things stand."""
        refuse_other_origins(request)
        if request.method == "POST":
            return await self._log_in(request)
        if request.method == "DELETE":
            self._sessions.end(_token(request))
            answer = Response(status_code=204)
            answer.delete_cookie(_cookie_name(request), path=_cookie_path(request))
            return answer
        needs_key = self._only_with_key or await self._status(request, None) in (401, 403)
        is_open = not needs_key or self._sessions.key(_token(request)) is not None
        return JSONResponse({"needs_key": needs_key, "open": is_open})

    async def _log_in(self, request: Request) -> Response:
        key = (await json_body(request)).get("key")
        if not isinstance(key, str) or not key.strip() or not key.isascii() or not key.isprintable():
            raise BadRequest("Give the key as text.", param="key")
        if self._only_with_key and await self._status(request, None) == 200:
            raise Forbidden(
                "This gateway has no keys, and other machines reach this page: everybody could use the gateway. "
                "Set up keys, let the page listen on 127.0.0.1, or start it with --open."
            )
        status = await self._status(request, key.strip())
        if status == 401:
            raise InvalidKey("The gateway does not know this key.")
        if status == 403:
            raise Forbidden("This key does not open the page; one with 'admin = true' does.", code="admin_key_required")
        if status != 200:
            raise UpstreamUnavailable(f"The gateway does not answer as it should (HTTP {status}).")
        answer = Response(status_code=204)
        answer.set_cookie(
            _cookie_name(request),
            self._sessions.begin(key.strip()),
            max_age=LIFETIME_S,
            path=_cookie_path(request),
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return answer

    async def _status(self, request: Request, key: str | None) -> int:
        return await status_of(self._gateway, ADMIN_PATH, request.headers.get("host", ""), key)


class Stage:
    """Ready-made conversations, and what their checks say of an answer."""

    def __init__(self, plays: Mapping[str, Script]) -> None:
        self._plays = plays

    async def scripts(self, _request: Request) -> Response:
        """The conversations."""
        return JSONResponse({"object": "list", "data": [script.public() for script in self._plays.values()]})

    async def judge(self, request: Request) -> Response:
        """Whether `reply` follows the instruction of the script named `script`."""
        refuse_other_origins(request)
        body = await json_body(request)
        script = self._plays.get(str(body.get("script")))
        if script is None:
            raise NotFound("There is no such script.", param="script")
        reply = body.get("reply")
        if not isinstance(reply, str):
            raise BadRequest("Give the reply as text.", param="reply")
        return JSONResponse({"adherent": script.adherent(reply)})


async def json_body(request: Request) -> dict[str, Any]:
    """The request's JSON object.

    Raises:
        BadRequest: it is none, or larger than the page ever sends.
    """
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MAX_BODY_BYTES:
            raise BadRequest(f"The body is larger than {MAX_BODY_BYTES} bytes.")
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise BadRequest("The body must be a JSON object.")
    return body


def refuse_other_origins(request: Request) -> None:
    """A session's cookie comes with whatever the browser sends here: pages of other origins must not use it.

    Raises:
        Forbidden: another page than this one asks.
    """
    origin = request.headers.get("origin")
    foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    if foreign or request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Forbidden("Only the page itself may ask this.", code="origin_not_allowed")


def _has_no_key(scope: Scope) -> bool:
    return all(name != b"authorization" for name, _ in scope["headers"])


def _token(request: Request) -> str | None:
    return request.cookies.get(_cookie_name(request))


def _cookie_name(request: Request) -> str:
    """With the port: browsers send a cookie to every port of a machine, and two gateways may run on one."""
    return f"gattway_session_{request.url.port or request.url.scheme}"


def _cookie_path(request: Request) -> str:
    return f"{request.scope.get('root_path', '').rstrip('/')}/"


async def _on_gateway_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError)
    return JSONResponse(error.body(), http_status(error), error.headers)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    refused: GatewayError = NotFound(f"Unknown request URL: {request.method} {request.url.path}.", code="unknown_url")
    if error.status_code == 405:
        refused = BadRequest(f"Not allowed to {request.method} on {request.url.path}.", code="method_not_allowed")
    return JSONResponse(refused.body(), error.status_code, error.headers)


class _Headers:
    """Pure ASGI middleware: what the page's files carry. The gateway's answers keep their own headers."""

    def __init__(self, app: ASGIApp, hosts: Hosts) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                self._hosts.check(Headers(scope=scope).get("host"))
            except Forbidden as error:
                await JSONResponse(error.body(), error.status)(scope, receive, send)
                return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)
