"""The seam: what every strategy is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

Message = dict[str, Any]
"""One chat message in OpenAI's shape; unknown fields are kept."""


class Strategy(Protocol):
    """A placement of the instruction."""

    @property
    def name(self) -> str:
        """What the ledger's rows and the metrics call it."""
        ...

    @property
    def append_only(self) -> bool:
        """True when the output for a longer history starts with the output for a shorter one, message for
        message. Then every earlier turn stays in the provider's prefix cache."""
        ...

    def place(self, messages: Sequence[Message], instruction: str | None = None) -> list[Message]:
        """Return the messages for the model.

        Args:
            messages: the client's messages, oldest first. Never changed; returned messages may be shared.
            instruction: an instruction that the arm sets, on top of what the client sent. None: the
                client's own leading system or developer message is the instruction.
        """
        ...


class Opening(Protocol):
    """What a strategy may have besides whose first turn is that of a simpler one, so that it is not placed and counted
    again."""

    @property
    def opens_as(self) -> str | None:
        """`once` or `every-turn` where that strategy, without parameters, returns the same messages for every history
        with one user message at most; None where neither does."""
        ...


@runtime_checkable
class Incremental(Protocol):
    """What an append-only strategy may have besides, so that counting a turn does not place the old ones again."""

    def place_from(self, start: int, messages: Sequence[Message], instruction: str | None = None) -> list[Message]:
        """Return what `place` makes of `messages[start:]`, where `messages[start]` is an answer of the assistant's."""
        ...
