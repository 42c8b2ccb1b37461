"""When tuning pays: a conversation's cost by placement of the instruction, from lengths, prices and a cache rule alone.

A conversation of T turns has an instruction of I tokens, user messages of U and answers of A. Each request sends all of
it again; what is the same from the first token on as in the turn before may be cached (`gateway.accounting.caching`).

    once         I  U A  U A  …  U                prompt I + T·U + (T−1)·A
    every-turn   U I A  U I A  …  U I             prompt T·(U + I) + (T−1)·A
    every-k      a copy in every k-th user turn, kept where it is
    last-turn    U A  U A  …  U I                 the copy moves, so the turn before is read again from there on
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from gateway.accounting.caching import CacheRule, Overlap
from gateway.accounting.prices import Billed, Rates, cost_of

LONGEST = 2_000
"""Turns, and hundredths of it of instruction tokens, up to which a break-even is looked for."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Lengths of a conversation: turns, and tokens of the instruction, of each user message and of each answer."""

    turns: int = 20
    instruction: int = 200
    user: int = 40
    answer: int = 200


@dataclass(frozen=True, slots=True)
class TurnCost:
    """One turn of a conversation: tokens, and USD."""

    turn: int
    prompt_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    completion_tokens: int
    cost_usd: float


def once(shape: Shape, turn: int) -> Overlap:
    """The instruction at the head alone."""
    return _appended(lambda t: shape.instruction + t * shape.user + (t - 1) * shape.answer, shape, turn)


def every_turn(shape: Shape, turn: int) -> Overlap:
    """A copy in every user turn."""
    return _appended(lambda t: t * (shape.user + shape.instruction) + (t - 1) * shape.answer, shape, turn)


def every_k(k: int) -> Callable[[Shape, int], Overlap]:
    """A copy in the user turns 1, 1+k, 1+2k …"""

    def placed(shape: Shape, turn: int) -> Overlap:
        def prompt(t: int) -> int:
            return t * shape.user + (t - 1) * shape.answer + (1 + (t - 1) // k) * shape.instruction

        return _appended(prompt, shape, turn)

    return placed


def last_turn(shape: Shape, turn: int) -> Overlap:
    """One copy, in the last user turn."""
    plain = turn * shape.user + (turn - 1) * shape.answer
    if turn == 1:
        return Overlap(plain + shape.instruction)
    shared = plain - shape.user - shape.answer
    return Overlap(plain + shape.instruction, shared, shared, shared + shape.instruction)


PLACEMENTS: dict[str, Callable[[Shape, int], Overlap]] = {
    "once": once,
    "every-turn": every_turn,
    "every-4": every_k(4),
    "last-turn": last_turn,
}


def _appended(prompt: Callable[[int], int], shape: Shape, turn: int) -> Overlap:
    if turn == 1:
        return Overlap(prompt(1))
    before = prompt(turn - 1)
    return Overlap(prompt(turn), before, before + shape.answer, before)


def turns(placement: str, shape: Shape, rule: CacheRule, rates: Rates) -> Iterator[TurnCost]:
    """Every turn of a conversation."""
    for turn in range(1, shape.turns + 1):
        overlap = PLACEMENTS[placement](shape, turn)
        cached = rule.cached(overlap)
        billed = Billed(overlap.prompt_tokens, shape.answer, cached.read, cached.written)
        cost = cost_of(rates, billed)
        assert cost is not None, "there is no sound in a text conversation"
        yield TurnCost(turn, overlap.prompt_tokens, cached.read, cached.written, shape.answer, cost.total)


def conversation(placement: str, shape: Shape, rule: CacheRule, rates: Rates) -> float:
    """USD of a whole conversation."""
    return sum(turn.cost_usd for turn in turns(placement, shape, rule, rates))


@dataclass(frozen=True, slots=True)
class Model:
    """What a model's tokens cost, and how its prefix cache works."""

    rates: Rates
    rule: CacheRule


@dataclass(frozen=True, slots=True)
class Comparison:
    """Repeating on `base` against saying it once on `tuned`, for conversations of one shape."""

    base: Model
    tuned: Model
    shape: Shape

    def repeated_usd(self, shape: Shape | None = None) -> float:
        """A conversation with the instruction in every turn, on the base model."""
        return conversation("every-turn", shape or self.shape, self.base.rule, self.base.rates)

    def once_usd(self, shape: Shape | None = None) -> float:
        """A conversation with the instruction said once, on the tuned model."""
        return conversation("once", shape or self.shape, self.tuned.rule, self.tuned.rates)

    def saving_usd(self) -> float:
        """What tuning saves in a conversation; negative where it costs more."""
        return self.repeated_usd() - self.once_usd()

    def least_turns(self) -> int | None:
        """The shortest conversation that is cheaper on the tuned model and stays so as it grows; None when none is."""
        sums = self._sums_by_turn()
        cheaper = [tuned < base for base, tuned in sums]
        if not cheaper[-1]:
            return None
        return next(turn for turn in range(len(cheaper), 0, -1) if turn == 1 or not cheaper[turn - 2])

    def least_instruction(self) -> int | None:
        """The shortest instruction, in tokens, for which tuning is cheaper at this length; None up to 10,000.

        Costs step with the cache's grain; the answer is right to within one step.
        """
        low, high = 0, 10_000
        if not self._pays(replace(self.shape, instruction=high)):
            return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._pays(replace(self.shape, instruction=middle)) else (middle, high)
        return high

    def most_surcharge(self) -> float:
        """The factor on the base model's prices up to which a tuned model with the same cache is cheaper."""
        return self.repeated_usd() / conversation("once", self.shape, self.base.rule, self.base.rates)

    def conversations_to_recover(self, training_usd: float) -> float | None:
        """Conversations after which the training is paid for; None when each costs more than it did."""
        saving = self.saving_usd()
        return training_usd / saving if saving > 0 else None

    def _pays(self, shape: Shape) -> bool:
        return self.once_usd(shape) < self.repeated_usd(shape)

    def _sums_by_turn(self) -> list[tuple[float, float]]:
        longest = replace(self.shape, turns=LONGEST)
        base, tuned, sums = 0.0, 0.0, []
        for repeated, said in zip(
            turns("every-turn", longest, self.base.rule, self.base.rates),
            turns("once", longest, self.tuned.rule, self.tuned.rates),
            strict=True,
        ):
            base, tuned = base + repeated.cost_usd, tuned + said.cost_usd
            sums.append((base, tuned))
        return sums
