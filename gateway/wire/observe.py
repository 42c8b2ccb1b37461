"""What accounting needs to know of an answer, read from a copy of its bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from strategies import Message


class Usage(NamedTuple):
    """Token counts as the upstream gave them; None is unknown, not 0."""

    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    audio_prompt_tokens: int | None = None
    audio_completion_tokens: int | None = None

    @classmethod
    def read(cls, usage: Any) -> Usage | None:
        """From OpenAI's `usage` object; None when it is absent or holds no count.

        Cached tokens are read where OpenAI, DeepSeek, Anthropic and Moonshot put them. Where the total shows that the
        completion does not hold the reasoning tokens (xAI), they are added: they are billed as output.
        """
        if not isinstance(usage, dict):
            return None
        of_prompt, of_completion = _part(usage, "prompt_tokens_details"), _part(usage, "completion_tokens_details")
        reasoning = _count(of_completion.get("reasoning_tokens"))
        read = cls(
            prompt_tokens=_count(usage.get("prompt_tokens")),
            completion_tokens=_whole_completion(usage, reasoning),
            cached_tokens=_first(
                of_prompt.get("cached_tokens"),
                usage.get("prompt_cache_hit_tokens"),
                usage.get("cache_read_input_tokens"),
                usage.get("cached_tokens"),
            ),
            reasoning_tokens=reasoning,
            cache_write_tokens=_first(
                of_prompt.get("cache_write_tokens"),
                of_prompt.get("cache_creation_tokens"),
                usage.get("cache_creation_input_tokens"),
            ),
            cache_write_1h_tokens=_count(
                _part(of_prompt, "cache_creation_token_details").get("ephemeral_1h_input_tokens")
            ),
            audio_prompt_tokens=_count(of_prompt.get("audio_tokens")),
            audio_completion_tokens=_count(of_completion.get("audio_tokens")),
        )
        return read if read.prompt_tokens is not None or read.completion_tokens is not None else None


@dataclass(slots=True)
class Observation:
    """The first choice's answer as far as it came, and how it ended.

    `other_texts` are the texts of further choices (`n` > 1) by index, `reasoning` what any choice thought aloud;
    `calls_tools` says whether any of them asks for a tool. `service_tier` is what the provider says it served by.
    """

    completion_id: str | None = None
    text: list[str] = field(default_factory=list)
    tool_calls: dict[int, dict[str, Any]] = field(default_factory=dict)
    finish_reason: str | None = None
    usage: Usage | None = None
    error: dict[str, Any] | None = None
    other_texts: dict[int, list[str]] = field(default_factory=dict)
    reasoning: list[str] = field(default_factory=list)
    calls_tools: bool = False
    service_tier: str | None = None

    def see_completion(self, completion: Any) -> None:
        """Take in a whole `chat.completion` object."""
        if not isinstance(completion, dict):
            return
        self._see_id(completion)
        self.usage = Usage.read(completion.get("usage"))
        self._see_tier(completion)
        for choice in _choices(completion):
            if isinstance(choice.get("message"), dict):
                self._see_choice(choice, choice["message"])

    def see_chunk(self, chunk: Any) -> None:
        """Take in one `chat.completion.chunk` object."""
        if not isinstance(chunk, dict):
            return
        if isinstance(chunk.get("error"), dict):
            self.error = chunk["error"]
        if self.completion_id is None:
            self._see_id(chunk)
        if chunk.get("usage") is not None:
            self.usage = Usage.read(chunk["usage"]) or self.usage
        self._see_tier(chunk)
        for choice in _choices(chunk):
            delta = choice.get("delta")
            self._see_choice(choice, delta if isinstance(delta, dict) else {})

    def message(self) -> Message:
        """The answer as the assistant message that a client will send back."""
        message: Message = {"role": "assistant", "content": "".join(self.text)}
        if self.tool_calls:
            message["tool_calls"] = [self.tool_calls[index] for index in sorted(self.tool_calls)]
        return message

    def _see_id(self, payload: dict[str, Any]) -> None:
        if isinstance(payload.get("id"), str):
            self.completion_id = payload["id"]

    def texts(self) -> list[str]:
        """The text of every choice, as far as they came."""
        return ["".join(parts) for parts in (self.text, *self.other_texts.values())]

    def _see_tier(self, payload: dict[str, Any]) -> None:
        if isinstance(payload.get("service_tier"), str):
            self.service_tier = payload["service_tier"]

    def _see_choice(self, choice: dict[str, Any], part: dict[str, Any]) -> None:
        thought = part.get("reasoning_content") or part.get("reasoning")
        if isinstance(thought, str):
            self.reasoning.append(thought)
        self.calls_tools = self.calls_tools or bool(part.get("tool_calls"))
        index = choice.get("index", 0)
        if index == 0:
            self._see(part, choice.get("finish_reason"))
        elif isinstance(index, int) and isinstance(part.get("content"), str):
            self.other_texts.setdefault(index, []).append(part["content"])

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


def _part(section: dict[str, Any], key: str) -> dict[str, Any]:
    part = section.get(key)
    return part if isinstance(part, dict) else {}


def _first(*values: Any) -> int | None:
    return next((count for value in values if (count := _count(value)) is not None), None)


def _whole_completion(usage: dict[str, Any], reasoning: int | None) -> int | None:
    completion = _count(usage.get("completion_tokens"))
    prompt, total = _count(usage.get("prompt_tokens")), _count(usage.get("total_tokens"))
    if completion is not None and reasoning and prompt is not None and total == prompt + completion + reasoning:
        return completion + reasoning
    return completion


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
