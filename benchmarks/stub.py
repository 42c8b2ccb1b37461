"""An OpenAI-compatible server that answers at once with a few words; what is measured is the gateway before it."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from aiohttp import web

ARMS = """
[upstreams.stub]
kind = "openai"
base_url = "{upstream}/v1"
[models.m]
upstream = "stub"
name = "gpt-4o"
[experiments.ab.arms.once]
strategy = "once"
model = "m"
[experiments.ab.arms.repeat]
strategy = "every-turn"
model = "m"
"""
"""A gateway's config, but for its ledger: two arms of one model of the server at `{upstream}`."""

WORDS = ("Yes", ", ", "indeed", ".")
_USAGE = {"prompt_tokens": 20, "completion_tokens": len(WORDS), "total_tokens": 20 + len(WORDS)}


@contextmanager
def stub(pause_s: float = 0.0) -> Iterator[str]:
    """Serve on a free loopback port from a thread; yields the URL without `/v1`.

    Args:
        pause_s: seconds between two words of a stream.
    """
    with serving(_app(pause_s)) as url:
        yield url


@contextmanager
def serving(app: web.Application) -> Iterator[str]:
    """Serve any such application on a free loopback port from a thread; yields its URL."""
    listening = socket.socket(proto=socket.IPPROTO_TCP)  # asyncio then sends small writes at once
    listening.bind(("127.0.0.1", 0))
    loop = asyncio.new_event_loop()
    started, stop = threading.Event(), asyncio.Event()

    async def run() -> None:
        runner = web.AppRunner(app)
        await runner.setup()
        await web.SockSite(runner, listening).start()
        started.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), name="stub", daemon=True)
    thread.start()
    if not started.wait(10):
        raise RuntimeError("the stub did not start")
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


def _app(pause_s: float) -> web.Application:
    async def complete(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if not body.get("stream"):
            return web.json_response(_completion(body["model"]))
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        with suppress(ConnectionError):  # the gateway was killed
            await speak(response, body["model"])
        return response

    async def speak(response: web.StreamResponse, model: str) -> None:
        for index, word in enumerate(WORDS):
            delta = {"role": "assistant", "content": word} if index == 0 else {"content": word}
            await response.write(_event(model, [{"index": 0, "delta": delta, "finish_reason": None}]))
            if pause_s:
                await asyncio.sleep(pause_s)
        await response.write(_event(model, [{"index": 0, "delta": {}, "finish_reason": "stop"}]))
        await response.write(_event(model, [], usage=_USAGE) + b"data: [DONE]\n\n")
        await response.write_eof()

    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_post("/v1/chat/completions", complete)
    return app


def _completion(model: str) -> dict[str, object]:
    message = {"role": "assistant", "content": "".join(WORDS), "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model}
    return {**head, "choices": [choice], "usage": _USAGE}


def _event(model: str, choices: list[dict[str, object]], **more: object) -> bytes:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}
    return b"data: " + json.dumps({**head, "choices": choices, **more}).encode() + b"\n\n"
