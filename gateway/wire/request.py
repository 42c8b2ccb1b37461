"""What the client sent, read once at the edge.

Only what the gateway itself relies on is checked; fields it does not know stay in `body` and travel on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.errors import BadRequest
from strategies import Message

ROLES = ("developer", "system", "user", "assistant", "tool", "function")


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A chat completion as the client asked for it.

    `kept_here` names the fields of `body` that are for the gateway alone and are not sent on.
    """

    body: dict[str, Any]
    model: str
    messages: list[Message]
    stream: bool
    wants_usage: bool
    kept_here: frozenset[str] = frozenset({"litellm_session_id"})


def parse(raw: bytes) -> ChatRequest:
    """Read a request body.

    Raises:
        BadRequest: the body is no JSON object, or a field is missing, mistyped or out of range; `param` names it.
    """
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"We could not parse the JSON body of your request: {error}.") from None
    if not isinstance(body, dict):
        raise BadRequest(f"The request body must be a JSON object, not {_named(body)}.")
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise BadRequest("You must provide a model: a string that GET /v1/models lists.", param="model")
    messages = _checked_messages(body.get("messages"))
    for name, check in _FIELDS.items():
        if body.get(name) is not None:
            check(name, body[name])
    stream = body.get("stream") is True
    options = body.get("stream_options") or {}
    if options and not stream:
        raise BadRequest("'stream_options' is only allowed when 'stream' is true.", param="stream_options")
    return ChatRequest(body, model, messages, stream, wants_usage=options.get("include_usage") is True)


def _checked_messages(messages: Any) -> list[Message]:
    if not isinstance(messages, list):
        raise BadRequest("'messages' must be a list of messages.", param="messages")
    if not messages:
        raise BadRequest("'messages' is empty; send at least one message.", param="messages")
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if not isinstance(message, dict):
            raise BadRequest(
                f"'{where}' must be an object with 'role' and 'content', not {_named(message)}.", param=where
            )
        role = message.get("role")
        if role not in ROLES:
            raise BadRequest(
                f"Invalid value for '{where}.role': {role!r}. Supported values are: {', '.join(ROLES)}.",
                param=f"{where}.role",
            )
        _check_content(message, f"{where}.content")
    return messages


def _check_content(message: Message, where: str) -> None:
    content = message.get("content")
    if isinstance(content, list):
        for index, part in enumerate(content):
            if not isinstance(part, dict) or not isinstance(part.get("type"), str):
                raise BadRequest(f"'{where}[{index}]' must be an object with a 'type'.", param=f"{where}[{index}]")
            if part["type"] == "text" and not isinstance(part.get("text"), str):
                raise BadRequest(f"'{where}[{index}].text' must be a string.", param=f"{where}[{index}].text")
    elif content is None:
        if message["role"] != "assistant":
            raise BadRequest(f"'{where}' must be a string or a list of parts; it is missing.", param=where)
    elif not isinstance(content, str):
        raise BadRequest(f"'{where}' must be a string or a list of parts, not {_named(content)}.", param=where)


def _number(low: float, high: float) -> Callable[[str, Any], None]:
    def check(name: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BadRequest(f"'{name}' must be a number, not {_named(value)}.", param=name)
        if not low <= value <= high:
            raise BadRequest(f"'{name}' must be between {low:g} and {high:g}, not {value}.", param=name)

    return check


def _integer(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadRequest(f"'{name}' must be an integer, not {_named(value)}.", param=name)


def _at_least_one(name: str, value: Any) -> None:
    _integer(name, value)
    if value < 1:
        raise BadRequest(f"'{name}' must be at least 1, not {value}.", param=name)


def _of(kind: type, words: str) -> Callable[[str, Any], None]:
    def check(name: str, value: Any) -> None:
        if not isinstance(value, kind):
            raise BadRequest(f"'{name}' must be {words}, not {_named(value)}.", param=name)

    return check


def _stop(name: str, value: Any) -> None:
    if isinstance(value, str):
        return
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadRequest(f"'{name}' must be a string or a list of strings.", param=name)


_FIELDS: dict[str, Callable[[str, Any], None]] = {
    "stream": _of(bool, "true or false"),
    "stream_options": _of(dict, "an object"),
    "temperature": _number(0, 2),
    "top_p": _number(0, 1),
    "presence_penalty": _number(-2, 2),
    "frequency_penalty": _number(-2, 2),
    "max_tokens": _at_least_one,
    "max_completion_tokens": _at_least_one,
    "n": _at_least_one,
    "seed": _integer,
    "stop": _stop,
    "user": _of(str, "a string"),
    "metadata": _of(dict, "an object"),
    "tools": _of(list, "a list"),
    "response_format": _of(dict, "an object"),
    "logit_bias": _of(dict, "an object"),
    "logprobs": _of(bool, "true or false"),
    "top_logprobs": _integer,
}


def _named(value: Any) -> str:
    names = {
        bool: "a boolean",
        int: "an integer",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "an object",
    }
    return "null" if value is None else names.get(type(value), type(value).__name__)
