"""What a strategy made of the client's messages, as the difference from them: small, and it says what was put where.

An entry for each message that the model got: the index of the client's message that went on untouched; or that index
with what was put before and after it; or the whole of a message that no message of the client is part of.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Message = dict[str, Any]
Entry = int | dict[str, Any]
Span = tuple[int, int, int, bool]
"""Index of a sent message, start and end of the text put into it (of the parts, in a list), and whether it is all."""


def difference(messages: Sequence[Message], sent: Iterable[Message]) -> list[Entry]:
    """The entries that make `sent` out of `messages`; strategies keep the order of messages."""
    entries: list[Entry] = []
    start = 0
    for message in sent:
        found = next(
            (
                (index, around)
                for index in range(start, len(messages))
                if (around := _around(messages[index], message)) is not None
            ),
            None,
        )
        if found is None:
            entries.append({"message": message})
            continue
        index, (before, after) = found
        start = index + 1
        entries.append({"of": index, "before": before, "after": after} if before or after else index)
    return entries


def applied(messages: Sequence[Message], entries: Iterable[Entry]) -> tuple[list[Message], list[Span]]:
    """What was sent, and every piece of it that is not the client's."""
    sent: list[Message] = []
    spans: list[Span] = []
    for entry in entries:
        position = len(sent)
        if isinstance(entry, int):
            sent.append(messages[entry])
        elif "message" in entry:
            message = entry["message"]
            sent.append(message)
            spans.append((position, 0, len(message.get("content") or ""), True))
        else:
            before, after = entry["before"], entry["after"]
            own = messages[entry["of"]]
            content = own["content"]
            sent.append({**own, "content": _joined(before, content, after)})
            if before:
                spans.append((position, 0, len(before), False))
            if after:
                start = len(before or "") + len(content)
                spans.append((position, start, start + len(after), False))
    return sent, spans


def _joined(before: Any, content: Any, after: Any) -> Any:
    empty: Any = "" if isinstance(content, str) else []
    return (before or empty) + content + (after or empty)


def _around(own: Message, message: Message) -> tuple[Any, Any] | None:
    """What stands before and after the client's own content in `message`; None when it is not that message."""
    if own is message or own == message:
        return None, None
    if own.keys() != message.keys() or any(own[name] != message[name] for name in own if name != "content"):
        return None
    content, whole = own["content"], message["content"]
    if isinstance(content, str) and isinstance(whole, str):
        # At the start or the end of it where it can be: a short message may be found inside an instruction too.
        starts, ends = whole.startswith(content), whole.endswith(content)
        place = 0 if starts else len(whole) - len(content) if ends else whole.find(content)
        return None if place < 0 else (whole[:place], whole[place + len(content) :])
    if isinstance(content, list) and isinstance(whole, list):
        for place in range(len(whole) - len(content) + 1):
            if whole[place : place + len(content)] == content:
                return whole[:place], whole[place + len(content) :]
    return None
