"""`every-turn`: the instruction at the end of every user turn (prompt repetition).

    user U1 I   assistant A1   user U2 I   assistant A2   user U3 I   …

Old turns keep the same bytes in every later request, so all earlier copies come from the prefix cache; they
fill the context window all the same: I·(T−1) tokens at turn T, I·T·(T−1)/2 prompt tokens over T turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from strategies.base import Message
from strategies.instruction import SEPARATOR, appended, instruction_of, without_instruction, without_markers


class EveryTurn:
    """Moves the instruction from the head to the end of every user message.

    Args:
        keep_system: leave the head copy in place too.
        separator: what stands between the user's text and the instruction.
    """

    name: ClassVar[str] = "every-turn"
    append_only: ClassVar[bool] = True

    def __init__(self, keep_system: bool = False, separator: str = SEPARATOR) -> None:
        if not isinstance(keep_system, bool):
            raise ValueError(f"keep_system must be true or false, not {keep_system!r}")
        if not isinstance(separator, str):
            raise ValueError(f"separator must be a string, not {separator!r}")
        self.keep_system = keep_system
        self.separator = separator

    def place(self, messages: Sequence[Message], instruction: str | None = None) -> list[Message]:
        """See `Strategy.place`. Assistant and tool messages are never touched."""
        text = instruction if instruction is not None else instruction_of(messages)
        if not text:
            return list(messages)
        head_stays = self.keep_system or instruction is not None or not _has_user_turn(messages)
        placed = without_markers(messages) if head_stays else without_instruction(messages)
        return [appended(m, text, self.separator) if m.get("role") == "user" else m for m in placed]


def _has_user_turn(messages: Sequence[Message]) -> bool:
    return any(message.get("role") == "user" for message in messages)
