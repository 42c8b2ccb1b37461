"""OpenAI's messages as chat templates know them: a role and a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.errors import BadRequest

_TEXT_PARTS = {"text": "text", "refusal": "refusal"}


def plain(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same messages with text for content, `developer` as `system`, and null content as an empty text.

    Raises:
        BadRequest: a message needs tools, or a part is no text; `param` names it.
    """
    return [_plain(message, f"messages[{index}]") for index, message in enumerate(messages)]


def _plain(message: dict[str, Any], where: str) -> dict[str, Any]:
    role = message.get("role")
    if role in ("tool", "function"):
        raise BadRequest(f"This model does not use tools: '{where}.role' is {role!r}.", param=f"{where}.role")
    for field in ("tool_calls", "function_call", "audio"):
        if message.get(field):
            raise BadRequest(f"This model reads text only: remove '{where}.{field}'.", param=f"{where}.{field}")
    if role == "developer":
        role = "system"
    return {**message, "role": role, "content": _text(message.get("content"), f"{where}.content")}


def _text(content: Any, where: str) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise BadRequest(f"'{where}' must be a string or a list of parts.", param=where)
    return "".join(_part(part, f"{where}[{index}]") for index, part in enumerate(content))


def _part(part: Any, where: str) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    field = _TEXT_PARTS.get(kind) if isinstance(kind, str) else None
    if field is None:
        raise BadRequest(f"This model reads text only: '{where}' is of type {kind!r}.", param=where)
    text = part.get(field)
    if not isinstance(text, str):
        raise BadRequest(f"'{where}.{field}' must be a string.", param=f"{where}.{field}")
    return text
