"""The sequential test over verdicts keeps the false-alarm rate that it states."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adherence import DriftTest


def test_a_lost_instruction_is_found_and_a_single_lapse_long_ago_is_no_drift() -> None:
    test = DriftTest()
    assert test.drifted([True, True, False])
    assert not DriftTest(false_alarm=0.001).drifted([True, False, True, True, True, True])
    assert DriftTest(false_alarm=0.001).drifted([True, False, False])
    assert not test.drifted([None] * 50)


@given(st.lists(st.sampled_from([True, False, None]), max_size=30), st.integers(0, 30))
def test_drift_once_said_stays_said_as_the_history_grows(verdicts: list[bool | None], cut: int) -> None:
    test = DriftTest(false_alarm=0.001)
    if test.drifted(verdicts[:cut]):
        assert test.drifted(verdicts)


@pytest.mark.parametrize("test", [DriftTest(0.02, 0.8, 0.05), DriftTest(0.05, 0.5, 0.01)])
def test_the_false_alarm_rate_is_as_computed_and_within_its_bound(test: DriftTest) -> None:
    stated = test.false_alarm_within(20)
    assert stated <= 20 * test.false_alarm
    rng = random.Random(7)
    alarms = sum(test.drifted([rng.random() >= test.lapse_rate for _ in range(20)]) for _ in range(4000))
    assert alarms / 4000 == pytest.approx(stated, abs=4 * (stated * (1 - stated) / 4000) ** 0.5 + 1e-9)


@pytest.mark.parametrize(
    "constants", [{"lapse_rate": 0}, {"drift_rate": 1.0}, {"false_alarm": True}, {"lapse_rate": 0.9}]
)
def test_constants_that_make_no_test_are_refused(constants: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        DriftTest(**constants)
