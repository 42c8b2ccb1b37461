"""Counting a turn's tokens beside the request: at once where that is quick, else in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway.accounting.placement import (
    MEMORY_LIMIT,
    Memory,
    PlacementCounts,
    Turn,
    comparable,
    count_placement,
)
from gateway.accounting.remembered import Recent
from gateway.catalogue import Arm
from gateway.errors import RequestError
from strategies import Message, Strategy

AT_ONCE_CHARS = 18_000
"""Up to so many new characters, over all placements together, are counted on the event loop: about a millisecond
(tiktoken reads some four characters a microsecond, less of what placements share). A thread costs a small count more
than it is worth."""

NOT_TEXT = ("tools", "functions", "response_format")
"""Fields of a request that providers put into the prompt in ways of their own."""


class Counting:
    """Starts the counts of turns."""

    def __init__(self, compare: Sequence[str] | None) -> None:
        self._compare = compare
        self._memory: dict[str, Memory] = {}
        self._others: dict[str | None, dict[str, Strategy]] = {}

    def start(
        self,
        arm: Arm,
        body: dict[str, object],
        messages: Sequence[Message],
        placed: Sequence[Message],
        *,
        continues: bool,
    ) -> asyncio.Future[PlacementCounts]:
        """Begin to count; the event loop first gets to send the request on.

        Args:
            continues: whether the messages go on from a turn that was answered here.

        Returns:
            The counts; or the RequestError of a model whose template refuses the messages.
        """
        turn = Turn(
            messages,
            placed,
            arm.strategy,
            arm.instruction,
            continues,
            has_tools=any(body.get(name) for name in NOT_TEXT),
            marks=arm.model.cache_rule.reads_marks,
        )
        others = self._comparable(arm)
        memory = self._memory.get(arm.model.name)
        if memory is None:
            memory = self._memory[arm.model.name] = Recent(MEMORY_LIMIT)
        if _is_quick(arm, messages, 1 + len(others)):
            loop = asyncio.get_running_loop()
            counted: asyncio.Future[PlacementCounts] = loop.create_future()
            loop.call_soon(_count, counted, arm, turn, others, memory)
            return counted
        return asyncio.ensure_future(asyncio.to_thread(count_placement, arm.model.counter, turn, others, memory))

    def _comparable(self, arm: Arm) -> dict[str, Strategy]:
        found = self._others.get(arm.instruction)
        if found is None:
            found = self._others[arm.instruction] = comparable(self._compare, arm.instruction)
        return found


def _is_quick(arm: Arm, messages: Sequence[Message], placements: int) -> bool:
    limit = AT_ONCE_CHARS // placements
    return arm.model.counter.new_chars(messages, limit) <= limit


def _count(
    counted: asyncio.Future[PlacementCounts], arm: Arm, turn: Turn, others: dict[str, Strategy], memory: Memory
) -> None:
    if counted.done():
        return
    try:
        counted.set_result(count_placement(arm.model.counter, turn, others, memory))
    except RequestError as error:
        counted.set_exception(error)
