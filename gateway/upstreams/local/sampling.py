"""How a request wants its tokens chosen, and the choosing, for all rows of a step at once."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Sampling:
    """OpenAI's sampling fields with OpenAI's defaults.

    Attributes:
        temperature: 0 is greedy.
        seed: None draws a fresh one.
        choice: which of `n` answers this is; the same seed gives each its own.
        max_tokens: None is as many as the window holds.
        stop: up to four strings at which the answer ends, themselves left out.
        ignore_end: go on past the model's end token (vLLM's `ignore_eos`, for measuring).
    """

    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    choice: int = 0
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    ignore_end: bool = False

    def source(self) -> random.Random:
        """The row's own random numbers: one a token, so the draw does not depend on what else is in the batch."""
        return random.Random(None if self.seed is None else f"{self.seed}/{self.choice}")

    @property
    def draws(self) -> bool:
        """Whether chance has a part."""
        return self.temperature > 0

    @property
    def penalised(self) -> bool:
        """Whether tokens already said weigh less or more."""
        return self.presence_penalty != 0 or self.frequency_penalty != 0


class Drawn(Protocol):
    """What choosing needs to know of a row."""

    sampling: Sampling
    random: random.Random
    counts: dict[int, int]


def choose(logits: Tensor, rows: Sequence[Drawn]) -> list[int]:
    """The next token of each row, from float32 `logits` `[rows, vocabulary]` (changed in place by penalties)."""
    for index, row in enumerate(rows):
        if row.sampling.penalised and row.counts:
            _penalise(logits[index], row)
    tokens: list[int] = logits.argmax(dim=-1).tolist()
    # A row's way of drawing depends on its own parameters only, else its seed would not give the same answer again.
    for nucleus in (False, True):
        drawn = [i for i, row in enumerate(rows) if row.sampling.draws and (row.sampling.top_p < 1) == nucleus]
        if drawn:
            chosen = _draw(logits[drawn], [rows[i] for i in drawn], nucleus)
            for index, token in zip(drawn, chosen, strict=True):
                tokens[index] = token
    return tokens


def _draw(logits: Tensor, rows: Sequence[Drawn], nucleus: bool) -> list[int]:
    """Invert the cumulative distribution at one uniform number a row."""
    import torch

    def column(values: list[float]) -> Tensor:
        return torch.tensor(values, device=logits.device).unsqueeze(1)

    probabilities = torch.softmax(logits / column([row.sampling.temperature for row in rows]), dim=-1)
    uniform = column([row.random.random() for row in rows])
    if not nucleus:
        cumulative = probabilities.cumsum(dim=-1)
        found = torch.searchsorted(cumulative, uniform * cumulative[:, -1:], right=True)
        return _within(found, logits).squeeze(1).tolist()
    ordered, order = probabilities.sort(dim=-1, descending=True)
    cumulative = ordered.cumsum(dim=-1)
    # The smallest set of tokens whose mass reaches top_p: each whose predecessors have not reached it yet.
    kept = (cumulative - ordered < column([row.sampling.top_p for row in rows])).sum(dim=-1, keepdim=True)
    mass = cumulative.gather(1, (kept - 1).clamp(min=0))
    found = torch.minimum(torch.searchsorted(cumulative, uniform * mass, right=True), (kept - 1).clamp(min=0))
    return order.gather(1, found).squeeze(1).tolist()


def _within(found: Tensor, logits: Tensor) -> Tensor:
    return found.clamp(max=logits.shape[-1] - 1)


def _penalise(logits: Tensor, row: Drawn) -> None:
    """OpenAI's penalties: logit − count·frequency − (count > 0)·presence."""
    import torch

    seen = torch.tensor(list(row.counts), device=logits.device)
    counts = torch.tensor(list(row.counts.values()), device=logits.device, dtype=logits.dtype)
    logits[seen] -= counts * row.sampling.frequency_penalty + row.sampling.presence_penalty
