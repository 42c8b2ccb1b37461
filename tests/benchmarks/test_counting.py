"""`python -m benchmarks counting`: its figures, without a gateway."""

from __future__ import annotations

from benchmarks import counting, results


def test_a_round_counts_both_lengths_of_history() -> None:
    counted = counting.history(1, ["once", "every-turn"])
    assert counted["strategies"] == ["every-turn", "once"]
    assert {name: one["n"] for name, one in counted["ms_by_history"].items()} == {"4": 20, "400": 20}
    assert counted["ratio"] > 0
    some = counted["ms_by_history"]["4"]
    loop = {"body_tokens": 100_000, "alone_ms": some, "beside_ms": some, "added_p50_ms": 0}
    report = counting.markdown({**results.header(), "history": {"two": counted}, "event_loop": loop})
    assert "| milliseconds | n | min | p50 | p99 | max |" in report
    assert "| the same beside a body of 100,000 tokens | 20 |" in report
