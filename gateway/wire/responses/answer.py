"""A chat completion as a Response: whole, or as typed events while it comes.

    created, in_progress, (output_item.added, (content_part.added, deltas, done)*, output_item.done)*, and at the end

    completed    the model came to its end
    incomplete   it was stopped: at `max_output_tokens`, or by a content filter
    failed       something broke; an `error` event follows, for clients that look for nothing else

(https://platform.openai.com/docs/api-reference/responses-streaming)
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import orjson

from gateway.wire.observe import Usage
from gateway.wire.responses.errors import reworded
from gateway.wire.responses.output import CallItem, Events, TextItem

_REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}


class Answer:
    """One Response while it grows.

    Args:
        request_id: the ids of the Response and of its items are made of it.
        shown: the settings that the Response repeats, from `ResponsesRequest`.
    """

    def __init__(self, request_id: str, model: str, shown: dict[str, Any], created_at: int | None = None) -> None:
        self._id = request_id.removeprefix("req_")
        self._model = model
        self._shown = shown
        self._created_at = int(time.time()) if created_at is None else created_at
        self._events = Events()
        self._items: list[TextItem | CallItem] = []
        self._message: TextItem | None = None
        self._reasoning: TextItem | None = None
        self._calls: dict[int, CallItem] = {}
        self._usage: dict[str, Any] | None = None
        self._service_tier: str | None = shown.get("service_tier")
        self._finish_reason: str | None = None
        self._begun = False

    def whole(self, completion: dict[str, Any]) -> dict[str, Any]:
        """The Response for a whole `chat.completion`."""
        choices = [{**choice, "delta": choice.get("message")} for choice in _dicts(completion.get("choices"))]
        self._take({**completion, "choices": choices})
        return self._end()

    async def events(self, chat_events: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        """Typed events for a stream of chat completion events, each of these on a line of its own."""
        async with aclosing(chat_events) as reads:
            async for read in reads:
                for line in read.splitlines():
                    if line.startswith(b"data:"):
                        self._see(line[5:].strip())
                typed = self._events.taken()
                if typed:
                    yield typed

    def _see(self, data: bytes) -> None:
        if not self._begun:
            self._begun = True
            self._events.add("response.created", response=self._response("in_progress"))
            self._events.add("response.in_progress", response=self._response("in_progress"))
        if data == b"[DONE]":
            response = self._end()
            self._events.add(f"response.{response['status']}", response=response)
            return
        chunk = orjson.loads(data)
        if isinstance(chunk.get("error"), dict):
            self._fail(chunk["error"])
        else:
            self._take(chunk)

    def _take(self, chunk: dict[str, Any]) -> None:
        if isinstance(chunk.get("model"), str):
            self._model = chunk["model"]
        if isinstance(chunk.get("service_tier"), str):
            self._service_tier = chunk["service_tier"]
        if isinstance(chunk.get("usage"), dict):
            self._usage = _usage(chunk["usage"]) or self._usage
        for choice in _dicts(chunk.get("choices")):
            if choice.get("index", 0) == 0:
                self._take_choice(choice)

    def _take_choice(self, choice: dict[str, Any]) -> None:
        delta = choice["delta"] if isinstance(choice.get("delta"), dict) else {}
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(thought, str) and thought:
            self._add_reasoning(thought)
        logprobs = _logprobs(choice.get("logprobs"))
        if isinstance(delta.get("content"), str) and (delta["content"] or logprobs):
            self._open_message().add("output_text", delta["content"], logprobs)
        if isinstance(delta.get("refusal"), str) and delta["refusal"]:
            self._open_message().add("refusal", delta["refusal"])
        for position, call in enumerate(_dicts(delta.get("tool_calls"))):
            self._add_call(call, position)
        if isinstance(choice.get("finish_reason"), str):
            self._finish_reason = choice["finish_reason"]

    def _add_reasoning(self, text: str) -> None:
        if self._reasoning is None:
            self._reasoning = TextItem(self._events, len(self._items), self._item_id("rs"), "reasoning")
            self._items.append(self._reasoning)
        self._reasoning.add("reasoning_text", text)

    def _open_message(self) -> TextItem:
        self._close_reasoning()
        if self._message is None:
            self._message = TextItem(self._events, len(self._items), self._item_id("msg"), "message")
            self._items.append(self._message)
        return self._message

    def _add_call(self, call: dict[str, Any], position: int) -> None:
        self._close_reasoning()
        index = call["index"] if isinstance(call.get("index"), int) else position
        function = call["function"] if isinstance(call.get("function"), dict) else {}
        if index not in self._calls:
            call_id = call.get("id") or self._item_id("call")
            item = CallItem(
                self._events, len(self._items), self._item_id("fc"), str(call_id), str(function.get("name") or "")
            )
            self._calls[index] = item
            self._items.append(item)
        if isinstance(function.get("arguments"), str) and function["arguments"]:
            self._calls[index].add(function["arguments"])

    def _close_reasoning(self) -> None:
        if self._reasoning is not None:
            self._reasoning.close("completed")
            self._reasoning = None

    def _end(self) -> dict[str, Any]:
        """Close what is open; the Response as it then is."""
        reason = _REASONS.get(self._finish_reason or "")
        if not self._items:
            self._open_message().add("output_text", "")
        for item in self._items:
            item.close("incomplete" if reason else "completed")
        if reason:
            return self._response("incomplete", incomplete_details={"reason": reason})
        return self._response("completed", completed_at=int(time.time()))

    def _fail(self, error: dict[str, Any]) -> None:
        for item in self._items:
            item.close("incomplete")
        message, param = reworded(str(error.get("message")), error.get("param"))
        code = "rate_limit_exceeded" if "rate_limit" in str(error.get("code")) else "server_error"
        failed = self._response("failed", error={"code": code, "message": message})
        self._events.add("response.failed", response=failed)
        told = {**error, "message": message, "param": param}
        self._events.add("error", code=error.get("code"), message=message, param=param, error=told)

    def _response(self, status: str, **changes: Any) -> dict[str, Any]:
        return {
            "id": f"resp_{self._id}",
            "object": "response",
            "created_at": self._created_at,
            "status": status,
            "completed_at": None,
            "error": None,
            "incomplete_details": None,
            "model": self._model,
            "output": [item.value() for item in self._items],
            **self._shown,
            "service_tier": self._service_tier,
            "usage": self._usage,
            **changes,
        }

    def _item_id(self, prefix: str) -> str:
        return f"{prefix}_{self._id}{len(self._items):02d}"


def _usage(usage: dict[str, Any]) -> dict[str, Any] | None:
    """This API's names for the counts; its types know no null, so what the upstream does not say is 0 here."""
    read = Usage.read(usage)
    if read is None:
        return None
    prompt, completion = read.prompt_tokens or 0, read.completion_tokens or 0
    details = usage.get("prompt_tokens_details")
    written = details.get("cache_write_tokens") if isinstance(details, dict) else None
    return {
        "input_tokens": prompt,
        "input_tokens_details": {
            "cached_tokens": read.cached_tokens or 0,
            "cache_write_tokens": written if isinstance(written, int) else 0,
        },
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": read.reasoning_tokens or 0},
        "total_tokens": prompt + completion,
    }


def _logprobs(logprobs: Any) -> list[dict[str, Any]]:
    tokens = _dicts(logprobs.get("content")) if isinstance(logprobs, dict) else []
    return [
        {**_logprob(token), "top_logprobs": [_logprob(top) for top in _dicts(token.get("top_logprobs"))]}
        for token in tokens
    ]


def _logprob(token: dict[str, Any]) -> dict[str, Any]:
    return {"token": token.get("token"), "logprob": token.get("logprob"), "bytes": token.get("bytes") or []}


def _dicts(values: Any) -> list[dict[str, Any]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
