"""Tokens are drawn as OpenAI's fields ask, each row by its own random numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import pytest

from gateway.upstreams.local.sampling import Sampling, choose

PROBABILITIES = (0.5, 0.3, 0.15, 0.05)


@dataclass
class Row:
    sampling: Sampling
    counts: dict[int, int] = field(default_factory=dict)
    random: Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = self.sampling.source()


def logits(rows: int) -> Any:
    import torch

    return torch.tensor(PROBABILITIES).log().repeat(rows, 1)


def drawn(count: int, **fields: Any) -> Counter[int]:
    rows = [Row(Sampling(seed=seed, **fields)) for seed in range(count)]
    return Counter(choose(logits(count), rows))


def test_temperature_one_draws_by_the_models_own_probabilities() -> None:
    seen = drawn(4000)
    assert [seen[token] / 4000 for token in range(4)] == pytest.approx(PROBABILITIES, abs=0.03)


def test_a_low_temperature_sharpens_and_zero_is_greedy() -> None:
    seen = drawn(4000, temperature=0.5)
    total = sum(p**2 for p in PROBABILITIES)
    assert seen[0] / 4000 == pytest.approx(0.25 / total, abs=0.03)
    assert drawn(50, temperature=0) == {0: 50}


@pytest.mark.parametrize(
    ("top_p", "kept"), [(0, {0}), (0.4, {0}), (0.6, {0, 1}), (0.9, {0, 1, 2}), (0.97, {0, 1, 2, 3})]
)
def test_top_p_keeps_the_smallest_set_that_reaches_it(top_p: float, kept: set[int]) -> None:
    assert set(drawn(400, top_p=top_p)) == kept


def test_the_same_seed_and_choice_draw_the_same_in_any_company() -> None:
    mine = Sampling(seed=3, top_p=0.95)
    alone, company = Row(mine), Row(mine)
    others = [Row(Sampling(seed=1)), Row(Sampling(temperature=0)), Row(Sampling(top_p=0.2))]
    first = [choose(logits(1), [alone])[0] for _ in range(20)]
    second = [choose(logits(4), [*others, company])[3] for _ in range(20)]
    assert first == second
    assert first != [choose(logits(1), [other])[0] for other in [Row(Sampling(seed=3, choice=1))] for _ in range(20)]


def test_penalties_turn_away_from_what_was_said() -> None:
    greedy, said = Sampling(temperature=0), {0: 2}
    assert choose(logits(1), [Row(replace(greedy, frequency_penalty=0.1), dict(said))]) == [0]
    assert choose(logits(1), [Row(replace(greedy, frequency_penalty=0.3), dict(said))]) == [1]
    assert choose(logits(1), [Row(replace(greedy, presence_penalty=0.6), dict(said))]) == [1]
    assert choose(logits(1), [Row(replace(greedy, presence_penalty=-1), {1: 1})]) == [1]
