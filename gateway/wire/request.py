"""What the client sent, read once at the edge.

Only what the gateway itself relies on is checked; fields it does not know stay in `body` and travel on.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from gateway.errors import BadRequest
from gateway.wire.fields import Check, at_least_one, check_fields, integer, named, number, of, stop
from strategies import Message

ROLES = ("developer", "system", "user", "assistant", "tool", "function")


class ChatRequest(NamedTuple):
    """A chat completion as the client asked for it.

    `kept_here` names the fields of `body` that are for the gateway alone and are not sent on. `keep` says whether what
    is said may be kept where content is; `instructed` that the first message holds for this request only.
    """

    body: dict[str, Any]
    model: str
    messages: list[Message]
    stream: bool
    wants_usage: bool
    kept_here: frozenset[str] = frozenset({"litellm_session_id"})
    keep: bool = True
    instructed: bool = False


def parse(raw: bytes) -> ChatRequest:
    """Read a request body.

    Raises:
        BadRequest: the body is no JSON object, or a field is missing, mistyped or out of range; `param` names it.
    """
    body = body_of(raw)
    model = model_of(body)
    messages = _checked_messages(body.get("messages"))
    check_fields(body, _FIELDS)
    stream = body.get("stream") is True
    options = body.get("stream_options") or {}
    if options and not stream:
        raise BadRequest("'stream_options' is only allowed when 'stream' is true.", param="stream_options")
    return ChatRequest(body, model, messages, stream, wants_usage=options.get("include_usage") is True)


def body_of(raw: bytes) -> dict[str, Any]:
    """A request's JSON object. Raises BadRequest when it is none."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"We could not parse the JSON body of your request: {error}.") from None
    if not isinstance(body, dict):
        raise BadRequest(f"The request body must be a JSON object, not {named(body)}.")
    return body


def model_of(body: dict[str, Any]) -> str:
    """The model that a request names. Raises BadRequest when it names none."""
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise BadRequest("You must provide a model: a string that GET /v1/models lists.", param="model")
    return model


def _checked_messages(messages: Any) -> list[Message]:
    if not isinstance(messages, list):
        raise BadRequest("'messages' must be a list of messages.", param="messages")
    if not messages:
        raise BadRequest("'messages' is empty; send at least one message.", param="messages")
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if not isinstance(message, dict):
            raise BadRequest(
                f"'{where}' must be an object with 'role' and 'content', not {named(message)}.", param=where
            )
        role = message.get("role")
        if role not in ROLES:
            raise BadRequest(
                f"Invalid value for '{where}.role': {role!r}. Supported values are: {', '.join(ROLES)}.",
                param=f"{where}.role",
            )
        _check_content(message, f"{where}.content")
        if message.get("tool_calls") is not None:
            _check_calls(message["tool_calls"], f"{where}.tool_calls")
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
        raise BadRequest(f"'{where}' must be a string or a list of parts, not {named(content)}.", param=where)


def _check_calls(calls: Any, where: str) -> None:
    if not isinstance(calls, list):
        raise BadRequest(f"'{where}' must be a list of tool calls, not {named(calls)}.", param=where)
    for index, call in enumerate(calls):
        at = f"{where}[{index}]"
        if not isinstance(call, dict):
            raise BadRequest(f"'{at}' must be an object, not {named(call)}.", param=at)
        if not isinstance(call.get("function"), dict | None):
            raise BadRequest(
                f"'{at}.function' must be an object with 'name' and 'arguments', not {named(call['function'])}.",
                param=f"{at}.function",
            )


_FIELDS: dict[str, Check] = {
    "stream": of(bool, "true or false"),
    "stream_options": of(dict, "an object"),
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "presence_penalty": number(-2, 2),
    "frequency_penalty": number(-2, 2),
    "max_tokens": at_least_one,
    "max_completion_tokens": at_least_one,
    "n": at_least_one,
    "seed": integer,
    "stop": stop,
    "user": of(str, "a string"),
    "metadata": of(dict, "an object"),
    "tools": of(list, "a list"),
    "response_format": of(dict, "an object"),
    "logit_bias": of(dict, "an object"),
    "logprobs": of(bool, "true or false"),
    "top_logprobs": integer,
}
