"""An upstream that answers with what a test puts into it, and a gateway before it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import openai
import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from gateway.app import create_app
from gateway.build import build
from gateway.settings import load
from tests.gateway.servers import serving

CONFIG = """
[ledger]
path = "{ledger}"

[upstreams.scripted]
kind = "openai"
base_url = "{upstream}/v1"

[models.m]
upstream = "scripted"
price = {{ input = 1.0, cached = 0.1, output = 4.0 }}

[experiments.ab.arms.once]
strategy = "once"
model = "m"

[experiments.ab.arms.repeat]
strategy = "every-turn"
model = "m"
"""
HEAD = {"id": "chatcmpl-1", "created": 1, "model": "m"}
USAGE = {
    "prompt_tokens": 10,
    "completion_tokens": 4,
    "total_tokens": 14,
    "prompt_tokens_details": {"cached_tokens": 6},
    "completion_tokens_details": {"reasoning_tokens": 1},
}
TOOL: dict[str, Any] = {
    "type": "function",
    "name": "add",
    "description": "Adds.",
    "parameters": {"type": "object", "properties": {}},
    "strict": False,
}
"""A function tool, as the Responses API has it."""


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


@dataclass
class Script:
    """What the upstream says: a whole message, or the deltas of a stream, and how it ends."""

    message: dict[str, Any] = field(default_factory=lambda: {"role": "assistant", "content": "Hello", "refusal": None})
    deltas: list[dict[str, Any]] = field(
        default_factory=lambda: [{"role": "assistant", "content": "Hel"}, {"content": "lo"}]
    )
    finish_reason: str = "stop"
    usage: dict[str, Any] | None = field(default_factory=lambda: dict(USAGE))
    logprobs: Any = None
    bare: bool = False
    """Whether the upstream leaves out what is null."""
    breaks_off: bool = False
    """Whether a stream ends before its finish reason, with an error."""
    chunks: list[dict[str, Any]] | None = None
    """What a stream sends instead of all this, word for word."""


class ScriptedUpstream:
    """An OpenAI-compatible server that follows `script`.

    `bodies` are the requests that it got, `wrote` is what it last answered.
    """

    def __init__(self) -> None:
        self.script = Script()
        self.bodies: list[dict[str, Any]] = []
        self.wrote = ""
        self.app = Starlette(routes=[Route("/v1/chat/completions", self._complete, methods=["POST"])])

    async def _complete(self, request: Request) -> Response:
        self.bodies.append(orjson.loads(await request.body()))
        self.wrote = ""
        if self.bodies[-1].get("stream"):
            return StreamingResponse(self._events(), media_type="text/event-stream")
        choice = {"index": 0, "message": self.script.message, **self._ends(self.script.finish_reason)}
        usage = {"usage": self.script.usage} if self.script.usage else {}
        answer = JSONResponse({**HEAD, "object": "chat.completion", "choices": [choice], **usage})
        self.wrote = bytes(answer.body).decode()
        return answer

    async def _events(self) -> AsyncIterator[bytes]:
        if self.script.chunks is not None:
            for chunk in self.script.chunks:
                yield self._sent(chunk)
            yield b"data: [DONE]\n\n"
            return
        for delta in self.script.deltas:
            yield self._chunk([{"index": 0, "delta": delta, **self._ends(None)}])
        if self.script.breaks_off:
            yield b'data: {"error": {"message": "Out of memory.", "type": "server_error", "code": "oom"}}\n\n'
            return
        yield self._chunk([{"index": 0, "delta": {}, **self._ends(self.script.finish_reason, None)}])
        if self.script.usage:
            yield self._chunk([], usage=self.script.usage)
        yield b"data: [DONE]\n\n"

    def _ends(self, finish_reason: str | None, logprobs: Any = ...) -> dict[str, Any]:
        ends = {
            "logprobs": self.script.logprobs if logprobs is ... else logprobs,
            "finish_reason": finish_reason,
        }
        return {key: value for key, value in ends.items() if value is not None} if self.script.bare else ends

    def _chunk(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        return self._sent({**HEAD, "object": "chat.completion.chunk", "choices": choices, **more})

    def _sent(self, chunk: dict[str, Any]) -> bytes:
        event = b"data: " + orjson.dumps(chunk) + b"\n\n"
        self.wrote += event.decode()
        return event


@dataclass
class Scripted:
    """A running gateway before a scripted upstream.

    Requests do not `verify`: loading certificates that are not used takes longer than the request.
    """

    url: str
    upstream: ScriptedUpstream
    client: openai.OpenAI

    @property
    def sent(self) -> dict[str, Any]:
        """What the upstream got last."""
        return self.upstream.bodies[-1]

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.post(self.url + path, json=body, headers=named, timeout=20, verify=False)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=20, verify=False)

    def events(self, path: str, body: dict[str, Any]) -> list[tuple[str | None, Any]]:
        """The (event, data) pairs of a streamed answer, as they stand on the wire; data that is no JSON as text."""
        pairs: list[tuple[str | None, Any]] = []
        for block in self.post(path, {**body, "stream": True}).text.split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
            if "data" in lines:
                data = lines["data"]
                pairs.append((lines.get("event"), data if data == "[DONE]" else orjson.loads(data)))
        return pairs


@contextmanager
def scripted(folder: Path, more: str = "") -> Iterator[Scripted]:
    """A gateway with the model `m` and the experiment `ab`, both answered by a script; `more` is more config."""
    upstream = ScriptedUpstream()
    with serving(upstream.app) as upstream_url:
        config = folder / "gattway.toml"
        config.write_text(CONFIG.format(ledger=folder / "ledger.db", upstream=upstream_url) + more)
        settings = load(config)
        with (
            serving(create_app(settings, build(settings))) as url,
            openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0, timeout=20) as client,
        ):
            yield Scripted(url, upstream, client)
