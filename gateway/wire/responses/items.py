"""A Responses `input` as chat messages.

Items are the client's memory of a conversation: what it said, what the model answered, which functions were called and
what they gave back. The messages made of them are those that a chat client would have sent, so that strategies,
identity and the prefix cache see no difference. Ids, status and phase of items have no place in a message. Reasoning
items are left out: a chat completion takes no reasoning back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gateway.errors import BadRequest
from gateway.wire.fields import named
from strategies import Message

ROLES = ("user", "assistant", "system", "developer")
Part = dict[str, Any]


def messages_of(instructions: Any, given: Any, before: Sequence[Message] = ()) -> list[Message]:
    """The messages that `instructions` and `input` stand for, instructions first, as a system message.

    Args:
        before: messages of the responses that this one goes on from; they stand between the two.

    Raises:
        BadRequest: an item is mistyped, or of a kind that a chat completion cannot carry; `param` names it.
    """
    if instructions is not None and not isinstance(instructions, str):
        raise BadRequest(f"'instructions' must be a string, not {named(instructions)}.", param="instructions")
    messages: list[Message] = [{"role": "system", "content": instructions}] if instructions else []
    messages += [dict(message) for message in before]
    known = len(messages)
    if isinstance(given, str):
        return [*messages, {"role": "user", "content": given}]
    if not isinstance(given, list):
        raise BadRequest(f"'input' must be a string or a list of items, not {named(given)}.", param="input")
    for index, item in enumerate(given):
        _add(messages, item, f"input[{index}]")
    if not before and len(messages) == known:
        raise BadRequest("'input' holds no message; send at least one item that says something.", param="input")
    return messages


def _add(messages: list[Message], item: Any, where: str) -> None:
    if not isinstance(item, dict):
        raise BadRequest(f"'{where}' must be an object, not {named(item)}.", param=where)
    kind = item.get("type", "message" if "role" in item else None)
    add = _ITEMS.get(kind) if isinstance(kind, str) else None
    if add is None:
        reason = _REFUSED.get(str(kind), f"Supported items are: {', '.join(_ITEMS)}.")
        raise BadRequest(f"'{where}' is of type {kind!r}. {reason}", param=f"{where}.type")
    add(messages, item, where)


def _add_message(messages: list[Message], item: dict[str, Any], where: str) -> None:
    role = item.get("role")
    if role not in ROLES:
        raise BadRequest(
            f"Invalid value for '{where}.role': {role!r}. Supported values are: {', '.join(ROLES)}.",
            param=f"{where}.role",
        )
    if role != "assistant":
        messages.append({"role": role, "content": _content(item.get("content"), f"{where}.content", _INPUT_PARTS)})
        return
    said = _said(item.get("content"), f"{where}.content")
    if messages and messages[-1].get("tool_calls"):  # nothing may stand between calls and their outputs
        calling = messages[-1]
        calling.update({**said, "content": (calling["content"] or "") + said["content"]})
    else:
        messages.append({"role": "assistant", **said})


def _add_call(messages: list[Message], item: dict[str, Any], where: str) -> None:
    name, arguments, call_id = (_text(item, key, where) for key in ("name", "arguments", "call_id"))
    call = {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
    if messages and messages[-1]["role"] == "assistant":
        messages[-1].setdefault("tool_calls", []).append(call)
    else:
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})


def _add_output(messages: list[Message], item: dict[str, Any], where: str) -> None:
    call_id = _text(item, "call_id", where)
    content = _content(item.get("output"), f"{where}.output", {"input_text": _text_part})
    messages.append({"role": "tool", "tool_call_id": call_id, "content": content})


def _add_nothing(messages: list[Message], item: dict[str, Any], where: str) -> None:
    """A reasoning item."""


def _said(content: Any, where: str) -> Message:
    """Content, and where there was one the refusal, of an assistant message."""
    if isinstance(content, str):
        return {"content": content}
    parts = _parts(content, where, {"output_text": _text_part, "refusal": _refusal_part})
    said: Message = {"content": "".join(part["text"] for part in parts if part["type"] == "text")}
    refusal = "".join(part["refusal"] for part in parts if part["type"] == "refusal")
    return {**said, "refusal": refusal} if refusal else said


def _content(content: Any, where: str, kinds: dict[str, Callable[[Part, str], Part]]) -> str | list[Part]:
    """Content as it is when it is a string, the text of a single part that is nothing but text, else parts."""
    if isinstance(content, str):
        return content
    parts = _parts(content, where, kinds)
    if len(parts) == 1 and set(parts[0]) == {"type", "text"}:
        return str(parts[0]["text"])
    return parts


def _parts(content: Any, where: str, kinds: dict[str, Callable[[Part, str], Part]]) -> list[Part]:
    if not isinstance(content, list):
        raise BadRequest(f"'{where}' must be a string or a list of parts, not {named(content)}.", param=where)
    parts = []
    for index, part in enumerate(content):
        at = f"{where}[{index}]"
        kind = part.get("type") if isinstance(part, dict) else None
        make = kinds.get(kind) if isinstance(kind, str) else None
        if make is None:
            raise BadRequest(f"'{at}' is of type {kind!r}; supported here: {', '.join(kinds)}.", param=f"{at}.type")
        parts.append(make(part, at))
    return parts


def _text_part(part: Part, where: str) -> Part:
    text = _text(part, "text", where)
    kept = {key: value for key, value in part.items() if key not in ("annotations", "logprobs")}
    return {**kept, "type": "text", "text": text}


def _refusal_part(part: Part, where: str) -> Part:
    return {"type": "refusal", "refusal": _text(part, "refusal", where)}


def _image_part(part: Part, where: str) -> Part:
    if part.get("file_id") is not None:
        raise BadRequest(
            f"'{where}.file_id': a chat completion takes images by 'image_url' (an address or a data URL) only.",
            param=f"{where}.file_id",
        )
    image = {"url": _text(part, "image_url", where)}
    if part.get("detail") is not None:
        image["detail"] = part["detail"]
    kept = {key: value for key, value in part.items() if key not in ("image_url", "detail", "file_id")}
    return {**kept, "type": "image_url", "image_url": image}


def _file_part(part: Part, where: str) -> Part:
    if part.get("file_url") is not None:
        raise BadRequest(
            f"'{where}.file_url': a chat completion takes files as 'file_data' or 'file_id' only.",
            param=f"{where}.file_url",
        )
    if part.get("detail") not in (None, "auto"):
        raise BadRequest(f"'{where}.detail' can only be 'auto' in a chat completion.", param=f"{where}.detail")
    names = ("file_data", "file_id", "filename")
    file = {name: part[name] for name in names if part.get(name) is not None}
    kept = {key: value for key, value in part.items() if key not in (*names, "file_url", "detail")}
    return {**kept, "type": "file", "file": file}


def _audio_part(part: Part, where: str) -> Part:
    return part


def _text(holder: dict[str, Any], key: str, where: str) -> str:
    value = holder.get(key)
    if not isinstance(value, str):
        raise BadRequest(f"'{where}.{key}' must be a string, not {named(value)}.", param=f"{where}.{key}")
    return value


_ITEMS: dict[str, Callable[[list[Message], dict[str, Any], str], None]] = {
    "message": _add_message,
    "function_call": _add_call,
    "function_call_output": _add_output,
    "reasoning": _add_nothing,
}
_REFUSED = {
    "item_reference": "Nothing is stored that could be referred to; send the item itself.",
}
_INPUT_PARTS: dict[str, Callable[[Part, str], Part]] = {
    "input_text": _text_part,
    "input_image": _image_part,
    "input_file": _file_part,
    "input_audio": _audio_part,
}
