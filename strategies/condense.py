"""`condense`: for the window's end: the oldest turns are condensed to their entities and facts by a model.

    system I   user U1   assistant A1   …   user U8   assistant A8   user U9
    system I                                user S U8   assistant A8   user U9        S: what turns 1 to 7 held

As `drop-oldest` it cuts in steps, replayed from the history, so that between two cuts the prompt only grows. Here a cut
is settled by what was said before the newest user message: whoever answers a turn knows the next one's cut at once, and
can have the summary made before it is wanted. The strategy makes none itself. It looks into `summaries`, a memory that
the gateway fills off the requests' path (`gateway.answering.condensing`), under a key that is a hash of what is cut
off; where there is none yet, the summary of the cut before stands in, and without one the turns are dropped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, ClassVar

from strategies.base import Message
from strategies.drop_oldest import DropOldest
from strategies.instruction import INSTRUCTION_ROLES, SEPARATOR, text_of
from strategies.turns import user_turns

OPENING, CLOSING = "[Earlier in this conversation: ", "]"


@dataclass(frozen=True, slots=True)
class Due:
    """A summary that the next turn will look for: its key, what is to be condensed, and the summary of what came before
    that (None where it begins with the conversation)."""

    key: str
    messages: Sequence[Message]
    earlier: str | None


class Condense(DropOldest):
    """Replaces whole turns by a summary of them, then places as another strategy does.

    Args:
        max_chars: characters of text that the turns before the newest may hold; some 4 make a token in English.
        keep: share of `max_chars` that is left word for word after a cut.
        then: name of the strategy that places the instruction in what is left.
        parameters: that strategy's own.
    """

    name: ClassVar[str] = "condense"

    def __init__(
        self, max_chars: int, keep: float = 0.5, then: str = "once", parameters: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(max_chars, keep, then, parameters)
        self.summaries: Mapping[str, str] = {}
        """Key of a cut → summary of what it cuts off; the gateway puts its own memory here."""

    def place(self, messages: Sequence[Message], instruction: str | None = None) -> list[Message]:
        """See `Strategy.place`. The same messages and the same memory give the same bytes."""
        starts = user_turns(messages)
        cuts = self._cuts(messages, starts)
        if not cuts:
            return self._then.place(messages, instruction)
        head = [message for message in messages[: starts[0]] if message.get("role") in INSTRUCTION_ROLES]
        kept = list(messages[starts[cuts[-1]] :])
        _, summary = self._known(messages, starts, cuts)
        if summary is not None:
            kept[0] = _opened(kept[0], f"{OPENING}{summary}{CLOSING}")
        return self._then.place([*head, *kept], instruction)

    def due(self, messages: Sequence[Message]) -> Due | None:
        """The summary that is missing for the turn after these messages, the last of which is an answer; or None."""
        starts = user_turns(messages)
        cuts = self._cuts(messages, [*starts, len(messages)])
        if not cuts:
            return None
        ends = [*starts, len(messages)]
        key = _key(messages[starts[0] : ends[cuts[-1]]])
        if key in self.summaries:
            return None
        first, earlier = self._known(messages, ends, cuts[:-1])
        return Due(key, messages[ends[first] : ends[cuts[-1]]], earlier)

    def _known(self, messages: Sequence[Message], starts: Sequence[int], cuts: Sequence[int]) -> tuple[int, str | None]:
        """The latest of the cuts whose summary is known, and that summary; (0, None) where none is."""
        for cut in reversed(cuts):
            summary = self.summaries.get(_key(messages[starts[0] : starts[cut]]))
            if summary is not None:
                return cut, summary
        return 0, None

    def _cuts(self, messages: Sequence[Message], starts: Sequence[int]) -> list[int]:
        """The turns (0 is the first) at which the conversation was cut, one after the other; the last one holds."""
        sizes = list(accumulate((len(text_of(message.get("content"))) for message in messages), initial=0))
        first, cuts = 0, []
        for turn in range(1, len(starts)):
            end = sizes[starts[turn]]
            if end - sizes[starts[first]] > self.max_chars:
                while first < turn and end - sizes[starts[first]] > self.keep * self.max_chars:
                    first += 1
                cuts.append(first)
        return cuts


def _key(messages: Sequence[Message]) -> str:
    """A hash of roles and texts; white space at their ends, which clients trim, does not count."""
    said = [(message.get("role"), text_of(message.get("content")).strip()) for message in messages]
    return hashlib.blake2b(json.dumps(said, ensure_ascii=False).encode(), digest_size=16).hexdigest()


def _opened(message: Message, text: str) -> Message:
    """A copy of a user message with `text` at its beginning."""
    content = message.get("content")
    if isinstance(content, list):
        return {**message, "content": [{"type": "text", "text": text}, *content]}
    return {**message, "content": f"{text}{SEPARATOR}{content}" if content else text}
