"""OpenAI's completion object and its chunks, as bytes; what stays the same is built once an answer."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

DONE = b"data: [DONE]\n\n"


@dataclass(slots=True)
class Choice:
    """One answer so far."""

    text: str = ""
    tokens: int = 0
    finish_reason: str | None = None
    cached_tokens: int = 0


def usage(prompt_tokens: int, choices: Sequence[Choice]) -> dict[str, Any]:
    """OpenAI's usage: the prompt once, all choices' tokens, their end tokens included."""
    completion_tokens = sum(choice.tokens for choice in choices)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": choices[0].cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


class Completion:
    """Writes one completion, whole or in chunks.

    Args:
        model: the name that the answer carries.
        usage_chunk: whether a chunk of usage comes last, and `usage: null` in all others.
    """

    def __init__(self, model: str, *, usage_chunk: bool = False) -> None:
        self._head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}
        start = orjson.dumps({**self._head, "object": "chat.completion.chunk"})[:-1]
        self._start = b"data: " + start + (b',"usage":null' if usage_chunk else b"") + b',"choices":[{"index":'

    def whole(self, prompt_tokens: int, choices: Sequence[Choice]) -> bytes:
        """The `chat.completion` object."""
        return orjson.dumps(
            {
                **self._head,
                "object": "chat.completion",
                "choices": [
                    {
                        "index": index,
                        "message": {"role": "assistant", "content": choice.text, "refusal": None},
                        "logprobs": None,
                        "finish_reason": choice.finish_reason,
                    }
                    for index, choice in enumerate(choices)
                ],
                "usage": usage(prompt_tokens, choices),
            }
        )

    def opening(self, index: int) -> bytes:
        """The event that opens a choice."""
        return self._event(index, b'{"role":"assistant","content":"","refusal":null}', b"null")

    def text(self, index: int, text: str) -> bytes:
        """An event with some of a choice's text."""
        return self._event(index, b'{"content":' + orjson.dumps(text) + b"}", b"null")

    def end(self, index: int, finish_reason: str) -> bytes:
        """The event that ends a choice."""
        return self._event(index, b"{}", orjson.dumps(finish_reason))

    def usage(self, prompt_tokens: int, choices: Sequence[Choice]) -> bytes:
        """The event with usage and no choices."""
        chunk = {
            **self._head,
            "object": "chat.completion.chunk",
            "choices": [],
            "usage": usage(prompt_tokens, choices),
        }
        return b"data: " + orjson.dumps(chunk) + b"\n\n"

    def _event(self, index: int, delta: bytes, finish_reason: bytes) -> bytes:
        return b'%b%d,"delta":%b,"logprobs":null,"finish_reason":%b}]}\n\n' % (self._start, index, delta, finish_reason)
