"""An OpenAI-compatible endpoint on a real socket whose answers follow from what it is asked, like a model's."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

Refuse = Callable[[int, dict[str, Any]], tuple[int, dict[str, Any]] | None]
"""Status and error body for the nth request (counted from 1), or None to answer it."""


class FakeEndpoint:
    """Answers with a text made from the last message and the seed; `answer` puts another in its place."""

    def __init__(self, refuse: Refuse | None = None, one_choice: bool = False) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.in_flight, self.most_in_flight = 0, 0
        self.refuse, self.one_choice = refuse, one_choice
        self.delay_s = 0.0
        self.answer: Callable[[dict[str, Any], int], str] = _made_up
        self.app = Starlette(routes=[Route("/v1/chat/completions", self._complete, methods=["POST"])])

    async def _complete(self, request: Request) -> JSONResponse:
        body = orjson.loads(await request.body())
        self.bodies.append(body)
        refused = self.refuse(len(self.bodies), body) if self.refuse else None
        if refused:
            return JSONResponse({"error": refused[1]}, refused[0], {"retry-after": "0"})
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(self.delay_s)
        self.in_flight -= 1
        texts = [self.answer(body, number) for number in range(1 if self.one_choice else body.get("n") or 1)]
        choices = [
            {"index": index, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
            for index, text in enumerate(texts)
        ]
        return JSONResponse(
            {"id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": body["model"], "choices": choices}
        )


def _made_up(body: dict[str, Any], number: int) -> str:
    digest = hashlib.sha256(orjson.dumps([body["messages"], body.get("seed"), number])).hexdigest()
    return f"Answer {digest[:8]}."
