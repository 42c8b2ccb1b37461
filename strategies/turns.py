"""Where the turns of a conversation begin."""

from __future__ import annotations

from collections.abc import Sequence

from strategies.base import Message
from strategies.instruction import text_of


def user_turns(messages: Sequence[Message]) -> list[int]:
    """Indices of the user messages; tool results are none."""
    return [index for index, message in enumerate(messages) if message.get("role") == "user"]


def last_user_turn(messages: Sequence[Message]) -> int | None:
    """Index of the newest user message; None where there is none."""
    return next((i for i in range(len(messages) - 1, -1, -1) if messages[i].get("role") == "user"), None)


def replies(messages: Sequence[Message]) -> list[tuple[int, str]]:
    """The (index, text) of every answer in words: assistant messages that are no mere tool calls."""
    return [
        (index, text)
        for index, message in enumerate(messages)
        if message.get("role") == "assistant" and (text := text_of(message.get("content")))
    ]
