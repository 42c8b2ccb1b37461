"""The attention maps of two models side by side with one colour bar, and what the instruction gets, turn by turn."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatt import files
from gatt.attention import Layout, Map

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colour-blind safe blue, vermilion, green and purple.
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7")
_LEAST = 5e-3


def write_json(path: Path, command: str, where: Layout, maps: Mapping[str, Map]) -> None:
    """The numbers behind the picture: shares by turn, and both maps row by row (queries) with four decimals."""
    result = files.result_head(command)
    result["tokens"] = len(where.ids)
    result["spans"] = {"instruction": where.instruction, "users": where.users, "answers": where.answers}
    result["models"] = {
        name: {
            "bin_tokens": one.bin_tokens,
            "instruction_share_by_turn": one.share_by_turn,
            "instruction_peak_by_turn": one.peak_by_turn,
            "map": [[round(float(value), 4) for value in row] for row in one.peaks],
        }
        for name, one in maps.items()
    }
    files.write_text(path, json.dumps(result) + "\n")


def draw(path: Path, where: Layout, maps: Mapping[str, Map]) -> None:
    """Writes the PNG: a map a model, one colour bar for all, and below them the instruction's attention by turn."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    turns = len(where.answers)
    figure = Figure(figsize=(4.6 * len(maps) + 1.2, 7.4), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 1, height_ratios=(2.1, 1))
    upper, lower = figure.add_subfigure(grid[0]), figure.add_subfigure(grid[1])
    panels = list(upper.subplots(1, len(maps), sharey=True, squeeze=False)[0])
    for axes, (name, one) in zip(panels, maps.items(), strict=True):
        image = _map(axes, name, one, where, LogNorm(_LEAST, 1.0, clip=True))
    panels[0].set_ylabel("token that looks")
    upper.colorbar(image, ax=panels, label="highest attention over layers and heads", shrink=0.85)
    left, right = lower.subplots(1, 2)
    _lines(left, "Highest attention on the instruction", [one.peak_by_turn for one in maps.values()], turns)
    _lines(right, "Its share of all attention", [one.share_by_turn for one in maps.values()], turns)
    right.legend(list(maps), frameon=False, loc="upper right")
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.new")
    figure.savefig(beside, dpi=150, format="png")
    beside.replace(path)


def _map(axes: Axes, name: str, one: Map, where: Layout, norm: Any) -> Any:
    tokens = len(where.ids)
    side = one.peaks.shape[0] * one.bin_tokens
    image = axes.imshow(one.peaks, norm=norm, cmap="magma", extent=(0, side, side, 0), interpolation="nearest")
    axes.set(title=name, xlabel="token looked at", xlim=(0, tokens), ylim=(tokens, 0))
    every = max(1, math.ceil(len(where.answers) / 7))
    for turn in range(0, len(where.answers), every):
        start = where.users[turn][0]
        axes.axhline(start, color="white", linewidth=0.4, alpha=0.55)
        if start > 0.88 * tokens:
            continue  # its name would lie on the diagonal
        axes.annotate(f"turn {turn + 1}", (tokens, start), (-3, -2), textcoords="offset points", fontsize=7,
                      color="white", ha="right", va="top")  # fmt: skip
    for first, last in where.instruction:
        axes.annotate("instruction", ((first + last) / 2, 0), (0, 3), textcoords="offset points", fontsize=7,
                      ha="left", va="bottom", annotation_clip=False)  # fmt: skip
    return image


def _lines(axes: Axes, title: str, by_model: Sequence[Sequence[float | None]], turns: int) -> None:
    for colour, marker, values in zip(COLOURS, "sovD", by_model, strict=False):
        points = [(turn, 100 * value) for turn, value in enumerate(values, start=1) if value is not None]
        if points:
            axes.plot(*zip(*points, strict=True), color=colour, marker=marker, markersize=3.5, linewidth=1.8)
    axes.set(title=title, xlabel="turn", ylabel="%", xlim=(0.5, turns + 0.5))
    axes.set_xticks(sorted({1, *range(5, turns + 1, 5), turns}) if turns > 6 else range(1, turns + 1))
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
