"""Adherence by turn: conversations held greedily with a model under a strategy, scored by their scripts' checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import strategies
from adherence import Curve, Rate, all_hold
from gatt import sampling
from gatt.script import Script

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from strategies import Strategy

Progress = Callable[[int, int], None]
"""Called with (turns held, turns in all)."""


@dataclass(frozen=True)
class Held:
    """A conversation that was held: a reply a turn, fewer than the script has where the window was full.

    `probed` holds, turn by turn, the replies to the script's probes.
    """

    script: Script
    replies: tuple[str, ...]
    probed: tuple[tuple[str, ...], ...] = ()

    @property
    def adherent(self) -> list[bool]:
        """Whether each reply kept the instruction, and the replies to the probes beside it."""
        return [
            self.script.adherent(turn, reply) and (not self.probed or self._passes(self.probed[turn]))
            for turn, reply in enumerate(self.replies)
        ]

    def _passes(self, replies: Sequence[str]) -> bool:
        pairs = zip(self.script.probes, replies, strict=True)
        return all(all_hold(probe.checks, reply) for probe, reply in pairs)

    @property
    def right(self) -> list[bool]:
        """Whether each reply to a question with a known answer held the fact asked for."""
        asked = [turn for turn in range(len(self.replies)) if self.script.turns[turn].fact is not None]
        return [self.script.right(turn, self.replies[turn]) for turn in asked]


def converse(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    scripts: Sequence[Script],
    strategy: str,
    turns: int,
    max_new_tokens: int = 64,
    progress: Progress = lambda done, total: None,
) -> list[Held]:
    """Holds every script for `turns` turns, greedily; a conversation ends where the next reply might not fit.

    After every turn a script's probes are asked on forks of the conversation, which itself stays as it is.
    """
    placed = strategies.make(strategy)
    replies: list[list[str]] = [[] for _ in scripts]
    probed: list[list[tuple[str, ...]]] = [[] for _ in scripts]
    for turn in range(turns):
        open_ones = [i for i, script in enumerate(scripts) if len(replies[i]) == turn < len(script.turns)]
        prompts = {i: sampling.prompt_ids(tokenizer, placed.place(scripts[i].messages(replies[i]))) for i in open_ones}
        fitting = [i for i in open_ones if len(prompts[i]) + max_new_tokens <= sampling.window(model)]
        answers = sampling.replies(model, tokenizer, [prompts[i] for i in fitting], max_new_tokens)
        for i, (answer,) in zip(fitting, answers, strict=True):
            replies[i].append(answer)
        for i, found in _forks(model, tokenizer, placed, scripts, replies, fitting, max_new_tokens).items():
            probed[i].append(found)
        progress(turn + 1, turns)
    everything = zip(scripts, replies, probed, strict=True)
    return [Held(script, tuple(said), tuple(found)) for script, said, found in everything]


def _forks(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    placed: Strategy,
    scripts: Sequence[Script],
    replies: Sequence[Sequence[str]],
    asked: Sequence[int],
    max_new_tokens: int,
) -> dict[int, tuple[str, ...]]:
    """The replies to each script's probes after its newest reply, by the script's place.

    A probe that no longer fits the window gets an empty reply, which passes no check.
    """
    places = [(i, probe) for i in asked for probe in scripts[i].probes]
    prompts = []
    for i, probe in places:
        messages = [*scripts[i].messages(replies[i][:-1]), {"role": "assistant", "content": replies[i][-1]}]
        fork = placed.place([*messages, {"role": "user", "content": probe.user}])
        prompts.append(sampling.prompt_ids(tokenizer, fork))
    room = sampling.window(model) - max_new_tokens
    fits = [at for at, prompt in enumerate(prompts) if len(prompt) <= room]
    answers = sampling.replies(model, tokenizer, [prompts[at] for at in fits], max_new_tokens)
    said = {at: answer for at, (answer,) in zip(fits, answers, strict=True)}
    found: dict[int, list[str]] = {}
    for at, (i, _) in enumerate(places):
        found.setdefault(i, []).append(said.get(at, ""))
    return {i: tuple(some) for i, some in found.items()}


def summary(held: Sequence[Held]) -> dict[str, Any]:
    """The figures of a split: adherence by turn with 95 % Wilson intervals, facts, and the same for each family."""
    curve = Curve.of([one.adherent for one in held])
    changed = _since_change(held)
    right = [verdict for one in held for verdict in one.right]
    families = sorted({family for one in held for family in one.script.families})
    return {
        "n": len(held),
        "adherence_by_turn": curve.shares,
        "interval_by_turn": [list(rate.interval) for rate in curve.turns],
        "n_by_turn": [rate.n for rate in curve.turns],
        "facts": Rate(sum(right), len(right)).share,
        **({"after_change": changed} if changed else {}),
        "families": {family: _family([one for one in held if family in one.script.families]) for family in families},
    }


def _since_change(held: Sequence[Held]) -> dict[str, Any]:
    """Adherence by turn since the first change, the turn after the user's word for it being turn 1."""
    verdicts = [one.adherent[one.script.changes[0].turn + 1 :] for one in held if one.script.changes]
    curve = Curve.of([some for some in verdicts if some])
    answers = [verdict for some in verdicts for verdict in some]
    return (
        {
            "share": Rate(sum(answers), len(answers)).share,
            "adherence_by_turn": curve.shares,
            "interval_by_turn": [list(rate.interval) for rate in curve.turns],
            "n_by_turn": [rate.n for rate in curve.turns],
        }
        if answers
        else {}
    )


def _family(held: Sequence[Held]) -> dict[str, Any]:
    return {"n": len(held), "adherence_by_turn": Curve.of([one.adherent for one in held]).shares}
