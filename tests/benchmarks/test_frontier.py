"""The frontier's config and its plot."""

from __future__ import annotations

from pathlib import Path

import strategies
from benchmarks import frontier
from gateway.settings import Settings, load


def settings_of(text: str, tmp_path: Path) -> Settings:
    path = tmp_path / "gattway.toml"
    path.write_text(text, encoding="utf-8")
    return load(path)


def test_every_strategy_is_an_arm_on_both_models_with_a_cache_of_its_own(tmp_path: Path) -> None:
    arms = settings_of(frontier.config(frontier.arms()), tmp_path).experiments["frontier"].arms
    assert len(arms) == len(frontier.arms()) == 2 * len(frontier.PLACEMENTS)
    assert arms["mini-gatt-every-4"].parameters == {"k": 4}
    assert len({arm.model for arm in arms.values()}) == len(arms)
    assert {arm.strategy for arm in arms.values()} | {frontier.BUDGET} == set(strategies.FACTORIES)


def test_within_budget_chooses_by_what_the_first_round_has_shown(tmp_path: Path) -> None:
    figures = {"once": (0.1, 1e-3), "last-turn": (0.76, 3e-3), "every-turn": (0.9, 2e-3)}
    points = [
        {
            "model": model,
            "placement": one.label,
            "strategy": one.strategy,
            "parameters": one.parameters,
            "kept": figures.get(one.label, (0.3, 1e-3))[0],
            "cost_usd_mean": figures.get(one.label, (0.3, 1e-3))[1],
        }
        for model, one in frontier.arms()
    ]
    arms = settings_of(frontier.config(frontier.budget_arms(points)), tmp_path).experiments["frontier"].arms
    assert set(arms) == {f"{model}-within-budget" for model in frontier.MODELS}
    strategy = arms["mini-base-within-budget"].build([])
    messages = [{"role": "system", "content": "I"}, {"role": "user", "content": "U"}]
    assert strategy.place(messages) == [{"role": "user", "content": "U\n\nI"}]
    assert strategy.append_only  # every-turn: last-turn keeps it too, and costs more


def test_the_frontier_holds_what_nothing_else_beats() -> None:
    points = [(1.0, 10.0), (2.0, 90.0), (2.0, 95.0), (3.0, 80.0), (4.0, 100.0)]
    assert frontier.frontier(points) == [(1.0, 10.0), (2.0, 95.0), (4.0, 100.0)]


def test_the_plot_is_drawn(tmp_path: Path) -> None:
    point = {"placement": "once", "cost_usd_mean": 0.002, "adherence_at_turn_20": 0.5}
    frontier.plot({"points": [{**point, "model": model} for model in frontier.MODELS]}, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 10_000
