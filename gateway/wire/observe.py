"""What accounting needs to know of an answer, read from a copy of its bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from strategies import Message


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts as the upstream gave them; None is unknown, not 0."""

    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None

    @classmethod
    def read(cls, usage: Any) -> Usage | None:
        """From OpenAI's `usage` object; None when it is absent or holds no count."""
        if not isinstance(usage, dict):
            return None
        read = cls(
            _count(usage.get("prompt_tokens")),
            _count(usage.get("completion_tokens")),
            _count(_within(usage, "prompt_tokens_details", "cached_tokens")),
            _count(_within(usage, "completion_tokens_details", "reasoning_tokens")),
        )
        return read if read.prompt_tokens is not None or read.completion_tokens is not None else None


@dataclass(slots=True)
class Observation:
    """The first choice's answer as far as it came, and how it ended."""

    text: list[str] = field(default_factory=list)
    tool_calls: dict[int, dict[str, Any]] = field(default_factory=dict)
    finish_reason: str | None = None
    usage: Usage | None = None
    error: dict[str, Any] | None = None

    def see_completion(self, completion: Any) -> None:
        """Take in a whole `chat.completion` object."""
        if not isinstance(completion, dict):
            return
        self.usage = Usage.read(completion.get("usage"))
        for choice in _choices(completion):
            if choice.get("index", 0) == 0 and isinstance(choice.get("message"), dict):
                self._see(choice["message"], choice.get("finish_reason"))

    def see_chunk(self, chunk: Any) -> None:
        """Take in one `chat.completion.chunk` object."""
        if not isinstance(chunk, dict):
            return
        if isinstance(chunk.get("error"), dict):
            self.error = chunk["error"]
        if chunk.get("usage") is not None:
            self.usage = Usage.read(chunk["usage"]) or self.usage
        for choice in _choices(chunk):
            if choice.get("index", 0) == 0:
                delta = choice.get("delta")
                self._see(delta if isinstance(delta, dict) else {}, choice.get("finish_reason"))

    def message(self) -> Message:
        """The answer as the assistant message that a client will send back."""
        message: Message = {"role": "assistant", "content": "".join(self.text)}
        if self.tool_calls:
            message["tool_calls"] = [self.tool_calls[index] for index in sorted(self.tool_calls)]
        return message

    def _see(self, part: dict[str, Any], finish_reason: Any) -> None:
        if isinstance(part.get("content"), str):
            self.text.append(part["content"])
        calls = part.get("tool_calls")
        for position, call in enumerate(calls if isinstance(calls, list) else []):
            if isinstance(call, dict):
                self._see_call(call, position)
        if isinstance(finish_reason, str):
            self.finish_reason = finish_reason

    def _see_call(self, call: dict[str, Any], position: int) -> None:
        index = call.get("index", position)
        seen = self.tool_calls.setdefault(index, {"id": "", "function": {"name": "", "arguments": ""}})
        seen["id"] = seen["id"] or call.get("id") or ""
        function = call.get("function")
        for key in ("name", "arguments"):
            if isinstance(function, dict) and isinstance(function.get(key), str):
                seen["function"][key] += function[key]


def is_usage_only(chunk: Any) -> bool:
    """Whether this is the last chunk that `include_usage` asks for: usage, and no choices."""
    return isinstance(chunk, dict) and chunk.get("choices") == [] and chunk.get("usage") is not None


def _choices(payload: dict[str, Any]) -> list[dict[str, Any]]:
    choices = payload.get("choices")
    return [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []


def _within(usage: dict[str, Any], section: str, key: str) -> Any:
    details = usage.get(section)
    return details.get(key) if isinstance(details, dict) else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
