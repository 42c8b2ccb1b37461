"""The frontier's config and its plot."""

from __future__ import annotations

import tomllib
from pathlib import Path

from benchmarks import frontier
from gateway.settings import load


def test_every_placement_is_an_arm_on_both_models_that_the_settings_take(tmp_path: Path) -> None:
    path = tmp_path / "gattway.toml"
    path.write_text(frontier.config(), encoding="utf-8")
    settings = load(path)
    arms = settings.experiments["frontier"].arms
    assert len(arms) == len(frontier.arms()) == 2 * len(frontier.PLACEMENTS)
    assert arms["mini-gatt-every-4"].parameters == {"k": 4}
    assert len({arm.model for arm in arms.values()}) == len(arms)  # no arm warms another one's prefix cache
    assert set(tomllib.loads(frontier.config())["models"]) == set(arms)


def test_the_frontier_holds_what_nothing_else_beats() -> None:
    points = [(1.0, 10.0), (2.0, 90.0), (2.0, 95.0), (3.0, 80.0), (4.0, 100.0)]
    assert frontier.frontier(points) == [(1.0, 10.0), (2.0, 95.0), (4.0, 100.0)]


def test_the_plot_is_drawn(tmp_path: Path) -> None:
    point = {"placement": "once", "cost_usd_mean": 0.002, "adherence_at_turn_20": 0.5}
    frontier.plot({"points": [{**point, "model": model} for model in frontier.MODELS]}, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 10_000
