"""A recipe's [train] section: what learns, by which objective, in which rounds, on which mix of rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

OBJECTIVES = ("sft-last", "sft-all", "dpo", "sdft")


@dataclass(frozen=True)
class Round:
    """A run of the trainer with a warm-up and a cosine decay of its own; `by_turn` as in `rows.mix`."""

    steps: int
    learning_rate: float = 1e-3
    by_turn: bool = False


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters (PEFT) on the named projections; merged into the weights at the end, or left as an adapter."""

    r: int = 16
    alpha: int = 32
    dropout: float = 0.0
    modules: tuple[str, ...] = ("q_proj", "k_proj")
    merge: bool = True


@dataclass(frozen=True)
class Tuning:
    """What learns and how.

    `objective`: "sft-last" (GAtt: loss on the last answer), "sft-all" (on every answer), "dpo" (answers sampled with
    the instruction repeated against answers sampled without), "sdft" (the model distils itself: told once it learns
    the distribution that it has when told in every turn). `modules` names the projections that learn, all weights
    where it is empty; `lora` puts adapters on its own modules instead. `shares` is the mix of rows by kind and sums
    to 1. With `average` the result is the mean of the rounds' ends (stochastic weight averaging, arXiv 1803.05407).
    `rows_per_step` counts rows over all processes; a device handles `micro_batch` of them at a time.
    """

    objective: str = "sft-last"
    modules: tuple[str, ...] = ("q_proj", "k_proj")
    lora: Lora | None = None
    rounds: tuple[Round, ...] = (Round(steps=500),)
    average: bool = False
    rows_per_step: int = 12
    micro_batch: int | None = None
    shares: Mapping[str, float] = field(default_factory=lambda: {"later": 0.63, "first": 0.12, "plain": 0.25})
    warm_up: float = 0.06
    weight_decay: float = 0.0
    beta: float = 0.1
    max_new_tokens: int = 64
    bf16: bool = True
    gradient_checkpointing: bool = False
    checkpoint_every: int = 100

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise ValueError(f"objective must be one of {', '.join(OBJECTIVES)}, not {self.objective!r}")
        if not math.isclose(sum(self.shares.values()), 1.0):
            raise ValueError(f"shares must sum to 1, not {sum(self.shares.values()):.3f}")
        if not self.rounds:
            raise ValueError("rounds must name at least one round, such as { steps = 500 }")
        if self.lora is not None and not self.lora.merge and len(self.rounds) > 1:
            raise ValueError(
                "an adapter that is not merged learns in one round; set lora.merge = true or give one round"
            )

    @property
    def steps(self) -> int:
        """Steps of all rounds."""
        return sum(one.steps for one in self.rounds)

    def per_device(self, processes: int) -> tuple[int, int]:
        """(rows a device handles at once, times it does so before a step).

        Raises:
            ValueError: the rows of a step do not divide evenly.
        """
        rows = self.rows_per_step // processes
        batch = min(self.micro_batch or rows, rows)
        if not batch or rows * processes != self.rows_per_step or rows % batch:
            several = f"{processes} process{'es' * (processes > 1)}"
            raise ValueError(
                f"rows_per_step = {self.rows_per_step} does not divide into {several} "
                f"of {self.micro_batch or 'equal'} rows at a time; choose a multiple"
            )
        return batch, rows // batch
