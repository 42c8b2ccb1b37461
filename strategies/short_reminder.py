"""`short-reminder`: the instruction in full once, at the head; its short form at the end of later user turns.

    system I   user U1   assistant A1   user U2 i   assistant A2   user U3 i   …

For long instructions (a style guide, a policy) of which a few words bring the rest back. It only appends.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from strategies.base import Message
from strategies.instruction import SEPARATOR, appended, instruction_of
from strategies.once import Once
from strategies.parameters import text, whole
from strategies.turns import user_turns

MAX_CHARS = 80
_SENTENCE = re.compile(r"^.*?[.!?](?=\s|$)", re.DOTALL)


class ShortReminder:
    """Says the instruction once and a reminder at the end of every k-th later user turn.

    Args:
        reminder: the short form. Absent: the instruction's own first sentence, cut to 80 characters at a word.
        k: 1 reminds in turns 2, 3, 4, …; 3 in turns 4, 7, 10, ….
    """

    name: ClassVar[str] = "short-reminder"
    append_only: ClassVar[bool] = True
    opens_as: ClassVar[str] = Once.name

    def __init__(self, reminder: str | None = None, k: int = 1) -> None:
        self.reminder = None if reminder is None else text("reminder", reminder).strip()
        self.k = whole("k", k, 1)
        self._once = Once()

    def place(self, messages: Sequence[Message], instruction: str | None = None) -> list[Message]:
        """See `Strategy.place`."""
        wanted = instruction if instruction is not None else instruction_of(messages)
        placed = self._once.place(messages, instruction)
        if not wanted:
            return placed
        short = self.reminder or shortened(wanted)
        for index in user_turns(placed)[self.k :: self.k]:
            placed[index] = appended(placed[index], short, SEPARATOR)
        return placed

    def place_from(self, start: int, messages: Sequence[Message], instruction: str | None = None) -> list[Message]:
        """See `Incremental.place_from`."""
        wanted = instruction if instruction is not None else instruction_of(messages)
        placed = list(messages[start:])
        if wanted:
            short = self.reminder or shortened(wanted)
            earlier = len(user_turns(messages[:start]))
            for number, index in enumerate(user_turns(placed), start=earlier):
                if number and number % self.k == 0:
                    placed[index] = appended(placed[index], short, SEPARATOR)
        return placed


def shortened(instruction: str) -> str:
    """The first sentence, cut to `MAX_CHARS` characters at a word."""
    found = _SENTENCE.match(instruction.strip())
    first = found[0] if found else instruction.strip()
    if len(first) <= MAX_CHARS:
        return first
    cut = first[:MAX_CHARS].rsplit(None, 1)[0] if " " in first[:MAX_CHARS] else first[:MAX_CHARS]
    return f"{cut} …"
