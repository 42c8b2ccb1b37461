"""`last-turn`: the instruction at the end of the newest user turn only.

    user U1   assistant A1   user U2   assistant A2   user U3 I

One copy, ever, and nothing fills up. But the user turn that carried the copy last time loses it now, so the prefix
cache ends there: the answer before is prefilled again with every turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from strategies.base import Message
from strategies.instruction import SEPARATOR, appended, head_settled, instruction_of
from strategies.parameters import flag, text
from strategies.turns import last_user_turn


class LastTurn:
    """Moves the instruction from the head to the end of the last user message.

    Args:
        keep_system: leave the head copy in place too.
        separator: what stands between the user's text and the instruction.
    """

    name: ClassVar[str] = "last-turn"
    append_only: ClassVar[bool] = False

    def __init__(self, keep_system: bool = False, separator: str = SEPARATOR) -> None:
        self.keep_system = flag("keep_system", keep_system)
        self.separator = text("separator", separator)
        self.opens_as = None if self.keep_system or self.separator != SEPARATOR else "every-turn"

    def place(self, messages: Sequence[Message], instruction: str | None = None) -> list[Message]:
        """See `Strategy.place`."""
        wanted = instruction if instruction is not None else instruction_of(messages)
        if not wanted:
            return list(messages)
        placed = head_settled(messages, stays=self.keep_system or instruction is not None)
        last = last_user_turn(placed)
        if last is not None:
            placed[last] = appended(placed[last], wanted, self.separator)
        return placed
