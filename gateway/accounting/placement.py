"""What the instruction and its repetitions take of a prompt, and what other placements would have taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import strategies
from strategies import Message, Strategy

COUNTERFACTUAL = ("once", "every-turn")
"""Strategies whose prompt is counted for every turn, whichever of them was used."""


class _Counter(Protocol):
    def messages(self, messages: list[Message]) -> int: ...
    def text(self, text: str) -> int: ...


@dataclass(frozen=True, slots=True)
class PlacementCounts:
    """Token counts of one prompt.

    `instruction_tokens` is one copy of the instruction; `repeated_instruction_tokens` what the prompt holds beyond
    saying it once; both None when there is no instruction. `counterfactual` is prompt tokens by strategy.
    """

    prompt_tokens: int
    instruction_tokens: int | None
    repeated_instruction_tokens: int | None
    counterfactual: dict[str, int]


def count_placement(
    counter: _Counter, strategy: Strategy, messages: Sequence[Message], placed: list[Message], instruction: str | None
) -> PlacementCounts:
    """Count a placed prompt and its alternatives.

    Args:
        messages: the client's messages; `placed` is what `strategy` made of them.
        instruction: the arm's own instruction, or None where the client's system message is it.
    """
    prompt_tokens = counter.messages(placed)
    counterfactual = {}
    for name in COUNTERFACTUAL:
        other = placed if name == strategy.name else strategies.make(name).place(messages, instruction)
        counterfactual[name] = prompt_tokens if other == placed else counter.messages(other)
    text = instruction or strategies.instruction_of(messages)
    return PlacementCounts(
        prompt_tokens,
        counter.text(text) if text else None,
        max(0, prompt_tokens - counterfactual["once"]) if text else None,
        counterfactual,
    )
