"""The capacity plan in words, tables and a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.markdown import made_by, table
from benchmarks.plots import drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROWS: dict[str, tuple[str, str]] = {
    "begun_per_s": ("conversations begun/s at the busiest hour", ",.1f"),
    "turns_per_s": ("turns/s", ",.0f"),
    "streams": ("streams under way, mean", ",.0f"),
    "streams_p999": ("… at the 99.9th percentile", ",.0f"),
    "events_per_s": ("events/s", ",.0f"),
    "cores_busy": ("gateway cores", ",.0f"),
    "gateways": ("… and what may be missing", ",.0f"),
    "memory_gib": ("memory of all gateways, GiB", ",.1f"),
    "rows_per_s": ("PostgreSQL: rows/s", ",.0f"),
    "database_cores": ("PostgreSQL: cores busy with rows", ",.2f"),
    "databases": ("PostgreSQL: databases (cells)", ",.0f"),
    "gb_per_day": ("PostgreSQL: GB/day on disk", ",.1f"),
    "log_gb_per_day": ("PostgreSQL: GB/day of log", ",.1f"),
    "tb_per_month": ("PostgreSQL: TB/month", ",.2f"),
    "rows_per_month": ("PostgreSQL: rows/month, millions", ",.0f"),
    "outbox_gb_after_an_hour": ("outbox of a gateway after an hour without it, GB", ",.2f"),
}


def markdown(result: dict[str, Any]) -> str:
    """The report."""
    cost, core = result["measured"], result["core"]
    traffic, plan = result["assumed"]["traffic"], result["assumed"]["plan"]
    lines = [
        "# Capacity",
        "",
        made_by(result),
        "",
        f"**Assumed**: {traffic['turns']:g} turns a conversation, {traffic['think_s']:g} s between an answer and the "
        f"next question (median), answers of {traffic['answer_tokens']:g} tokens (median) at "
        f"{traffic['tokens_per_s']:g} tokens/s after {traffic['ttft_s']:g} s, a busiest hour of "
        f"{traffic['peak']:g} times the day's mean.",
        "",
        f"**Measured**: {cost['turn_ms']:.2f} ms of a core for a turn and {cost['event_us']:.0f} µs for an event of "
        f"its stream; {cost['idle_mib']:.0f} MiB a gateway and {cost['stream_kib']:.0f} KiB a stream; "
        f"{cost['row_ms']:.2f} ms of PostgreSQL for a row, {cost['row_bytes']:,.0f} bytes on its disk with all "
        f"indices and {cost['wal_bytes']:,.0f} bytes of log.",
        "",
        f"**Simulated** (seed {result['seed']}): a turn takes {core['turn_s']:.1f} s and "
        f"{core['work_ms_per_turn']:.1f} ms of a core; one in {1 / core['streams_per_conversation']:.0f} open "
        "conversations is being answered. An event waits for the core:",
        "",
        *table(
            ["load of a core", "open conversations", "busy", "p50 ms", "p99 ms", "p99.9 ms"],
            [
                [
                    f"{one['load']:.0%}",
                    f"{one['conversations']:,}",
                    f"{one['busy']:.0%}",
                    *(f"{one[name]:.1f}" for name in ("p50_ms", "p99_ms", "p999_ms")),
                ]
                for one in core["loads"]
            ],
        ),
        "",
        f"Planned with {core['allowed_load']:.0%} of a core (p99 under {plan['late_ms']:g} ms, at most "
        f"{plan['most_load']:.0%}), {plan['missing']:.0%} of the gateways missing, and {plan['database_load']:.0%} of "
        "what the database's one writer could take:",
        "",
        *table(
            ["open conversations", *(f"{one['conversations']:,}" for one in result["sizes"])],
            [
                [words, *(format(_shown(one, name), how) for one in result["sizes"])]
                for name, (words, how) in _ROWS.items()
            ],
            left=1,
        ),
        "",
        "What gives out first:",
        "",
        *table(
            ["what", "open conversations"],
            [[one["what"], f"{one['conversations']:,}"] for one in result["limits"]],
            left=1,
        ),
        "",
    ]
    if beside := result["load"]:
        figures = ", ".join(f"{value:,.0f} {name.replace('_per_s', '/s')}" for name, value in beside.items())
        lines += [f"`python -m benchmarks load` found {figures} on one core, with answers that come all at once.", ""]
    return "\n".join(lines)


def _shown(one: dict[str, Any], name: str) -> float:
    return float(one[name]) / (1e6 if name == "rows_per_month" else 1)


def plot(result: dict[str, Any], path: Path) -> None:
    """Write the PNG: how late events are by load, and what a fleet takes by size."""
    with drawn(path, (11, 4.4)) as figure:
        left, right = figure.subplots(1, 2)
        _lateness(left, result)
        _fleet(right, result)


def _lateness(axes: Axes, result: dict[str, Any]) -> None:
    loads = result["core"]["loads"]
    share = [100 * one["load"] for one in loads]
    styles = {"p99_ms": ("99th percentile", "#0072B2", "-"), "p999_ms": ("99.9th", "#D55E00", "--")}
    for name, (label, color, line) in styles.items():
        axes.plot(share, [one[name] for one in loads], color=color, linestyle=line, marker="o", label=label)
    allowed = 100 * result["core"]["allowed_load"]
    axes.axvline(allowed, color="#6E6E6E", linewidth=0.8)
    axes.annotate("planned", (allowed, 0), xytext=(4, 4), textcoords="offset points", fontsize=8, color="#6E6E6E")
    axes.set_ylim(bottom=0)
    axes.set(title="An event waits for a gateway's core", xlabel="load of the core, %", ylabel="ms")
    _finish(axes)


def _fleet(axes: Axes, result: dict[str, Any]) -> None:
    sizes = result["sizes"]
    at = [one["conversations"] for one in sizes]
    for name, label, color, line in (
        ("gateways", "gateways of a core each, spares included", "#0072B2", "-"),
        ("databases", "PostgreSQL databases (cells)", "#D55E00", "--"),
        ("gb_per_day", "GB/day in PostgreSQL", "#009E73", "-."),
    ):
        axes.plot(at, [one[name] for one in sizes], label=label, color=color, linestyle=line, marker="o")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set(title="What a fleet takes", xlabel="open conversations at the busiest hour")
    _finish(axes)


def _finish(axes: Axes) -> None:
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False)
