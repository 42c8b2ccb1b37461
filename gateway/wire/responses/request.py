"""A Responses request as a chat completion request.

Every field of OpenAI's API is in one of these tables: sent on under its own name, translated, of no bearing here, or
refused. A field in none of them travels on as it does in a chat completion, for upstreams that know more than OpenAI.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.errors import BadRequest
from gateway.wire.fields import Check, at_least_one, check_fields, integer, number, of
from gateway.wire.request import ChatRequest, model_of
from gateway.wire.responses.items import messages_of
from gateway.wire.responses.tools import choice_of, shown_tools, tools_of
from strategies import Message


@dataclass(frozen=True, slots=True)
class ResponsesRequest:
    """A request as the chat completion that answers it, and `shown`: the settings that the Response repeats."""

    chat: ChatRequest
    shown: dict[str, Any]


def parse(body: dict[str, Any], before: Sequence[Message] = (), *, keeps: bool = False) -> ResponsesRequest:
    """Read a request's JSON object.

    Args:
        before: the conversation up to the response that `previous_response_id` names.
        keeps: whether responses can be found again where a request does not refuse it.

    Raises:
        BadRequest: a field is missing, mistyped or cannot be honoured; `param` names it.
    """
    model = model_of(body)
    for name, words in _CHAT_NAMES.items():
        if body.get(name) is not None:
            raise BadRequest(f"Unsupported parameter: '{name}'. In the Responses API {words}.", param=name)
    for name, (is_harmless, words) in _LIMITED.items():
        if body.get(name) is not None and not is_harmless(body[name]):
            raise BadRequest(f"'{name}' cannot be honoured: {words}", param=name)
    check_fields(body, _CHECKS)
    messages = messages_of(body.get("instructions"), body.get("input"), before)
    stream = body.get("stream") is True
    _check_stream_options(body.get("stream_options"), stream)
    travelling = {name: value for name, value in body.items() if name not in _TRANSLATED and name not in _LIMITED}
    chat = {**travelling, **_translated(body), "messages": messages}
    keep, instructed = body.get("store") is not False, bool(body.get("instructions"))
    request = ChatRequest(
        chat, model, messages, stream, wants_usage=True, kept_here=_KEPT_HERE, keep=keep, instructed=instructed
    )
    return ResponsesRequest(request, {**shown(body), "store": keeps and keep})


def _translated(body: dict[str, Any]) -> dict[str, Any]:
    """The fields that a chat completion has under another name or in another shape."""
    text, reasoning = body.get("text") or {}, body.get("reasoning") or {}
    tools = tools_of(body.get("tools") or [])
    chat: dict[str, Any] = {
        "max_completion_tokens": body.get("max_output_tokens"),
        "response_format": _response_format(text),
        "verbosity": text.get("verbosity"),
        "reasoning_effort": _reasoning_effort(reasoning),
        "tools": tools or None,
        "tool_choice": choice_of(body["tool_choice"], bool(tools)) if body.get("tool_choice") is not None else None,
        "parallel_tool_calls": body.get("parallel_tool_calls") if tools else None,
        **_logprobs(body),
    }
    return {name: value for name, value in chat.items() if value is not None}


def _response_format(text: dict[str, Any]) -> dict[str, Any] | None:
    for key in text:
        if key not in ("format", "verbosity"):
            raise BadRequest(f"'text.{key}' is unknown; 'text' takes 'format' and 'verbosity'.", param=f"text.{key}")
    given = text.get("format")
    if given is None or given == {"type": "text"}:
        return None
    kind = given.get("type") if isinstance(given, dict) else None
    if kind == "json_object":
        return {"type": "json_object"}
    if kind != "json_schema":
        raise BadRequest(
            "'text.format' must be an object of type 'text', 'json_object' or 'json_schema'.", param="text.format"
        )
    if not isinstance(given.get("name"), str) or not isinstance(given.get("schema"), dict):
        raise BadRequest("'text.format' of type 'json_schema' needs a 'name' and a 'schema'.", param="text.format")
    return {"type": "json_schema", "json_schema": {key: given[key] for key in given if key != "type"}}


def _reasoning_effort(reasoning: dict[str, Any]) -> Any:
    for key, value in reasoning.items():
        if value is None or key == "effort" or (key in ("summary", "generate_summary") and value == "auto"):
            continue
        raise BadRequest(
            f"'reasoning.{key}' cannot be honoured: a chat completion has no counterpart of it. What a model shows "
            "of its reasoning comes as a reasoning item.",
            param=f"reasoning.{key}",
        )
    return reasoning.get("effort")


def _logprobs(body: dict[str, Any]) -> dict[str, Any]:
    included = body.get("include") or []
    for index, name in enumerate(included):
        if name not in INCLUDABLE:
            raise BadRequest(
                f"'include[{index}]' asks for {name!r}; this gateway can include: {', '.join(INCLUDABLE)}.",
                param=f"include[{index}]",
            )
    wanted = "message.output_text.logprobs" in included or bool(body.get("top_logprobs"))
    return {"logprobs": True, "top_logprobs": body.get("top_logprobs") or 0} if wanted else {}


def _check_stream_options(options: Any, stream: bool) -> None:
    if options is None:
        return
    if not stream:
        raise BadRequest("'stream_options' is only allowed when 'stream' is true.", param="stream_options")
    for name, value in options.items():
        if name != "include_obfuscation" or value not in (None, False):
            raise BadRequest(
                f"'stream_options.{name}' cannot be honoured; the gateway takes 'include_obfuscation': false and "
                "gives usage with every answer.",
                param=f"stream_options.{name}",
            )


def shown(body: dict[str, Any]) -> dict[str, Any]:
    """What a Response repeats of its request, null where nothing was said and the model's own default holds."""
    text, reasoning = body.get("text") or {}, body.get("reasoning") or {}
    repeated = {name: body.get(name) for name in _REPEATED}
    return {
        **repeated,
        "background": False,
        "metadata": body.get("metadata") or {},
        "parallel_tool_calls": body.get("parallel_tool_calls") is not False,
        "previous_response_id": body.get("previous_response_id"),
        "reasoning": {"effort": reasoning.get("effort"), "summary": None},
        "store": False,
        "text": {**text, "format": text.get("format") or {"type": "text"}},
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": shown_tools(body.get("tools") or []),
        "top_logprobs": body.get("top_logprobs") or 0,
        "truncation": "disabled",
    }


