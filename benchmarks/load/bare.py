"""A relay that does nothing but relay, on the gateway's own stack (uvicorn, httptools, uvloop, aiohttp): the yardstick.

`/KIND/…` goes to the upstream of that kind. Whole reads go on as they come; nothing is parsed or kept.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

UPSTREAMS = "BENCHMARK_UPSTREAMS"
"""Environment variable: JSON, kind → address of the upstream."""

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Relay:
    """The ASGI application."""

    def __init__(self) -> None:
        self._upstreams: dict[str, str] = json.loads(os.environ[UPSTREAMS])
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Relay one request."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        assert self._session is not None
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        _, kind, path = scope["path"].split("/", 2)
        headers = {"content-type": "application/json"}
        async with self._session.post(f"{self._upstreams[kind]}/{path}", data=body, headers=headers) as response:
            kept = [(b"content-type", response.headers["content-type"].encode())]
            if length := response.headers.get("content-length"):
                kept.append((b"content-length", length.encode()))
            await send({"type": "http.response.start", "status": response.status, "headers": kept})
            async for read in response.content.iter_any():
                await send({"type": "http.response.body", "body": read, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        timeout = aiohttp.ClientTimeout(total=None)
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._session.close()
        await send({"type": "lifespan.shutdown.complete"})


def create_app() -> Relay:
    """For uvicorn's `--factory`."""
    return Relay()
