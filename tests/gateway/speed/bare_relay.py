"""The least that a relay can be on the gateway's own stack: uvicorn, httptools, uvloop, aiohttp, and no thought."""

import sys
from typing import Any

import aiohttp
import uvicorn

UPSTREAM = sys.argv[1]


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await _live(scope, receive, send)
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers = {"content-type": "application/json"}
    async with scope["state"]["session"].post(UPSTREAM + scope["path"], data=body, headers=headers) as answer:
        kept = [(b"content-type", answer.headers["content-type"].encode())]
        await send({"type": "http.response.start", "status": answer.status, "headers": kept})
        async for read in answer.content.iter_any():
            await send({"type": "http.response.body", "body": read, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _live(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await receive()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        scope["state"]["session"] = session
        await send({"type": "lifespan.startup.complete"})
        await receive()
    await send({"type": "lifespan.shutdown.complete"})


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)