_KEPT_HERE = frozenset({"litellm_session_id", "metadata"})
"""OpenAI refuses metadata in a chat completion that it is not asked to store; the Response repeats it."""

_REPEATED = (
    *("instructions", "max_output_tokens", "max_tool_calls", "temperature", "top_p", "user"),
    *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "safety_identifier", "service_tier"),
)
_TRANSLATED = frozenset(
    {
        *("input", "instructions", "max_output_tokens", "max_tool_calls", "text", "reasoning", "tools", "tool_choice"),
        *("parallel_tool_calls", "include", "top_logprobs", "store", "stream_options", "previous_response_id"),
    }
)
"""Not sent on under their own names. `max_tool_calls` bounds tools that the server runs, and this one runs none."""

INCLUDABLE = ("message.output_text.logprobs", "reasoning.encrypted_content")
"""Reasoning items hold nothing encrypted: there is none to include, and none is taken back."""

_LIMITED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "conversation": (
        lambda value: False,
        "conversations are no objects here. Send the whole conversation in 'input', or go on from a response by "
        "'previous_response_id' where content is kept; to name the conversation in the ledger, set "
        "'metadata.conversation_id' or the header x-gattway-conversation-id.",
    ),
    "prompt": (lambda value: False, "prompt templates lie with OpenAI. Send 'instructions' and 'input' instead."),
    "background": (lambda value: value is False, "nothing is stored that could be fetched later. Use 'stream'."),
    "truncation": (
        lambda value: value == "disabled",
        "the gateway drops no turns behind the client's back. Shorten 'input', or leave 'truncation' out and get an "
        "error when the prompt does not fit.",
    ),
    "context_management": (lambda value: value == [], "nothing is stored that could be compacted. Shorten 'input'."),
    "moderation": (lambda value: False, "the gateway moderates nothing. Leave it out."),
}

_CHAT_NAMES = {
    "messages": "messages are sent as 'input'",
    "response_format": "this parameter has moved to 'text.format'",
    "max_tokens": "this parameter is named 'max_output_tokens'",
    "max_completion_tokens": "this parameter is named 'max_output_tokens'",
    "reasoning_effort": "this parameter has moved to 'reasoning.effort'",
    "verbosity": "this parameter has moved to 'text.verbosity'",
    "logprobs": "log probabilities are asked for with 'include': ['message.output_text.logprobs']",
    "n": "there is one answer to a request",
    "functions": "functions are given as 'tools'",
    "function_call": "the choice is made with 'tool_choice'",
    "modalities": "answers are text",
    "audio": "answers are text",
}

_CHECKS: dict[str, Check] = {
    "stream": of(bool, "true or false"),
    "stream_options": of(dict, "an object"),
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "max_output_tokens": at_least_one,
    "max_tool_calls": integer,
    "top_logprobs": integer,
    "metadata": of(dict, "an object"),
    "text": of(dict, "an object"),
    "reasoning": of(dict, "an object"),
    "tools": of(list, "a list"),
    "include": of(list, "a list"),
    "parallel_tool_calls": of(bool, "true or false"),
    "store": of(bool, "true or false"),
    "user": of(str, "a string"),
}
