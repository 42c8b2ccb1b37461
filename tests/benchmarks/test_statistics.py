"""The report's statistics keep what they promise: small here, in full by `python -m benchmarks statistics`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks import statistics


def test_arms_that_are_alike_are_not_told_apart_however_often_one_looks() -> None:
    found = statistics.a_a(np.random.default_rng(3), 60, 8, 60, lambda _: None)
    assert found["false_alarm_rate"] <= 0.05 + 3 * found["standard_error"]
    assert found["false_alarm_rate"] <= found["false_alarm_rate_of_a_fixed_interval_looked_at_daily"]


def test_a_planted_difference_is_found_with_the_planned_power(tmp_path: Path) -> None:
    result = statistics.run(tmp_path, experiments=100, days=2, seed=4)
    ab = result["ab"]
    assert abs(ab["power"] - ab["planned_power"]) <= 4 * ab["standard_error"]
    assert "found in" in (tmp_path / "statistics.md").read_text(encoding="utf-8")
