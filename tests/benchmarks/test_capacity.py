"""The capacity plan: a simulation that agrees with arithmetic where there is some."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import capacity
from benchmarks.__main__ import main

TRAFFIC = capacity.Traffic(think_spread=0.5)
COST = replace(capacity.measured(), turn_ms=8.0, event_us=40.0, row_ms=0.2, row_bytes=2000.0)


def test_streams_under_way_follow_littles_law() -> None:
    drawn = capacity.draw(np.random.default_rng(1), TRAFFIC, 3000, capacity.SECONDS)
    answer_s = float((drawn.ended - drawn.began).mean())
    cycle_s = answer_s + TRAFFIC.think_s * math.exp(TRAFFIC.think_spread**2 / 2)
    assert len(drawn.began) / capacity.SECONDS == pytest.approx(3000 / cycle_s, rel=0.05)
    assert capacity.in_flight(drawn, capacity.SECONDS).mean() == pytest.approx(3000 * answer_s / cycle_s, rel=0.05)


def test_a_core_is_as_busy_as_it_is_loaded_and_later_the_busier() -> None:
    core = capacity.simulate(COST, TRAFFIC, seed=1)
    assert [one["busy"] for one in core["loads"]] == pytest.approx([one["load"] for one in core["loads"]], rel=0.1)
    late = [one["p99_ms"] for one in core["loads"]]
    assert late[0] < late[3] < late[-1]
    assert core == capacity.simulate(COST, TRAFFIC, seed=1)
    plan = capacity.Plan()
    assert capacity.allowed_load(core["loads"], plan) <= plan.most_load
    assert capacity.allowed_load(core["loads"], replace(plan, late_ms=0.0)) == min(capacity.LOADS)


def test_a_thousand_times_the_people_take_a_thousand_times_the_database(tmp_path: Path) -> None:
    options = ["--conversations", "1000", "--conversations", "1000000", "--row-bytes", "2000", "--out", str(tmp_path)]
    done = CliRunner().invoke(main, ["capacity", *options, "--json"], catch_exceptions=False)
    small, large = json.loads(done.stdout)["sizes"]
    assert large["gb_per_day"] == pytest.approx(1000 * small["gb_per_day"])
    assert large["gb_per_day"] == pytest.approx(large["turns_per_s"] / 2.5 * 86_400 * 2000 / 1e9)
    assert small["gateways"] == 2
    assert large["gateways"] > 100
    assert large["databases"] > 1 == small["databases"]
    report = (tmp_path / "capacity.md").read_text()
    assert "What gives out first" in report
    assert (tmp_path / "capacity.png").stat().st_size > 10_000
