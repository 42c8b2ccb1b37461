"""Adherence by turn, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


def wilson(successes: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """The Wilson score interval of a proportion, 95 % by default (Wilson 1927, JASA 22:209).

    Returns (low, high) in 0..1; (0, 1) where nothing was observed.

    Raises:
        ValueError: successes outside 0..n.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"successes must lie between 0 and n, not {successes} of {n}")
    if n == 0:
        return 0.0, 1.0
    share = successes / n
    denominator = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / denominator
    half = z / denominator * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True)
class Rate:
    """A share of observations that held."""

    held: int
    n: int

    @property
    def share(self) -> float | None:
        """held / n in 0..1, None where nothing was observed."""
        return self.held / self.n if self.n else None

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval."""
        return wilson(self.held, self.n)


@dataclass(frozen=True)
class Curve:
    """Adherence at each turn over conversations that may end at different turns."""

    turns: tuple[Rate, ...]

    @classmethod
    def of(cls, conversations: Sequence[Sequence[bool]]) -> Curve:
        """From one sequence of verdicts a conversation, turn 1 first."""
        longest = max((len(verdicts) for verdicts in conversations), default=0)
        columns = [[verdicts[turn] for verdicts in conversations if turn < len(verdicts)] for turn in range(longest)]
        return cls(tuple(Rate(sum(column), len(column)) for column in columns))

    @property
    def shares(self) -> list[float | None]:
        """The share that held, by turn."""
        return [rate.share for rate in self.turns]
