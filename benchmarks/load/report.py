"""The run as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.load.sections import SECTIONS
from benchmarks.markdown import made_by, table

PER_PROCESSOR_S = "for a second of the server's processor time"
COLUMNS: dict[str, dict[str, str]] = {
    "whole": {
        "requests_per_s": "requests/s",
        "requests_per_processor_s": PER_PROCESSOR_S,
        "p50_ms": "p50 ms",
        "p99_ms": "p99 ms",
    },
    "streamed": {
        "streams_per_s": "streams/s",
        "streams_per_processor_s": PER_PROCESSOR_S,
        "events_per_s": "events/s",
        "p50_ms": "p50 ms",
        "p99_ms": "p99 ms",
    },
    "history": {
        "requests_per_s": "requests/s",
        "requests_per_processor_s": PER_PROCESSOR_S,
        "p50_ms": "p50 ms",
        "p99_ms": "p99 ms",
    },
    "open_loop": {},
    "concurrent": {},
    "start": {"first_answer_s": "s"},
    "workers": {
        "requests_per_s": "requests/s",
        "p99_ms": "p99 ms",
        "requests_per_processor_s": PER_PROCESSOR_S,
    },
    "memory": {
        "requests": "requests",
        "start_mb": "at start, MB",
        "after_mb": "after, MB",
        "growth_since_a_fifth_mb": "growth since a fifth, MB",
    },
}
"""Section → figure → heading."""
ADDED = ("ttft", "gap")


def markdown(result: dict[str, Any]) -> str:
    """All sections with median [min, max] over the rounds, the ratios, and the goals."""
    lines = [
        "# Load",
        "",
        made_by(result),
        _set_up(result),
        *(f"Left out: {name} ({why})." for name, why in result["skipped"].items()),
        "",
        "## Goals",
        "",
        *table(
            ["gattway", "goal", "measured", "reached"],
            [[one["what"], one["goal"], _number(one["measured"]), _answer(one["reached"])] for one in result["goals"]],
            left=1,
        ),
        "",
        "## Ratios",
        "",
        *table(
            ["gattway's over", "median [min, max]", "of answers for a second of processor time"],
            [
                [name, _spread(one), _spread(result["processor_ratio_spreads"].get(name))]
                for name, one in result["ratio_spreads"].items()
            ],
            left=1,
        ),
    ]
    for name, section in SECTIONS.items():
        if found := {who: one[name] for who, one in result["candidates"].items() if name in one}:
            lines += ["", f"## {section.title}", "", *_section(name, found)]
    lines += [f"\nFailed: {_failed(one)}" for one in result["failed"]]
    return "\n".join(lines) + "\n"


def _set_up(result: dict[str, Any]) -> str:
    cores = result["cores"]
    where = (
        "Nothing was pinned to a core."
        if cores is None
        else f"Servers on core {cores['server']}, load and upstreams on core {cores['load']}."
    )
    versions = [f"{name} {one['version']}" for name, one in result["candidates"].items()]
    versions += [f"{name} {version}" for name, version in result["tools"].items()]
    average = ", ".join(f"{one:g}" for one in result["load_average_before"])
    return (
        f"{where} {result['rounds']} rounds, the candidates in turn: median [min, max]. "
        f"Load average before: {average}. {'; '.join(versions)}."
    )


def _section(name: str, found: Mapping[str, Any]) -> list[str]:
    if SECTIONS[name].against_direct:
        return _added(found)
    columns = COLUMNS[name]
    has_points = not any(figure in one for one in found.values() for figure in columns)
    body = []
    for who, one in found.items():
        for point, figures in one.items() if has_points else [("", one)]:
            cells = [_spread(figures.get(figure)) for figure in columns]
            body.append([who, *([point] if has_points else []), *cells])
    headings = ["", *([SECTIONS[name].title.lower()] if has_points else []), *columns.values()]
    return table(headings, body, left=1)


def _added(found: Mapping[str, Any]) -> list[str]:
    """Milliseconds at three percentiles; the upstream's own, and what the candidates add to them."""
    body = []
    for point in dict.fromkeys(point for one in found.values() for point in one):
        for who, one in found.items():
            if figures := one.get(point):
                of = "" if who == "direct" else "added_"
                cells = [
                    _spread(figures.get(f"{of}{what}_{percentile}_ms"))
                    for what in ADDED
                    for percentile in ("p50", "p99", "p999")
                ]
                body.append([point, who if of else "direct (not added)", *cells, _lost(figures)])
    headings = [f"{what} {one}" for what in ("first token", "gap") for one in ("p50", "p99", "p99.9")]
    return [
        "Milliseconds that are added to the upstream's own of the same round.",
        "",
        *table(["", "", *headings, "given up"], body, left=2),
    ]


def _lost(figures: Mapping[str, Any]) -> str:
    failed, finished = (sum(figures[name]["rounds"]) for name in ("failed", "finished"))
    return f"{failed:g} of {failed + finished:g}" if failed else "0"


def _failed(one: Mapping[str, Any]) -> str:
    point = "" if one["point"] is None else f" at {one['point']}"
    why = one["why"].splitlines()[0][:200]
    return f"{one['candidate']}, {one['section']}{point}: {why}"


def _spread(one: Mapping[str, Any] | None) -> str:
    if one is None:
        return "–"
    if len(one["rounds"]) == 1:
        return _number(one["median"])
    return f"{_number(one['median'])} [{_number(one['min'])}, {_number(one['max'])}]"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"


def _answer(reached: bool | None) -> str:
    return {True: "yes", False: "no", None: "not measured"}[reached]
