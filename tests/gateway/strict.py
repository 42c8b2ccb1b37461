"""Validation without mercy against the types of the `openai` package.

pydantic's strict mode takes no string for a number; on top of it, a field that OpenAI's specification requires must be
there even when it is null, which the package's own types would let pass as absent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from openai.types import CompletionUsage, ErrorObject, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessage
from openai.types.chat.chat_completion import Choice
from openai.types.chat.chat_completion_chunk import Choice as ChunkChoice
from openai.types.chat.chat_completion_chunk import ChoiceDeltaToolCall
from openai.types.responses import (
    Response,
    ResponseErrorEvent,
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseReasoningItem,
    ResponseStreamEvent,
    ResponseUsage,
)
from pydantic import BaseModel, TypeAdapter

REQUIRED: dict[type[BaseModel], set[str]] = {
    ErrorObject: {"message", "type", "param", "code"},
    Model: {"id", "object", "created", "owned_by"},
    CompletionUsage: {"prompt_tokens", "completion_tokens", "total_tokens"},
    ChatCompletion: {"id", "object", "created", "model", "choices", "usage"},
    Choice: {"index", "message", "logprobs", "finish_reason"},
    ChatCompletionMessage: {"role", "content", "refusal"},
    ChatCompletionChunk: {"id", "object", "created", "model", "choices"},
    ChunkChoice: {"index", "delta", "logprobs", "finish_reason"},
    ChoiceDeltaToolCall: {"index"},
    Response: {
        *("id", "object", "created_at", "status", "error", "incomplete_details", "instructions", "metadata", "model"),
        *(
            "output",
            "parallel_tool_calls",
            "temperature",
            "tool_choice",
            "tools",
            "top_p",
            "usage",
            "text",
            "truncation",
        ),
        *("max_output_tokens", "previous_response_id", "reasoning", "user"),
    },
    ResponseErrorEvent: {"code", "message", "param"},
    ResponseOutputMessage: {"id", "type", "role", "status", "content"},
    ResponseOutputText: {"type", "text", "annotations", "logprobs"},
    ResponseFunctionToolCall: {"id", "type", "call_id", "name", "arguments", "status"},
    ResponseReasoningItem: {"id", "type", "summary", "content", "status"},
    ResponseUsage: {"input_tokens", "output_tokens", "total_tokens", "input_tokens_details", "output_tokens_details"},
}
"""What must be there, null or not, by OpenAI's specification (https://github.com/openai/openai-openapi)."""

_EVENTS: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def checked(kind: type[BaseModel], data: Any) -> Any:
    """`data` as a `kind`. Raises ValidationError for a mistyped field, AssertionError for an absent one."""
    value = kind.model_validate(data, strict=True)
    _assert_complete(value)
    return value


def checked_event(data: Any) -> Any:
    """One event of a Responses stream, checked the same way."""
    value = _EVENTS.validate_python(data, strict=True)
    _assert_complete(value)
    return value


def _assert_complete(value: Any) -> None:
    for path, model in _models(value, type(value).__name__):
        missing = REQUIRED.get(type(model), set()) - model.model_fields_set
        assert not missing, f"{path} lacks {', '.join(sorted(missing))}"


def _models(value: Any, path: str) -> Iterator[tuple[str, BaseModel]]:
    if isinstance(value, BaseModel):
        yield path, value
        for name in type(value).model_fields:
            yield from _models(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _models(item, f"{path}[{index}]")
