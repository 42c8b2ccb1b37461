"""The report's verdict in words: what was found, how sure it is, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.experiments.statistics import LEAST_CONVERSATIONS


def verdict(report: Mapping[str, Any]) -> list[str]:
    """Sentences, the most important first."""
    said = [*_broken(report["checks"])]
    if not report["arms"]:
        return [*said, "No conversation has been answered in this experiment yet."]
    if not report["comparisons"]:
        return [*said, "There is only one arm with conversations so far: nothing to compare."]
    for comparison in report["comparisons"]:
        said.append(_comparison(comparison, report["arms"]))
        if comparison["survival_differs"]:
            said.append(
                f"Conversations with {comparison['arm']} and {comparison['baseline']} do not get equally long: late "
                f"turns compare survivors. Believe the figures at the horizon of {report['horizon_turns']} turns."
            )
    return said


def _broken(checks: Mapping[str, Any]) -> list[str]:
    said = []
    ratio, crossover = checks["sample_ratio"], checks["crossover"]
    if not ratio["ok"]:
        said.append(
            f"Do not decide on this: the arms got {_counts(ratio['observed'])} conversations where "
            f"{_counts(ratio['expected'])} were meant (p = {ratio['p']:.2g}). Something loses or moves conversations "
            "of one arm; find it first."
        )
    if not crossover["ok"]:
        said.append(
            f"{crossover['conversations']} conversations were answered by more than one arm: the arms are less "
            "different than they would be."
        )
    return said


def _comparison(comparison: Mapping[str, Any], arms: Mapping[str, Mapping[str, Any]]) -> str:
    arm, baseline, found = comparison["arm"], comparison["baseline"], comparison["differences"]
    cost, adherence = found.get("cost_per_conversation"), found.get("adherence")
    counts = {name: arms[name]["conversations"] for name in (arm, baseline)}
    lacking = [f"{LEAST_CONVERSATIONS - n} more with {name}" for name, n in counts.items() if n < LEAST_CONVERSATIONS]
    if lacking:
        return (
            f"It is too early to compare {arm} and {baseline} ({_counts(counts)} conversations): that takes "
            f"{LEAST_CONVERSATIONS} of each. Run {' and '.join(lacking)}."
        )
    if adherence is None and cost is None:
        return f"Too little is known of {arm} and {baseline} to compare them: both need judged answers and prices."
    money = _money(arm, baseline, cost) if cost else f"{arm} against {baseline}: the cost is unknown"
    if adherence is None:
        return f"{money}; adherence is unknown (no answer was judged in one of the arms)."
    return f"{money} {_held(adherence, comparison)}"


def _money(arm: str, baseline: str, cost: Mapping[str, Any]) -> str:
    low, high = cost["always_valid"]
    if low <= 0 <= high:
        return (
            f"{arm} costs about as much per conversation as {baseline} "
            f"({100 * cost['difference']:+.0f} % [{100 * low:+.0f}, {100 * high:+.0f}])"
        )
    more = cost["difference"] > 0
    sides = sorted(abs(100 * side) for side in (low, high))
    return (
        f"{arm} costs {abs(100 * cost['difference']):.0f} % {'more' if more else 'less'} per conversation than "
        f"{baseline} [{sides[0]:.0f}, {sides[1]:.0f}]"
    )


def _held(adherence: Mapping[str, Any], comparison: Mapping[str, Any]) -> str:
    low, high = adherence["always_valid"]
    margin, more = comparison["margin"], comparison["more_conversations_for_margin"]
    points = f"{100 * adherence['difference']:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"
    if -margin < low and high < margin:
        return f"at the same adherence ({points}): stop, this is decided."
    if low > 0:
        return f"and adheres better ({points}): stop, this is decided."
    if high < 0:
        return f"and adheres worse ({points}): stop, it is for you to say what that is worth."
    return (
        f"at an adherence that is not told apart yet ({points}): run {more:,} more conversations to know it to "
        f"± {100 * margin:.0f} points."
    )


def _counts(arms: Mapping[str, float]) -> str:
    return ", ".join(f"{arm} {count:,.0f}" for arm, count in arms.items())
