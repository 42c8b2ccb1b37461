"""Real servers on real sockets: the gateway, and an upstream that behaves as its model's name says."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serve an ASGI app on a free loopback port from a thread; yields its base URL."""
    listening = socket.socket(proto=socket.IPPROTO_TCP)  # asyncio then sends small writes at once
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5, ws="none"))
    started = threading.Event()
    startup = server.startup

    async def announce(sockets: list[socket.socket] | None = None) -> None:
        await startup(sockets)
        started.set()

    server.startup = announce  # type: ignore[method-assign]
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])), daemon=True)
    thread.start()
    assert started.wait(20), "the server did not start"
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()
        assert not thread.is_alive(), "the server did not stop"


class FakeUpstream:
    """An OpenAI-compatible server. What it does follows from the model's name:

    `echo` answers with the last message's text, word by word, and gives usage; `echo-without-usage`,
    `echo-without-done`; `cut` breaks off in mid-stream; `error-in-stream`; `garbage` sends what is no JSON;
    `flaky-N` refuses N times and then behaves as `echo`; `slow` sends a word and then waits until `go_on`;
    `silent` never sends a byte; `status-N` refuses with HTTP status N, and `status-503-for-good`
    says that trying again is no use; `overflow` refuses as vLLM does;
    `html` answers with a web page.
    """

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.cancelled = threading.Event()
        self.go_on = threading.Event()
        self.app = Starlette(routes=[Route("/v1/chat/completions", self._complete, methods=["POST"])])

    async def _complete(self, request: Request) -> Response:
        body = orjson.loads(await request.body())
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        model: str = body["model"]
        if model == "status-503-for-good":
            headers = {"retry-after-ms": "1500", "x-should-retry": "false"}
            return JSONResponse({"error": {"message": "Gone."}}, 503, headers)
        if model.startswith("status-"):
            status = int(model.removeprefix("status-"))
            error = {"message": f"Refused with {status}.", "type": "refusal", "param": None, "code": "refused"}
            return JSONResponse({"error": error}, status, {"retry-after": "7"})
        if model.startswith("flaky-") and sum(sent["model"] == model for sent in self.bodies) <= int(model[6:]):
            return JSONResponse({"error": {"message": "Not yet."}}, 503)
        if model == "overflow":
            text = "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens."
            return JSONResponse({"object": "error", "message": text, "type": "BadRequestError", "code": 400}, 400)
        if model == "html":
            return Response("<html>", media_type="text/html")
        if body.get("stream"):
            return StreamingResponse(self._events(body), media_type="text/event-stream")
        if model == "silent":
            await self._wait()
        return JSONResponse(_completion(body))

    async def _events(self, body: dict[str, Any]) -> AsyncIterator[bytes]:
        model = body["model"]
        if model == "silent":
            await self._wait()
        words = _answer(body).split(" ")
        for index, word in enumerate(words):
            yield _event(_chunk(body, {"role": "assistant", "content": word if index == 0 else f" {word}"}))
            await asyncio.sleep(0)
            if model == "slow" and index == 0:
                await self._wait()
            if model == "cut" and index == 1:
                return
            if model == "error-in-stream" and index == 1:
                yield _event({"error": {"message": "Out of memory.", "type": "server_error", "code": "oom"}})
                return
            if model == "garbage" and index == 1:
                yield b"data: {not json\n\n"
                return
        yield _event(_chunk(body, {}, "stop"))
        if model != "echo-without-usage" and (body.get("stream_options") or {}).get("include_usage"):
            yield _event({**_chunk(body, {}), "choices": [], "usage": _usage(body)})
        if model != "echo-without-done":
            yield b"data: [DONE]\n\n"

    async def _wait(self) -> None:
        try:
            while not self.go_on.is_set():  # noqa: ASYNC110 - set from the test's thread
                await asyncio.sleep(0.02)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


def _answer(body: dict[str, Any]) -> str:
    return f"You said: {body['messages'][-1]['content']}"


def _usage(body: dict[str, Any]) -> dict[str, Any]:
    prompt = sum(len(str(message["content"]).split()) for message in body["messages"])
    completion = len(_answer(body).split())
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": prompt // 2},
    }


def _completion(body: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": _answer(body), "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    usage = {} if body["model"] == "echo-without-usage" else {"usage": _usage(body)}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [choice],
        **usage,
    }


def _chunk(body: dict[str, Any], delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": body["model"],
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}],
    }


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"
