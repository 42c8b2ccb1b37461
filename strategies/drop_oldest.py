"""`drop-oldest`: for the window's end: the oldest turns go, the instruction and the recent turns stay.

    system I   user U1   assistant A1   …   user U8   assistant A8   user U9
    system I                                user U8   assistant A8   user U9          once it is too long

Dropping one turn at a time would change the prompt's beginning with every turn and no cache would ever hit. So when the
history outgrows `max_chars`, turns are dropped until `keep` of it is left, and then none again until it is full anew.
Which turns are gone follows from the history alone: the cut is replayed from its start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from strategies.base import Message
from strategies.instruction import INSTRUCTION_ROLES, text_of
from strategies.parameters import share, whole
from strategies.turns import user_turns


class DropOldest:
    """Drops whole turns (a user message with all that answers it), then places as another strategy does.

    Args:
        max_chars: characters of text that the turns may hold; some 4 make a token in English.
        keep: share of `max_chars` that is left when turns have been dropped.
        then: name of the strategy that places the instruction in what is left.
        parameters: that strategy's own.
    """

    name: ClassVar[str] = "drop-oldest"
    append_only: ClassVar[bool] = False

    def __init__(
        self, max_chars: int, keep: float = 0.5, then: str = "once", parameters: Mapping[str, Any] | None = None
    ) -> None:
        if then == self.name:
            raise ValueError(f"then must be another strategy than {self.name!r}")
        self.max_chars = whole("max_chars", max_chars, 1)
        self.keep = share("keep", keep)
        from strategies.registry import make  # which knows this one too

        self._then = make(then, **(parameters or {}))

    def place(self, messages: Sequence[Message], instruction: str | None = None) -> list[Message]:
        """See `Strategy.place`. The newest turn always stays, however long."""
        return self._then.place(self._kept(messages), instruction)

    def _kept(self, messages: Sequence[Message]) -> list[Message]:
        starts = user_turns(messages)
        sizes = [len(text_of(message.get("content"))) for message in messages]
        first = 0
        for turn, start in enumerate(starts):
            end = start + 1  # as the request for this turn had it: up to its user message
            if sum(sizes[starts[first] : end]) > self.max_chars:
                while first < turn and sum(sizes[starts[first] : end]) > self.keep * self.max_chars:
                    first += 1
        if not first:
            return list(messages)
        head = [message for message in messages[: starts[0]] if message.get("role") in INSTRUCTION_ROLES]
        return [*head, *messages[starts[first] :]]
