"""Results as people read them."""

from __future__ import annotations

from typing import Any

from gatt import report


def summary(*shares: float | None) -> dict[str, Any]:
    return {"n": 40, "adherence_by_turn": list(shares), "facts": 0.985, "families": {}}


def test_shares_are_shown_with_one_decimal_and_whole_ones_without() -> None:
    assert [report.percent(share) for share in (0.0, 0.5, 0.9975, 1.0, None)] == ["0%", "50.0%", "99.8%", "100%", "–"]


def test_the_table_has_a_row_for_every_figure_and_a_dash_beyond_the_end() -> None:
    results = {
        "splits": {"plain": summary(1.0, 0.9)},
        "base": {"once": {"unseen_attributes": summary(1.0, 0.0)}},
    }
    lines = report.markdown(results).splitlines()
    assert lines[2] == "| tuned, once, plain | 40 | 100% | 90.0% | – | – | – | – | – | 90.0% | 98.5% |"
    assert lines[3].startswith("| base, once, unseen_attributes | 40 | 100% | 0% |")


def test_what_follows_a_change_has_a_table_of_its_own() -> None:
    cancelled = summary(1.0) | {"after_change": {"share": 0.75, "adherence_by_turn": [1.0, 0.5]}}
    results = {"splits": {"plain": summary(1.0), "cancelled": cancelled}, "base": {}}
    assert report.changes_markdown(results).splitlines()[2:] == [
        "| tuned, once, cancelled | 40 | 100% | 50.0% | – | – | 75.0% |"
    ]
