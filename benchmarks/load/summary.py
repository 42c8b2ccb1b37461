"""From rounds to figures with their spread, ratios within a round, and the goals that they are held against."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.load.runner import Row

Rounds = dict[int, float]
"""Round → figure."""

RATIOS: dict[str, tuple[str, str, str]] = {
    "requests_vs_litellm": ("whole", "requests_per_s", "litellm"),
    "streams_vs_litellm": ("streamed", "streams_per_s", "litellm"),
    "requests_vs_portkey": ("whole", "requests_per_s", "portkey"),
    "streams_vs_portkey": ("streamed", "streams_per_s", "portkey"),
    "requests_vs_bare": ("whole", "requests_per_s", "bare"),
    "streams_vs_bare": ("streamed", "streams_per_s", "bare"),
}
"""Name → section, figure, and whose figure the gateway's is divided by."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure should be; `at_least` or at most `bound`."""

    what: str
    bound: float
    unit: str
    at_least: bool = False

    def reached_by(self, value: float | None) -> bool | None:
        """None for what was not measured."""
        if value is None:
            return None
        return value >= self.bound if self.at_least else value <= self.bound


def summarize(rows: Sequence[Row], versions: Mapping[str, str]) -> dict[str, Any]:
    """`candidates`, `ratios` with their spread, `goals` and what `failed`.

    `processor_ratio_spreads` are the same ratios of what is done in a second of the server's processor time: where
    other processes take the cores too, they say more.
    """
    from benchmarks.load.sections import SECTIONS

    against = {section.name: section.against_direct for section in SECTIONS.values()}
    figures = _by_figure(rows, against)
    candidates: dict[str, Any] = {name: {"version": version} for name, version in versions.items()}
    for (section, candidate, point, name), rounds in figures.items():
        place = candidates[candidate].setdefault(section, {})
        if point is not None:
            place = place.setdefault(str(point), {})
        place[name] = spread(rounds.values())
    ratios = {name: ratio(figures, *of) for name, of in RATIOS.items()}
    ratios["two_workers_vs_one"] = _quotient(
        *(figures.get(("workers", "gattway", n, "requests_per_s"), {}) for n in (2, 1))
    )
    ratios["history_400_vs_4"] = _quotient(
        *(figures.get(("history", "gattway", n, "requests_per_s"), {}) for n in (4, 400))
    )
    of_processor = {
        name: ratio(figures, section, figure.replace("_per_s", "_per_processor_s"), other)
        for name, (section, figure, other) in RATIOS.items()
    }
    medians: dict[str, float | None] = {name: one["median"] if one else None for name, one in ratios.items()}
    return {
        "candidates": candidates,
        "ratios": medians,
        "ratio_spreads": {name: one for name, one in ratios.items() if one},
        "processor_ratio_spreads": {name: one for name, one in of_processor.items() if one},
        "goals": goals(candidates.get("gattway", {}), medians),
        "failed": [
            {"section": row.section, "candidate": row.candidate, "point": row.point, "why": row.failed}
            for row in rows
            if row.failed
        ],
    }


Key = tuple[str, str, "int | None", str]
"""Section, candidate, point, figure."""


def _by_figure(rows: Sequence[Row], against_direct: Mapping[str, Iterable[str]]) -> dict[Key, Rounds]:
    """All figures, and those that candidates add to the upstream's own of the same round."""
    direct = {(row.section, row.point, row.round): row.figures for row in rows if row.candidate == "direct"}
    found: dict[Key, Rounds] = defaultdict(dict)
    for row in rows:
        own = direct.get((row.section, row.point, row.round), {})
        for name, value in row.figures.items():
            if value is None:
                continue
            found[row.section, row.candidate, row.point, name][row.round] = value
            upstreams = own.get(name)
            is_added = row.candidate != "direct" and name.startswith(tuple(against_direct[row.section]) or "\0")
            if is_added and upstreams is not None:
                found[row.section, row.candidate, row.point, f"added_{name}"][row.round] = value - upstreams
    return dict(found)


def spread(values: Iterable[float]) -> dict[str, Any]:
    """Median, least and most of some rounds."""
    rounds = [round(value, 4) for value in values]
    return {"median": statistics.median(rounds), "min": min(rounds), "max": max(rounds), "rounds": rounds}


def ratio(figures: Mapping[Key, Rounds], section: str, name: str, other: str) -> dict[str, Any] | None:
    """The gateway's figure over another's, round by round; None where one is missing."""
    ours, theirs = (figures.get((section, who, None, name), {}) for who in ("gattway", other))
    return _quotient(ours, theirs)


def _quotient(over: Rounds, under: Rounds) -> dict[str, Any] | None:
    common = [over[number] / under[number] for number in sorted(over.keys() & under.keys()) if under[number]]
    return spread(common) if common else None


def goals(gattway: Mapping[str, Any], ratios: Mapping[str, float | None]) -> list[dict[str, Any]]:
    """Each goal with what was measured; `reached` is None where nothing was."""

    def median(*path: str) -> float | None:
        place: Any = gattway
        for name in (*path, "median"):
            place = place.get(name, {}) if isinstance(place, dict) else {}
        return place if isinstance(place, int | float) else None

    measured = [
        (Goal("requests/s against LiteLLM's proxy", 40, "×", True), ratios["requests_vs_litellm"]),
        (Goal("streams/s against LiteLLM's proxy", 200, "×", True), ratios["streams_vs_litellm"]),
        (Goal("requests/s against Portkey", 3, "×", True), ratios["requests_vs_portkey"]),
        (Goal("requests/s against the bare relay", 0.5, "×", True), ratios["requests_vs_bare"]),
        (Goal("streams/s against the bare relay", 0.5, "×", True), ratios["streams_vs_bare"]),
        (
            Goal("added time to first token, p50, 200 streams/s", 1, "ms"),
            median("open_loop", "200", "added_ttft_p50_ms"),
        ),
        (
            Goal("added time to first token, p99, 200 streams/s", 5, "ms"),
            median("open_loop", "200", "added_ttft_p99_ms"),
        ),
        (
            Goal("added gap between tokens, p99, 1,000 paced streams", 5, "ms"),
            median("concurrent", "1000", "added_gap_p99_ms"),
        ),
        (Goal("memory after the requests", 150, "MB"), median("memory", "after_mb")),
        (Goal("its growth since a fifth of them", 5, "MB"), median("memory", "growth_since_a_fifth_mb")),
        (Goal("start to first answer", 1, "s"), median("start", "first_answer_s")),
        (Goal("a turn with 400 messages of history against 4", 4, "×"), ratios["history_400_vs_4"]),
        (Goal("two workers against one", 1.8, "×", True), ratios["two_workers_vs_one"]),
    ]
    return [
        {
            "what": goal.what,
            "goal": f"{'≥' if goal.at_least else '≤'} {goal.bound:g} {goal.unit}",
            "measured": value,
            "reached": goal.reached_by(value),
        }
        for goal, value in measured
    ]
