"""`once`: the instruction is said one time, at the head of the conversation.

    system I   user U1   assistant A1   user U2   …

This is what a GAtt-tuned model needs, and what an untuned one forgets. Models whose chat template has no
system role (Llama 2, Gemma) fold the head message into the first user turn themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from strategies.base import Message
from strategies.instruction import INSTRUCTION_ROLES, SEPARATOR, appended, without_markers


class Once:
    """Leaves the instruction where the client put it; puts an arm's own instruction into the head."""

    name: ClassVar[str] = "once"
    append_only: ClassVar[bool] = True
    opens_as: ClassVar[str] = name

    def place(self, messages: Sequence[Message], instruction: str | None = None) -> list[Message]:
        """See `Strategy.place`."""
        placed = without_markers(messages)
        if instruction is None:
            return placed
        if placed and placed[0].get("role") in INSTRUCTION_ROLES:
            return [appended(placed[0], instruction, SEPARATOR), *placed[1:]]
        return [{"role": "system", "content": instruction}, *placed]

    def place_from(self, start: int, messages: Sequence[Message], instruction: str | None = None) -> list[Message]:
        """See `Incremental.place_from`."""
        return list(messages[start:])
