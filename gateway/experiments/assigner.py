"""Sticky assignment: dealt by hash once, recorded, and then only read back."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime

from gateway.experiments.assignment import deal, position
from gateway.ledger.records import Assignment
from gateway.ledger.store import Store

REMEMBERED = 100_000


class Assigner:
    """Knows which arm each conversation was dealt in each experiment."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._dealt: OrderedDict[tuple[str, str, str], str] = OrderedDict()

    async def arm(
        self,
        experiment: str,
        salt: str,
        weights: Mapping[str, float],
        conversation_id: str,
        *,
        key_name: str | None = None,
        is_new: bool,
    ) -> tuple[str, Assignment | None]:
        """The conversation's arm, and the assignment to record when it was dealt just now.

        New weights and new arms never move a conversation; an arm that is gone from the config does, for there
        is nothing left to stick to.

        Args:
            key_name: whose conversation it is; the same id under another key is another conversation.
            is_new: the gateway has just made the conversation up, so the ledger cannot know it.
        """
        key = (experiment, conversation_id, key_name or "")
        known = self._dealt.get(key)
        if known is None and not is_new:
            known = await asyncio.to_thread(self._store.assignment, conversation_id, experiment, key_name or "")
        if known is not None and known in weights:
            self._remember(key, known)
            return known, None
        arm = deal(weights, position(salt, _own(conversation_id, key_name)))
        self._remember(key, arm)
        return arm, Assignment(conversation_id, experiment, arm, datetime.now(UTC).isoformat(), key_name or "")

    async def expected(
        self, experiment: str, salt: str, weights: Mapping[str, float], conversation_id: str, key_name: str | None
    ) -> str:
        """The conversation's arm, or the one that it would be dealt now; deals nothing."""
        known = self._dealt.get((experiment, conversation_id, key_name or ""))
        if known is None:
            known = await asyncio.to_thread(self._store.assignment, conversation_id, experiment, key_name or "")
        if known is not None and known in weights:
            return known
        return deal(weights, position(salt, _own(conversation_id, key_name)))

    def _remember(self, key: tuple[str, str, str], arm: str) -> None:
        self._dealt[key] = arm
        self._dealt.move_to_end(key)
        if len(self._dealt) > REMEMBERED:
            self._dealt.popitem(last=False)


def _own(conversation_id: str, key_name: str | None) -> str:
    """What is hashed for a conversation: ids such as `1` that several keys give are dealt apart."""
    return f"{key_name}\n{conversation_id}" if key_name else conversation_id
