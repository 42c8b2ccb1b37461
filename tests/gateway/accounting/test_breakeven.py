"""When tuning pays: the formulas against the field notes' figures and against a plain sum."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.accounting.breakeven import PLACEMENTS, Comparison, Model, Shape, conversation, turns
from gateway.accounting.caching import Blocks, NoCache, Steps
from gateway.accounting.prices import MILLION, Rates

PROMPTS_ONLY = Rates(input=1, cached=0.1, cache_write=1, cache_write_1h=1, output=0, reasoning=0)
PRICED = Rates(input=1, cached=0.1, cache_write=1, cache_write_1h=1, output=4, reasoning=4)


@pytest.mark.parametrize(
    ("placement", "short", "long"),
    [("once", 5_486, 6_077), ("every-turn", 6_248, 13_232), ("last-turn", 9_317, 12_917), ("every-4", 5_667, 7_539)],
)
def test_the_formulas_give_the_field_notes_figures(placement: str, short: int, long: int) -> None:
    """T=20, U=40, A=200, vLLM's rule, cached tokens at a tenth, in fresh tokens."""
    for instruction, expected in ((20, short), (200, long)):
        cost = conversation(placement, Shape(instruction=instruction), Blocks(16), PROMPTS_ONLY)
        assert round(cost * MILLION) == expected


def test_without_a_cache_repetition_costs_its_copies() -> None:
    """Every turn takes I·T(T−1)/2 more prompt tokens than once, last turn only none."""
    shape = Shape(turns=12, instruction=30)

    def fresh(placement: str) -> float:
        return sum(turn.prompt_tokens for turn in turns(placement, shape, NoCache(), PROMPTS_ONLY))

    assert fresh("every-turn") - fresh("once") == 30 * 12 * 11 / 2
    assert fresh("last-turn") == fresh("once")


lengths = st.integers(min_value=1, max_value=400)


@given(st.sampled_from(sorted(PLACEMENTS)), st.integers(1, 30), lengths, lengths, lengths)
def test_every_turn_reads_no_more_than_there_was(
    placement: str, count: int, instruction: int, user: int, answer: int
) -> None:
    shape = Shape(count, instruction, user, answer)
    before = 0
    for turn in turns(placement, shape, Blocks(16), PRICED):
        assert 0 <= turn.cached_tokens <= min(before, turn.prompt_tokens - 1)
        before = turn.prompt_tokens + answer


def compared(surcharge: float, shape: Shape) -> Comparison:
    return Comparison(Model(PRICED, Blocks(16)), Model(PRICED.times(surcharge), Blocks(16)), shape)


def test_each_break_even_is_where_the_costs_cross() -> None:
    shape = Shape(turns=20, instruction=500)
    one = compared(1.3, shape)
    least = one.least_turns()
    assert least is not None
    assert one.once_usd(replace(shape, turns=least)) < one.repeated_usd(replace(shape, turns=least))
    assert one.once_usd(replace(shape, turns=least - 1)) >= one.repeated_usd(replace(shape, turns=least - 1))
    tokens = one.least_instruction()
    assert tokens is not None
    assert one.once_usd(replace(shape, instruction=tokens)) < one.repeated_usd(replace(shape, instruction=tokens))
    assert one.once_usd(replace(shape, instruction=tokens - 1)) >= one.repeated_usd(
        replace(shape, instruction=tokens - 1)
    )
    most = one.most_surcharge()
    assert compared(most * 0.999, shape).saving_usd() > 0 > compared(most * 1.001, shape).saving_usd()
    recovered = one.conversations_to_recover(50)
    assert recovered is not None
    assert recovered * one.saving_usd() == pytest.approx(50)


def test_where_tuning_never_pays_nothing_is_made_up() -> None:
    one = compared(100, Shape())
    assert (one.least_turns(), one.least_instruction(), one.conversations_to_recover(50)) == (None, None, None)


def test_below_openais_minimum_nothing_is_cached() -> None:
    cached = [turn.cached_tokens for turn in turns("once", Shape(turns=8), Steps(), PRICED)]
    assert cached[:4] == [0, 0, 0, 0]
    assert cached[5:] == [1152, 1408, 1664]
