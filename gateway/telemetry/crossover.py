"""Conversations that were answered by more than one arm, as far as this process has seen them."""

from __future__ import annotations

from collections import OrderedDict

from gateway.ledger.records import Turn

REMEMBERED = 10_000
"""Conversations kept in mind, the latest ones; the report finds the others in the ledger."""


class Crossovers:
    """Sees a conversation change its arm."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._arms: OrderedDict[tuple[str | None, str, str | None], str | None] = OrderedDict()

    def crosses(self, row: Turn) -> bool:
        """Whether the turn's arm is another than that of the turn before, in one experiment."""
        key = (row.key_name, row.conversation_id, row.experiment)
        before = self._arms.pop(key, row.arm)
        self._arms[key] = row.arm
        if len(self._arms) > self._remembered:
            self._arms.popitem(last=False)
        return before != row.arm
