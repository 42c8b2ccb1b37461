"""The plot of `python -m benchmarks cost`: cost by turn, and the surcharge up to which tuning pays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.plots import OTHER_STYLE, STYLES, drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHADES = ("#9ECAE1", "#6BAED6", "#4292C6", "#2171B5", "#08519C", "#08306B", "#000000")
LINES = {
    "repeat-every-4": {**OTHER_STYLE, "color": "#CC79A7"},
    "repeat-last-turn": OTHER_STYLE,
}


def plot(result: dict[str, Any], path: Path) -> None:
    """Write the PNG."""
    with drawn(path, (11, 4.4)) as figure:
        left, right = figure.subplots(1, 2)
        _cost_by_turn(left, result)
        _surcharge(right, result)


def _cost_by_turn(axes: Axes, result: dict[str, Any]) -> None:
    from matplotlib.ticker import MaxNLocator

    arms = list(dict.fromkeys(row["arm"] for row in result["rows"]))
    for arm in arms:
        rows = [row for row in result["rows"] if row["arm"] == arm]
        style = {**LINES.get(arm, STYLES.get(arm, OTHER_STYLE)), "markersize": 3}
        label = f"{arm}: {rows[0]['strategy']} on {rows[0]['model']}"
        axes.plot([row["turn"] for row in rows], [row["cost_so_far_usd"] for row in rows], label=label, **style)
    axes.set(title="Cost of a conversation so far", xlabel="turn", ylabel="USD")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _finish(axes)


def _surcharge(axes: Axes, result: dict[str, Any]) -> None:
    instructions = sorted({cell["instruction"] for cell in result["grid"]})
    for shade, instruction in zip(SHADES, instructions, strict=True):
        cells = [cell for cell in result["grid"] if cell["instruction"] == instruction]
        turns, most = [cell["turns"] for cell in cells], [cell["surcharge"] for cell in cells]
        axes.plot(turns, most, color=shade, marker="o", markersize=3, label=f"{instruction:,} tokens")
    axes.axhline(1, color="#6E6E6E", linewidth=0.8)
    axes.set(title="Tuning pays below the line of its instruction", xlabel="turns", ylabel="tuned price / base price")
    axes.set_xscale("log")
    ticks = sorted({cell["turns"] for cell in result["grid"]})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    _finish(axes)


def _finish(axes: Axes) -> None:
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7.5, frameon=False)
