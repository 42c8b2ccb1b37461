"""The gateway as the page's server sees it: an ASGI application that answers the documented HTTP API.

In the gateway's own process that application is the gateway itself; in a process of the page's own it is `Remote`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import error_body

if TYPE_CHECKING:
    import httpx

PREFIX = "/gateway"
"""What stands before the gateway's own paths on the page's side."""

CONNECT_TIMEOUT_S = 5.0

_HOP_BY_HOP = {b"connection", b"keep-alive", b"transfer-encoding", b"te", b"trailer", b"upgrade", b"proxy-authenticate"}
# Meant for the page's server; the gateway would check the origin against its own address.
_OF_THE_BROWSER = {b"host", b"origin", b"referer", b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest"}


def inward(scope: Scope, key: str | None) -> Scope:
    """A request to the page's server, as one to the gateway: its own path, the session's key, no cookie."""
    headers = [(name, value) for name, value in scope["headers"] if name not in (b"cookie", b"authorization")]
    if key is not None:
        headers.append((b"authorization", b"Bearer " + key.encode("utf-8", "surrogateescape")))
    return {
        **{name: scope[name] for name in ("type", "asgi", "http_version", "method", "scheme", "query_string")},
        **{name: scope[name] for name in ("client", "server", "extensions") if name in scope},
        "path": scope["path"].partition(PREFIX)[2],
        "raw_path": scope["raw_path"].partition(PREFIX.encode())[2],
        "root_path": "",
        "headers": headers,
    }


async def status_of(gateway: ASGIApp, path: str, host: str, key: str | None) -> int:
    """The HTTP status of a GET with that key (None: without one), asked of the gateway as `host`."""
    status = 0
    messages: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        if not messages:
            await asyncio.Event().wait()  # nobody leaves before the answer is there
        return messages.pop()

    async def send(message: Message) -> None:
        nonlocal status
        status = message.get("status", status)

    path, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": PREFIX + path,
        "raw_path": (PREFIX + path).encode(),
        "query_string": query.encode(),
        "headers": [(b"host", host.encode())],
    }
    await gateway(inward(scope, key), receive, send)
    return status


class Remote:
    """A gateway elsewhere, at `url` (without `/v1`), over HTTP; answers come through as they are."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._client: httpx.AsyncClient | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        await (await self._answer(Request(scope, receive)))(scope, receive, send)

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()

    async def _answer(self, request: Request) -> Response:
        import httpx

        if self._client is None:
            # Answers take as long as the gateway lets them; only reaching it has a limit here.
            self._client = httpx.AsyncClient(timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT_S), trust_env=False)
        raw = request.scope["raw_path"] + (b"?" + request.scope["query_string"] if request.url.query else b"")
        headers = [one for one in request.headers.raw if one[0] not in _HOP_BY_HOP | _OF_THE_BROWSER]
        try:
            sent = self._client.build_request(
                request.method, self._url + raw.decode("ascii"), headers=headers, content=await request.body()
            )
            answer = await self._client.send(sent, stream=True)
        except httpx.HTTPError as error:
            message = f"The gateway at {self._url} does not answer ({str(error) or type(error).__name__})."
            return JSONResponse(error_body(message, "server_error", None, "gateway_unreachable"), 502)
        passed = _Passed(_bytes(answer), answer.status_code)
        passed.raw_headers = [
            (name.lower(), value) for name, value in answer.headers.raw if name.lower() not in _HOP_BY_HOP
        ]
        return passed


async def _bytes(answer: httpx.Response) -> AsyncGenerator[bytes, None]:
    try:
        async for chunk in answer.aiter_raw():
            yield chunk
    finally:
        await answer.aclose()


class _Passed(StreamingResponse):
    """Bytes as they come; the gateway hears at once when the browser leaves."""

    def __init__(self, body: AsyncGenerator[bytes, None], status: int) -> None:
        super().__init__(body, status)
        self._body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._body):
            await super().__call__(scope, receive, send)
