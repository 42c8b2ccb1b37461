"""What the gateway has to know of earlier turns to serve the next one: its own file first, then what others wrote.

The shared database is asked only when the file has no answer, and not for long; when it is away, a conversation that
began at another gateway is taken for a new one, and the gateway goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy import Connection

from gateway.errors import SharedAway
from gateway.ledger.questions import Questions
from gateway.ledger.records import Answered, Turn
from gateway.ledger.shared import Shared
from gateway.ledger.store import Store, select_answered, select_assignment, select_continuations, select_turn

T = TypeVar("T")

PAUSES_S = (0.05, 0.1, 0.15)
"""Before a history that nobody knows is asked for again: who answered it last may be shipping that row just now."""
STRANGE = 10_000

log = logging.getLogger(__name__)


class Lookup:
    """Answered turns and assignments, wherever they are."""

    def __init__(self, store: Store, shared: Shared | None = None, timeout_s: float = 0.25) -> None:
        """`timeout_s`: the longest that an answer of the shared database is waited for."""
        self._store = store
        self._questions = Questions(store.engine)
        self._shared = shared
        self._timeout_s = timeout_s
        self._strange: OrderedDict[str, None] = OrderedDict()  # histories that were asked for in vain

    async def assignment(self, conversation_id: str, experiment: str, key_name: str) -> tuple[str, str | None] | None:
        """The arm that the key's conversation was dealt in the experiment and why it is excluded, or None."""
        known = await self._questions.assignment(conversation_id, experiment, key_name)
        if known is not None:
            return known
        return await self._asked(
            lambda connection: select_assignment(connection, conversation_id, experiment, key_name), None
        )

    async def answered(self, hashes: Sequence[str]) -> list[Answered]:
        """Answered turns whose `answered_hash` is one of `hashes` (the longest history last), newest first.

        Others are asked too when this gateway does not know the longest, for it may have been answered elsewhere; and
        when it knows it as an opening, for others may have been given the very same. Where nobody knows it, they are
        asked again for a moment, once for each history: examples in a prompt look like one, and are no turns.
        """
        longest = hashes[-1]
        found = await self._questions.answered(hashes)
        if any(one.answered_hash == longest and one.turn > 1 for one in found):
            return found
        mine = {one.request_id for one in found}
        others: list[Answered] = []
        for pause_s in (0.0, *PAUSES_S):
            await asyncio.sleep(pause_s)
            others = await self._asked(lambda connection: select_answered(connection, hashes), [])
            if any(one.answered_hash == longest for one in (*found, *others)) or not self._is_worth_asking(longest):
                break
        else:
            self._is_strange(longest)
        return [*found, *(other for other in others if other.request_id not in mine)]

    async def continuations(self, request_ids: Sequence[str]) -> list[Answered]:
        """Answered turns that continue one of the given requests, wherever they were answered."""
        found = await self._questions.continuations(request_ids)
        others: list[Answered] = await self._asked(lambda connection: select_continuations(connection, request_ids), [])
        return found + others

    async def turn(self, request_id: str) -> Turn | None:
        """The whole row of a request, or None."""
        found = await asyncio.to_thread(self._store.turn, request_id)
        return found or await self._asked(lambda connection: select_turn(connection, request_id), None)

    def close(self) -> None:
        """Let the file go; blocks."""
        self._questions.close()

    def _is_worth_asking(self, answered_hash: str) -> bool:
        return self._shared is not None and self._shared.problem is None and answered_hash not in self._strange

    def _is_strange(self, answered_hash: str) -> None:
        self._strange[answered_hash] = None
        if len(self._strange) > STRANGE:
            self._strange.popitem(last=False)

    async def _asked(self, question: Callable[[Connection], T], otherwise: T) -> T:
        if self._shared is None:
            return otherwise
        try:
            return await self._shared.run(question, timeout_s=self._timeout_s)
        except SharedAway as error:
            log.debug("%s", error)
            return otherwise
