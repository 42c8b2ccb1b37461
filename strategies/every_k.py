"""`every-k`: the instruction at the end of user turns 1, 1+k, 1+2k, …, where the copies stay.

    user U1 I   assistant A1   user U2   assistant A2   user U3   assistant A3   user U4 I   …        (k = 3)

As `every-turn` it only appends, so all earlier copies come from the prefix cache, at 1/k of its tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from strategies.base import Message
from strategies.instruction import SEPARATOR, appended, head_settled, instruction_of
from strategies.parameters import flag, text, whole
from strategies.turns import user_turns


class EveryK:
    """Moves the instruction from the head to the end of every k-th user message, the first one included.

    Args:
        k: from 1, which is `every-turn`.
        keep_system: leave the head copy in place too.
        separator: what stands between the user's text and the instruction.
    """

    name: ClassVar[str] = "every-k"
    append_only: ClassVar[bool] = True

    def __init__(self, k: int = 4, keep_system: bool = False, separator: str = SEPARATOR) -> None:
        self.k = whole("k", k, 1)
        self.keep_system = flag("keep_system", keep_system)
        self.separator = text("separator", separator)
        self.opens_as = None if self.keep_system or self.separator != SEPARATOR else "every-turn"

    def place(self, messages: Sequence[Message], instruction: str | None = None) -> list[Message]:
        """See `Strategy.place`."""
        wanted = instruction if instruction is not None else instruction_of(messages)
        if not wanted:
            return list(messages)
        placed = head_settled(messages, stays=self.keep_system or instruction is not None)
        for index in user_turns(placed)[:: self.k]:
            placed[index] = appended(placed[index], wanted, self.separator)
        return placed

    def place_from(self, start: int, messages: Sequence[Message], instruction: str | None = None) -> list[Message]:
        """See `Incremental.place_from`."""
        wanted = instruction if instruction is not None else instruction_of(messages)
        placed = list(messages[start:])
        if wanted:
            earlier = len(user_turns(messages[:start]))
            for index in user_turns(placed)[-earlier % self.k :: self.k]:
                placed[index] = appended(placed[index], wanted, self.separator)
        return placed
