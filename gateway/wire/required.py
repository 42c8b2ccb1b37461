"""Fields that OpenAI's answers always carry, for upstreams that leave them out where they are empty.

OpenAI's specification requires `message.content`, `message.refusal`, `choices[].logprobs` and
`choices[].finish_reason`, each null where there is nothing to say; clients with strict types break without them. An
answer that has them all is not touched, so that its bytes go on as they came.
"""

from __future__ import annotations

from typing import Any

_CHOICE = ("logprobs", "finish_reason")
_MESSAGE = ("content", "refusal")


def fill_completion(completion: dict[str, Any]) -> bool:
    """Add to a `chat.completion` what it lacks; True when something was added."""
    added = False
    for choice in _choices(completion):
        added |= _fill(choice, _CHOICE)
        if isinstance(choice.get("message"), dict):
            added |= _fill(choice["message"], _MESSAGE)
    return added


def fill_chunk(chunk: dict[str, Any]) -> bool:
    """Add to a `chat.completion.chunk` what it lacks; True when something was added."""
    added = False
    for choice in _choices(chunk):
        added |= _fill(choice, _CHOICE)
    return added


def _choices(answer: dict[str, Any]) -> list[dict[str, Any]]:
    choices = answer.get("choices")
    return [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []


def _fill(part: dict[str, Any], names: tuple[str, ...]) -> bool:
    missing = [name for name in names if name not in part]
    part.update(dict.fromkeys(missing))
    return bool(missing)
