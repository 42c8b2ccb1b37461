"""A conversation's cost by placing it agrees with the formulas where there are some."""

from __future__ import annotations

import pytest

import strategies
from gateway.accounting import breakeven
from gateway.accounting.breakeven import Shape
from gateway.accounting.caching import Blocks, Breakpoints, CacheRule, NoCache, Steps
from gateway.accounting.expected import expected_usd
from gateway.accounting.prices import Rates

RATES = Rates(input=1.0, cached=0.1, cache_write=1.25, cache_write_1h=2.0, output=4.0, reasoning=4.0)
RULES: list[CacheRule] = [Blocks(), Steps(), Breakpoints(1024, True), Breakpoints(1024, False), NoCache()]
STRATEGIES = {
    "once": ("once", {}),
    "every-turn": ("every-turn", {}),
    "every-4": ("every-k", {"k": 4}),
    "last-turn": ("last-turn", {}),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("placement", STRATEGIES)
def test_placing_made_up_messages_costs_what_the_formula_says(placement: str, rule: CacheRule) -> None:
    name, parameters = STRATEGIES[placement]
    for shape in (Shape(), Shape(turns=7, instruction=33, user=5, answer=61)):
        found = expected_usd(strategies.make(name, **parameters), shape, rule, RATES)
        assert found == pytest.approx(breakeven.conversation(placement, shape, rule, RATES))


def test_a_strategy_without_a_formula_has_a_cost_too() -> None:
    short = strategies.make("short-reminder", reminder="i0.0 i0.1")
    costs = [expected_usd(one, Shape(), Blocks(), RATES) for one in (strategies.make("once"), short)]
    assert costs[0] < costs[1] < expected_usd(strategies.make("every-turn"), Shape(), Blocks(), RATES)
