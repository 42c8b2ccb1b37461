"""Adherence by turn: conversations held greedily with a model under a strategy, scored by their scripts' checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import strategies
from adherence import Curve, Rate
from gatt import sampling
from gatt.script import Script

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Progress = Callable[[int, int], None]
"""Called with (turns held, turns in all)."""


@dataclass(frozen=True)
class Held:
    """A conversation that was held: a reply a turn, fewer than the script has where the window was full."""

    script: Script
    replies: tuple[str, ...]

    @property
    def adherent(self) -> list[bool]:
        """Whether each reply kept the instruction."""
        return [self.script.adherent(reply) for reply in self.replies]

    @property
    def right(self) -> list[bool]:
        """Whether each reply held the fact asked for."""
        return [self.script.right(turn, reply) for turn, reply in enumerate(self.replies)]


def converse(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    scripts: Sequence[Script],
    strategy: str,
    turns: int,
    max_new_tokens: int = 64,
    progress: Progress = lambda done, total: None,
) -> list[Held]:
    """Holds every script for `turns` turns, greedily; a conversation ends where the next reply might not fit."""
    placed = strategies.make(strategy)
    replies: list[list[str]] = [[] for _ in scripts]
    for turn in range(turns):
        open_ones = [i for i, script in enumerate(scripts) if len(replies[i]) == turn < len(script.turns)]
        prompts = {i: sampling.prompt_ids(tokenizer, placed.place(scripts[i].messages(replies[i]))) for i in open_ones}
        fitting = [i for i in open_ones if len(prompts[i]) + max_new_tokens <= sampling.window(model)]
        answers = sampling.replies(model, tokenizer, [prompts[i] for i in fitting], max_new_tokens)
        for i, (answer,) in zip(fitting, answers, strict=True):
            replies[i].append(answer)
        progress(turn + 1, turns)
    return [Held(script, tuple(some)) for script, some in zip(scripts, replies, strict=True)]


def summary(held: Sequence[Held]) -> dict[str, Any]:
    """The figures of a split: adherence by turn with 95 % Wilson intervals, facts, and the same for each family."""
    curve = Curve.of([one.adherent for one in held])
    right = [verdict for one in held for verdict in one.right]
    families = sorted({family for one in held for family in one.script.families})
    return {
        "n": len(held),
        "adherence_by_turn": curve.shares,
        "interval_by_turn": [list(rate.interval) for rate in curve.turns],
        "n_by_turn": [rate.n for rate in curve.turns],
        "facts": Rate(sum(right), len(right)).share,
        "families": {family: _family([one for one in held if family in one.script.families]) for family in families},
    }


def _family(held: Sequence[Held]) -> dict[str, Any]:
    return {"n": len(held), "adherence_by_turn": Curve.of([one.adherent for one in held]).shares}
