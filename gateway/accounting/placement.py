"""What the instruction and its repetitions take of a prompt, and what other placements would have taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import strategies
from strategies import Message
from strategies.instruction import text_of

COUNTERFACTUAL = ("once", "every-turn")
"""Strategies whose prompt is counted for every turn, whichever of them was used."""


class _Counter(Protocol):
    def messages(self, messages: list[Message]) -> int: ...
    def text(self, text: str) -> int: ...


@dataclass(frozen=True, slots=True)
class PlacementCounts:
    """Token counts of one prompt.

    `instruction_tokens` is one copy of the instruction, `repeated_instruction_tokens` all copies that the prompt holds
    beyond those of saying it once; both None when there is no instruction. `counterfactual` is prompt tokens by
    strategy: their differences are what repetition costs with everything around the copies.
    """

    prompt_tokens: int
    instruction_tokens: int | None
    repeated_instruction_tokens: int | None
    counterfactual: dict[str, int]


def count_placement(
    counter: _Counter, messages: Sequence[Message], placed: list[Message], instruction: str | None
) -> PlacementCounts:
    """Count a placed prompt and its alternatives.

    Args:
        messages: the client's messages; `placed` is what the arm's strategy made of them.
        instruction: the arm's own instruction, or None where the client's system message is it.
    """
    prompt_tokens = counter.messages(placed)
    others = {name: strategies.make(name).place(messages, instruction) for name in COUNTERFACTUAL}
    counterfactual = {
        name: prompt_tokens if other == placed else counter.messages(other) for name, other in others.items()
    }
    text = instruction or strategies.instruction_of(messages)
    if not text:
        return PlacementCounts(prompt_tokens, None, None, counterfactual)
    size = counter.text(text)
    extra_copies = max(0, _copies(text, placed) - _copies(text, others["once"]))
    return PlacementCounts(prompt_tokens, size, extra_copies * size, counterfactual)


def _copies(text: str, messages: Sequence[Message]) -> int:
    return sum(text_of(message.get("content")).count(text) for message in messages)
