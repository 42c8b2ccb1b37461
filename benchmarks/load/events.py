"""What the upstreams say: a completion, and a stream's events, as an OpenAI-compatible server sends them."""

from __future__ import annotations

import json
from typing import Any

EVENTS = 202
"""Of the stream that is sent at once: the role, 199 tokens, the end and the usage; `[DONE]` follows."""
_HEAD = {"id": "chatcmpl-load", "created": 1_700_000_000, "model": "gpt-4o"}
_USAGE = {"prompt_tokens": 40, "completion_tokens": 199, "total_tokens": 239}

STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\nconnection: keep-alive\r\n\r\n"
)
LAST_CHUNK = b"0\r\n\r\n"


def completion() -> bytes:
    """An answer that is not streamed."""
    message = {"role": "assistant", "content": "The capital of France is Paris.", "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return _compact({**_HEAD, "object": "chat.completion", "choices": [choice], "usage": _USAGE})


def stream() -> bytes:
    """A stream's body: `EVENTS` events and the end."""
    return delta_event("", role="assistant") + b"".join(tokens(EVENTS - 3)) + end_events()


def tokens(count: int) -> list[bytes]:
    """So many tokens' events, no two the same in a row: LiteLLM breaks off models that repeat themselves."""
    return [delta_event(f" word{index % 97}") for index in range(count)]


def delta_event(content: str, **more: Any) -> bytes:
    """A token's event."""
    return _event([{"index": 0, "delta": {**more, "content": content}, "logprobs": None, "finish_reason": None}])


def end_events() -> bytes:
    """The last choice, the usage and `[DONE]`."""
    last = [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}]
    return _event(last) + _event([], usage=_USAGE) + b"data: [DONE]\n\n"


def chunk(data: bytes) -> bytes:
    """In HTTP's chunked coding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _compact(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _event(choices: list[dict[str, Any]], **more: Any) -> bytes:
    event = {**_HEAD, "object": "chat.completion.chunk", "choices": choices, **more}
    return b"data: %b\n\n" % _compact(event)
