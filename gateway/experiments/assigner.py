"""Sticky assignment: dealt by hash once, recorded, and then only read back."""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, datetime
from typing import NamedTuple

from gateway.experiments.allocation import Allocations
from gateway.experiments.assignment import deal, is_within, position
from gateway.experiments.split import Exposure, Split
from gateway.ledger.lookup import Lookup
from gateway.ledger.records import Assignment

REMEMBERED = 20_000


class Dealt(NamedTuple):
    """A conversation's arm; `excluded` says why it is no part of the experiment (`coverage`, `audience`), None when it
    is. `assignment` is to be recorded where it was dealt just now."""

    arm: str
    excluded: str | None
    assignment: Assignment | None = None


class Assigner:
    """Knows which arm each conversation was dealt in each experiment."""

    def __init__(self, lookup: Lookup, allocations: Allocations) -> None:
        self._lookup = lookup
        self._allocations = allocations
        self._dealt: OrderedDict[tuple[str, str, str], tuple[str, str | None]] = OrderedDict()

    async def arm(self, split: Split, conversation_id: str, exposure: Exposure, *, is_new: bool) -> Dealt:
        """The conversation's arm.

        New weights, arms, coverage and audiences never move a conversation; an arm that is gone from the config does,
        for there is nothing left to stick to.

        Args:
            exposure: what is known of the conversation; its key makes the same id another conversation.
            is_new: the gateway has just made the conversation up, so the ledger cannot know it.
        """
        key = (split.name, conversation_id, exposure.key_name or "")
        known = self._dealt.get(key)
        if known is None and not is_new:
            known = await self._lookup.assignment(conversation_id, split.name, exposure.key_name or "")
        if known is not None and known[0] in split.weights:
            self._remember(key, known)
            return Dealt(*known)
        assignment = self._deal(split, conversation_id, exposure)
        self._remember(key, (assignment.arm, assignment.excluded))
        return Dealt(assignment.arm, assignment.excluded, assignment)

    async def expected(self, split: Split, conversation_id: str, exposure: Exposure) -> str:
        """The conversation's arm, or the one that it would be dealt now; deals nothing."""
        known = self._dealt.get((split.name, conversation_id, exposure.key_name or ""))
        if known is None:
            known = await self._lookup.assignment(conversation_id, split.name, exposure.key_name or "")
        if known is not None and known[0] in split.weights:
            return known[0]
        return self._deal(split, conversation_id, exposure).arm

    def _deal(self, split: Split, conversation_id: str, exposure: Exposure) -> Assignment:
        now = self._allocations.of(split)
        own = _own(conversation_id, exposure.key_name)
        excluded = None
        if not split.audience.holds(exposure.key_name, exposure.headers):
            excluded = "audience"
        elif not is_within(now.coverage, f"{split.salt}\ncoverage", own):
            excluded = "coverage"
        arm = (split.outside or next(iter(split.weights))) if excluded else deal(now.shares, position(split.salt, own))
        return Assignment(
            conversation_id=conversation_id,
            experiment=split.name,
            arm=arm,
            assigned_at=datetime.now(UTC).isoformat(),
            key_name=exposure.key_name or "",
            policy=split.policy,
            propensity=None if excluded else now.shares[arm],
            weights=now.as_json,
            excluded=excluded,
            turn=exposure.turn,
            instruction_chars=exposure.instruction_chars,
            prompt_chars=exposure.prompt_chars,
        )

    def _remember(self, key: tuple[str, str, str], dealt: tuple[str, str | None]) -> None:
        self._dealt[key] = dealt
        self._dealt.move_to_end(key)
        if len(self._dealt) > REMEMBERED:
            self._dealt.popitem(last=False)


def _own(conversation_id: str, key_name: str | None) -> str:
    """What is hashed for a conversation: ids such as `1` that several keys give are dealt apart."""
    return f"{key_name}\n{conversation_id}" if key_name else conversation_id
