"""What the instruction is, and how to take it out of or put it into a message list.

The instruction is the text of the leading system or developer messages. When that text holds parts between
`<instruction>` and `</instruction>`, those parts alone are the instruction and the rest of the message stays
where it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from strategies.base import Message

INSTRUCTION_ROLES = frozenset({"system", "developer"})
SEPARATOR = "\n\n"
_OPENING = "<instruction>"
_MARKED = re.compile(r"<instruction>(.*?)</instruction>", re.DOTALL)


def instruction_of(messages: Sequence[Message]) -> str | None:
    """The client's instruction, markers taken off, or None when there is none."""
    head = head_of(messages)
    text = SEPARATOR.join([text for message in head if (text := text_of(message.get("content")))])
    marked = [part.strip() for part in _MARKED.findall(text)] if _OPENING in text else []
    return SEPARATOR.join(filter(None, marked)) if marked else text.strip() or None


def without_markers(messages: Sequence[Message]) -> list[Message]:
    """The same messages, the instruction in its place, its markers taken off."""
    head = head_of(messages)
    return [*[_edit(message, r"\1") for message in head], *messages[len(head) :]]


def without_instruction(messages: Sequence[Message]) -> list[Message]:
    """The messages with the client's instruction taken out of the head.

    A head message that holds anything but text, or a part marked for the provider's cache, stays whole:
    its bytes are the client's own arrangement.
    """
    head = head_of(messages)
    is_marked = any(_is_marked(text_of(message.get("content"))) for message in head)
    kept: list[Message] = []
    for message in head:
        if not _movable(message.get("content")):
            kept.append(message)
        elif is_marked:
            rest = _edit(message, "")
            if text_of(rest.get("content")).strip():
                kept.append(rest)
    return [*kept, *messages[len(head) :]]


def head_settled(messages: Sequence[Message], *, stays: bool) -> list[Message]:
    """The messages as a strategy goes on from them that moves the instruction into user turns.

    Markers are off; the instruction has left the head, unless it `stays` or no user turn is there to take it.
    """
    nowhere_to_go = not any(message.get("role") == "user" for message in messages)
    return without_markers(messages) if stays or nowhere_to_go else without_instruction(messages)


def appended(message: Message, text: str, separator: str = SEPARATOR) -> Message:
    """A copy of `message` with `text` at the end of its content.

    A string grows; a parts list gets a new text part, so that parts marked for caching keep their bytes.
    A message that already ends with the text is returned as it is, so that placing twice changes nothing.
    """
    content = message.get("content")
    if isinstance(content, list):
        if content and content[-1] == {"type": "text", "text": text}:
            return message
        return {**message, "content": [*content, {"type": "text", "text": text}]}
    if not content:
        return {**message, "content": text}
    if content == text or content.endswith(separator + text):
        return message
    return {**message, "content": f"{content}{separator}{text}"}


def text_of(content: Any) -> str:
    """The text of a message's content: a string, the text parts of a parts list, or "" for null."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return SEPARATOR.join(p["text"] for p in content if isinstance(p, dict) and isinstance(p.get("text"), str))
    return ""


def head_of(messages: Sequence[Message]) -> Sequence[Message]:
    """The system and developer messages that a history begins with."""
    for index, message in enumerate(messages):
        if message.get("role") not in INSTRUCTION_ROLES:
            return messages[:index]
    return messages


def _movable(content: Any) -> bool:
    if not isinstance(content, list):
        return True
    return all(isinstance(part, dict) and _is_bare_text(part) for part in content)


def _is_bare_text(part: dict[str, Any]) -> bool:
    """Whether a part is text and nothing else: any further field may be a provider's mark for its cache."""
    return part.keys() == {"type", "text"} and part["type"] == "text"


def _edit(message: Message, replacement: str) -> Message:
    """`message` with every marked part replaced; untouched (the same object) when it has none."""
    content = message.get("content")
    if isinstance(content, str):
        return {**message, "content": _replaced(content, replacement)} if _is_marked(content) else message
    if isinstance(content, list) and _is_marked(text_of(content)):
        return {**message, "content": [_edit_part(part, replacement) for part in content]}
    return message


def _edit_part(part: Any, replacement: str) -> Any:
    if isinstance(part, dict) and _is_bare_text(part) and _is_marked(part["text"]):
        return {**part, "text": _replaced(part["text"], replacement)}
    return part


def _is_marked(text: str) -> bool:
    return _OPENING in text and _MARKED.search(text) is not None


def _replaced(text: str, replacement: str) -> str:
    return _MARKED.sub(replacement, text).strip()
