"""Adherence by turn and its intervals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adherence import Curve, Rate, wilson


def test_the_interval_agrees_with_published_values() -> None:
    low, high = wilson(81, 263)  # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3
    assert low == pytest.approx(0.2553, abs=1e-4)
    assert high == pytest.approx(0.3662, abs=1e-4)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_holds_the_share_and_stays_in_range(pair: tuple[int, int]) -> None:
    held, n = pair
    low, high = wilson(held, n)
    assert 0 <= low <= held / n + 1e-12
    assert held / n - 1e-12 <= high <= 1


def test_nothing_observed_is_unknown_and_not_zero() -> None:
    assert Rate(0, 0).share is None
    assert Rate(0, 0).interval == (0.0, 1.0)


def test_more_successes_than_observations_are_refused() -> None:
    with pytest.raises(ValueError, match="2 of 1"):
        wilson(2, 1)


def test_a_curve_counts_each_turn_over_the_conversations_that_reached_it() -> None:
    curve = Curve.of([[True, True, False], [True, False]])
    assert curve.turns == (Rate(2, 2), Rate(1, 2), Rate(0, 1))
    assert curve.shares == [1.0, 0.5, 0.0]
    assert Curve.of([]).shares == []
