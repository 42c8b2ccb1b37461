"""The run as pictures: requests and streams a second, and what each candidate adds to a token's way."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colour-blind safe palette.
COLOURS = {
    "gattway": "#0072B2",
    "bare": "#56B4E9",
    "direct": "#999999",
    "portkey": "#E69F00",
    "litellm": "#D55E00",
}


def draw(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write `load-throughput.png` and `load-latency.png` as far as there are figures for them; gives their paths."""
    candidates = result["candidates"]
    written = []
    bars = [
        ("whole", "requests_per_s", "Requests a second"),
        ("streamed", "streams_per_s", "Streams of 202 events a second"),
    ]
    if any(section in one for one in candidates.values() for section, _, _ in bars):
        figure, axes = _figure(2)
        for ax, (section, name, title) in zip(axes, bars, strict=True):
            _bars(ax, {who: one[section][name] for who, one in candidates.items() if section in one}, title)
        written.append(folder / "load-throughput.png")
        figure.savefig(written[-1], dpi=150)
    lines = [
        ("open_loop", "added_ttft_p99_ms", "Added time to first token, p99", "streams started a second"),
        ("concurrent", "added_gap_p99_ms", "Added gap between tokens, p99", "streams at a time, 50 tokens/s each"),
    ]
    if any(section in one for who, one in candidates.items() if who != "direct" for section, *_ in lines):
        figure, axes = _figure(2)
        for ax, (section, name, title, x) in zip(axes, lines, strict=True):
            _lines(ax, {who: one.get(section, {}) for who, one in candidates.items()}, name, title, x)
        written.append(folder / "load-latency.png")
        figure.savefig(written[-1], dpi=150)
    return written


def _figure(columns: int) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, columns)


def _bars(ax: Axes, figures: Mapping[str, Mapping[str, float]], title: str) -> None:
    """Medians with least and most, on a scale of powers of ten."""
    names = [name for name in reversed(COLOURS) if name in figures]
    values = [figures[name]["median"] for name in names]
    below = [figures[name]["median"] - figures[name]["min"] for name in names]
    above = [figures[name]["max"] - figures[name]["median"] for name in names]
    ax.barh(names, values, xerr=(below, above), color=[COLOURS[name] for name in names], height=0.6, capsize=3)
    for row, (value, more) in enumerate(zip(values, above, strict=True)):
        ax.annotate(
            f"{value:,.0f}", (value + more, row), xytext=(6, 0), textcoords="offset points", va="center", fontsize=9
        )
    if values:
        ax.set_xscale("log")
        ax.set_xlim(left=min(values) / 2, right=max(v + a for v, a in zip(values, above, strict=True)) * 4)
    ax.set_title(title)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="x", color="#DDDDDD", linewidth=0.8)
    ax.set_axisbelow(True)


def _lines(ax: Axes, sections: Mapping[str, Mapping[str, Any]], name: str, title: str, x: str) -> None:
    """Milliseconds by point, both on scales of powers of ten; what is below a hundredth of one is drawn there."""
    points: set[int] = set()
    for who, section in sections.items():
        found = {int(point): figures[name] for point, figures in section.items() if name in figures}
        if not found:
            continue
        at = sorted(found)
        points.update(at)
        values, low, high = ([max(found[point][end], 0.01) for point in at] for end in ("median", "min", "max"))
        ax.plot(at, values, color=COLOURS[who], marker="o", markersize=5, linewidth=2, label=who)
        ax.fill_between(at, low, high, color=COLOURS[who], alpha=0.15, linewidth=0)
    if points:
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xticks(sorted(points), [f"{point:,}" for point in sorted(points)])
        ax.minorticks_off()
        ax.legend(frameon=False)
    ax.set(title=title, xlabel=x, ylabel="ms")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color="#DDDDDD", linewidth=0.8)
