"""`within-budget`: which candidate is chosen, and that it then places as that one does."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies
from strategies.within_budget import Figures, WithinBudget

KEPT = st.none() | st.floats(0, 1)
COST = st.none() | st.floats(0, 10)
MESSAGES = [
    {"role": "system", "content": "Say aha."},
    {"role": "user", "content": "U1"},
    {"role": "assistant", "content": "aha"},
    {"role": "user", "content": "U2"},
]


def candidates(*figures: tuple[float | None, float | None]) -> list[dict[str, Any]]:
    named = [("once", "once", {}), ("every-4", "every-k", {"k": 4}), ("every-turn", "every-turn", {})]
    return [
        {"name": name, "strategy": strategy, "parameters": parameters, "adherence": adherence, "cost": cost}
        for (name, strategy, parameters), (adherence, cost) in zip(named, figures, strict=True)
    ]


@settings(deadline=None)
@given(figures=st.tuples(*[st.tuples(KEPT, COST)] * 3), adherence=st.floats(0, 0.99))
def test_what_is_chosen_keeps_the_adherence_and_nothing_cheaper_does(
    figures: tuple[tuple[float | None, float | None], ...], adherence: float
) -> None:
    strategy = WithinBudget(adherence, candidates((None, None), (None, None), (None, None)))
    known = {name: Figures(*one) for name, one in zip(strategy.among, figures, strict=True)}
    chosen = strategy.choice(known)
    keeping = [name for name, one in known.items() if (one.adherence or 0.0) >= adherence]
    if not keeping:
        assert chosen == "every-turn"  # the safest, for nothing is known to do
        return
    assert chosen in keeping
    costs = [known[name].cost for name in keeping]
    if None not in costs:
        assert known[chosen].cost == min(cost for cost in costs if cost is not None)


def test_it_places_as_the_chosen_one_does_and_its_name_says_which() -> None:
    budget = {"adherence": 0.9, "candidates": candidates((0.1, 1.0), (0.95, 1.2), (1.0, 2.0))}
    strategy = strategies.make("within-budget", **budget)
    assert isinstance(strategy, WithinBudget)
    assert strategy.place(MESSAGES) == strategies.make("every-k", k=4).place(MESSAGES)
    assert strategy.append_only
    assert [one.name for one in strategy.among.values()] == [
        f"within-budget:{name}" for name in ("once", "every-4", "every-turn")
    ]
    unknown = strategies.make("within-budget", adherence=0.9, candidates=candidates((None, 1), (None, 2), (None, 3)))
    assert unknown.place(MESSAGES) == strategies.make("every-turn").place(MESSAGES)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"adherence": 1.5, "candidates": []}, "adherence must be a number from 0 to below 1"),
        ({"adherence": 0.9, "candidates": []}, "candidates must be a list of at least one table"),
        ({"adherence": 0.9, "candidates": [{"name": "a"}]}, "candidates[0] must be a table"),
        ({"adherence": 0.9, "candidates": [{"name": "a", "strategy": "once", "price": 1}]}, "has no key 'price'"),
        ({"adherence": 0.9, "candidates": [{"name": "a", "strategy": "on-drift"}]}, "depends on the answers"),
        ({"adherence": 0.9, "candidates": [{"name": "a", "strategy": "onec"}]}, "unknown strategy 'onec'"),
        ({"adherence": 0.9, "candidates": [{"name": "a", "strategy": "once"}] * 2}, "names of their own"),
        ({"adherence": 0.9, "candidates": [{"name": "a", "strategy": "once", "cost": -1}]}, "cost must be a number"),
        ({"adherence": 0.9, "candidates": [{"name": "a", "strategy": "once"}], "shape": {"turn": 1}}, "shape must be"),
        ({"adherence": 0.9, "candidates": [{"name": "a", "strategy": "once"}], "shape": {"turns": 0}}, "shape.turns"),
    ],
)
def test_unfit_parameters_are_named(parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        strategies.make("within-budget", **parameters)
