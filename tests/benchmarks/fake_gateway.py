"""A gateway that speaks HTTP on a socket and whose arms behave by rule: gatt and repeat follow, untreated forgets."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import defaultdict
from typing import Any, Self

from aiohttp import web

STRATEGIES = {"gatt": ("once", "mini-gatt"), "repeat": ("every-turn", "mini-base"), "untreated": ("once", "mini-base")}
INPUT_USD, CACHED_USD, OUTPUT_USD = 1e-6, 1e-7, 4e-6


def words(messages: list[dict[str, Any]]) -> int:
    return sum(len(message["content"].split()) for message in messages)


class FakeGateway:
    """Tokens are words. The word after "Say" in the instruction is what an obedient answer begins with."""

    def __init__(self, window: int = 250, fail_at_turn: int | None = None, dealt: str | None = None) -> None:
        self.window, self.fail_at_turn, self.dealt = window, fail_at_turn, dealt
        self.rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.requests: list[dict[str, Any]] = []
        self.verdicts: list[str] = []
        """What the model `judge` says, one after the other; the last one for good."""
        self.judged: list[str] = []
        """What it was asked."""
        self._arms: dict[str, str] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.url = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> str:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_get("/api/conversations/{id}", self._conversation)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _conversation(self, request: web.Request) -> web.Response:
        return web.json_response({"id": request.match_info["id"], "turns": self.rows[request.match_info["id"]]})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if body["model"] == "judge":
            return self._judge(body)
        conversation_id = request.headers["x-gattway-conversation-id"]
        self.requests.append({"conversation_id": conversation_id, **body})
        arm = body["model"].partition(":")[2] or self._deal(conversation_id)
        turn = sum(message["role"] == "user" for message in body["messages"])
        repeated = words(body["messages"][:1]) * (turn - 1) if arm == "repeat" else 0
        prompt = words(body["messages"]) + repeated
        if turn == self.fail_at_turn:
            return web.json_response(
                {"error": {"message": "model is gone", "type": "x", "param": None, "code": None}}, status=502
            )
        if prompt > self.window:
            self._record(conversation_id, arm, turn, prompt, 0, repeated, http_status=400)
            error = {"message": "too long", "type": "x", "param": "messages", "code": "context_length_exceeded"}
            return web.json_response({"error": error}, status=400)
        pieces = self._answer(body, arm, turn)
        response = await self._stream(request, body["model"], arm, pieces)
        self._record(conversation_id, arm, turn, prompt, len("".join(pieces).split()), repeated, http_status=200)
        await response.write(b"data: [DONE]\n\n")
        return response

    def _judge(self, body: dict[str, Any]) -> web.Response:
        self.judged.append(body["messages"][-1]["content"])
        said = self.verdicts[min(len(self.judged), len(self.verdicts)) - 1]
        choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        head = {"id": "j", "object": "chat.completion", "created": 0, "model": "judge"}
        return web.json_response({**head, "choices": [choice]})

    def _deal(self, conversation_id: str) -> str:
        if self.dealt == "anew at every turn":
            return ("gatt", "repeat")[len(self.requests) % 2]
        return self._arms.setdefault(conversation_id, self.dealt or ("gatt", "repeat")[len(self._arms) % 2])

    def _answer(self, body: dict[str, Any], arm: str, turn: int) -> list[str]:
        head = body["messages"][0]
        follows = head["role"] == "system" and (arm != "untreated" or turn == 1)
        marker = [head["content"].removeprefix("Say "), " "] if follows else []
        return [*marker, "answer ", "to ", body["messages"][-1]["content"]]

    async def _stream(self, request: web.Request, model: str, arm: str, pieces: list[str]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream", "x-gattway-arm": arm})
        await response.prepare(request)
        head = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": model}
        for piece in pieces:
            chunk = {**head, "choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]}
            await response.write(f"data: {json.dumps(chunk)}\n\n".encode())
        return response

    def _record(
        self, conversation_id: str, arm: str, turn: int, prompt: int, completion: int, repeated: int, http_status: int
    ) -> None:
        cached = prompt // 2
        costs = ((prompt - cached) * INPUT_USD, cached * CACHED_USD, completion * OUTPUT_USD)
        self.rows[conversation_id].append(
            {
                "turn": turn,
                "arm": arm,
                "strategy": STRATEGIES[arm][0],
                "model": STRATEGIES[arm][1],
                "http_status": http_status,
                "prompt_tokens": prompt,
                "cached_tokens": cached,
                "completion_tokens": completion,
                "repeated_instruction_tokens": repeated,
                "context_window": self.window,
                "context_used": prompt + completion,
                "cost_usd": sum(costs),
                "cost_input_usd": costs[0],
                "cost_cached_usd": costs[1],
                "cost_output_usd": costs[2],
            }
        )
