"""Fields that OpenAI's answers always carry, for upstreams that leave them out where they are empty.

OpenAI's specification requires `message.content`, `message.refusal`, `choices[].logprobs` and
`choices[].finish_reason`, each null where there is nothing to say, and in front of them `id`, `object`, `created` and
`model`, the same in every chunk of an answer; clients with strict types break without them. An answer that has them
all is not touched, so that its bytes go on as they came.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from gateway.ids import random_hex

Head = Mapping[str, Any]

_CHOICE = ("logprobs", "finish_reason")
_MESSAGE = ("content", "refusal")


def new_head(model: str) -> Head:
    """`id`, `created` and `model` for an answer that `model` begins now."""
    return {"id": f"chatcmpl-{random_hex()}", "created": int(time.time()), "model": model}


def fill_completion(completion: dict[str, Any], head: Head) -> bool:
    """Add to a `chat.completion` what it lacks; True when something was added."""
    added = _fill_head(completion, head, "chat.completion")
    for choice in _choices(completion):
        added |= _fill(choice, _CHOICE)
        if isinstance(choice.get("message"), dict):
            added |= _fill(choice["message"], _MESSAGE)
    return added


def fill_chunk(chunk: dict[str, Any], head: Head) -> bool:
    """Add to a `chat.completion.chunk` what it lacks; True when something was added."""
    added = _fill_head(chunk, head, "chat.completion.chunk")
    for choice in _choices(chunk):
        added |= _fill(choice, _CHOICE)
    return added


def _choices(answer: dict[str, Any]) -> list[dict[str, Any]]:
    choices = answer.get("choices")
    return [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []


def _fill_head(answer: dict[str, Any], head: Head, kind: str) -> bool:
    added = False
    if not answer.get("object"):
        answer["object"], added = kind, True
    for name, value in head.items():
        if not answer.get(name):
            answer[name], added = value, True
    return added


def _fill(part: dict[str, Any], names: tuple[str, ...]) -> bool:
    missing = [name for name in names if name not in part]
    part.update(dict.fromkeys(missing))
    return bool(missing)
