"""The best and the median of K candidates' scores, round by round, as Figure 26 of the Llama 2 paper draws them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

from gatt import files


def of(scores: Sequence[Sequence[float]]) -> dict[str, float | int | None]:
    """Means over all answers of the best and of the median candidate's score."""
    drawn = [some for some in scores if some]
    return {
        "answers": len(drawn),
        "max": fmean(max(some) for some in drawn) if drawn else None,
        "median": fmean(median(some) for some in drawn) if drawn else None,
    }


def write(folder: Path, rounds: Sequence[dict[str, Any]]) -> None:
    """Writes `rewards.json` and, from two rounds on, `rewards.png`."""
    files.write_text(folder / "rewards.json", json.dumps(list(rounds)) + "\n")
    if len(rounds) < 2:
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    numbers = range(1, len(rounds) + 1)
    for name, colour, marker in (("max", "#0072B2", "o"), ("median", "#D55E00", "s")):
        axes.plot(
            numbers, [one[name] for one in rounds], color=colour, marker=marker, label=f"{name} of the candidates"
        )
    axes.set(xlabel="round of sampling", ylabel="score", xticks=list(numbers))
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    beside = folder / "rewards.png.new"
    figure.savefig(beside, dpi=150, format="png")
    beside.replace(folder / "rewards.png")
