"""Plots of the comparison: as PNG, inline in terminals that show pictures, and as text in all others."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colour-blind safe palette; the arms also differ in line and marker, thick below thin, so that
# two that coincide are both seen.
STYLES: dict[str, dict[str, Any]] = {
    "gatt": {"color": "#0072B2", "linestyle": "-", "linewidth": 4.5, "marker": "o", "markersize": 7},
    "repeat": {"color": "#D55E00", "linestyle": (0, (4, 2)), "linewidth": 1.8, "marker": "s", "markersize": 3.5},
    "untreated": {"color": "#6E6E6E", "linestyle": (0, (1, 1.5)), "linewidth": 2, "marker": "^", "markersize": 4},
}
OTHER_STYLE: dict[str, Any] = {"color": "#009E73", "linestyle": "-.", "linewidth": 2, "marker": "D", "markersize": 4}
SPARKS = "▁▂▃▄▅▆▇█"

Arms = Mapping[str, dict[str, Any]]
"""Arm → its figures, as `benchmarks.summary.arm` gives them."""


@contextmanager
def drawn(path: Path, inches: tuple[float, float], dpi: int = 150) -> Iterator[Figure]:
    """An empty figure, written to `path` as PNG once it is drawn; its folder is made."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=inches, layout="constrained")
    FigureCanvasAgg(figure)
    yield figure
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dpi)


def comparison(arms: Arms, path: Path) -> None:
    """Write the PNG: adherence by turn with 95 % Wilson intervals, and prompt tokens by turn."""
    with drawn(path, (11, 4.2), dpi=160) as figure:
        left, right = figure.subplots(1, 2)
        _adherence(left, arms)
        _prompt_tokens(right, arms)


def curves(arms: Arms, path: Path) -> None:
    """Write the PNG of adherence by turn alone, for any set of arms; arms of which nothing was judged are left out."""
    with drawn(path, (7, 4.2)) as figure:
        axes = figure.subplots()
        for index, (name, figures) in enumerate(arms.items()):
            points = [(t, 100 * y) for t, y in enumerate(figures["adherence_by_turn"], start=1) if y is not None]
            if points:
                style = STYLES.get(name, {**OTHER_STYLE, "color": f"C{index}"})
                axes.plot(*zip(*points, strict=True), **style, label=name)
        axes.set(title="Answers that follow the instruction", xlabel="turn", ylabel="%", ylim=(-3, 103))
        axes.grid(axis="y", color="#DDDDDD", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False)


def _adherence(axes: Axes, arms: Arms) -> None:
    ends = {}
    for name, figures in arms.items():
        points = [(t, 100 * y) for t, y in enumerate(figures["adherence_by_turn"], start=1) if y is not None]
        bands = [
            (t, *band) for t, band in enumerate(figures["adherence_interval_by_turn"], start=1) if band is not None
        ]
        style = STYLES.get(name, OTHER_STYLE)
        axes.plot(*zip(*points, strict=True), **style, clip_on=False)
        turns, low, high = zip(*bands, strict=True)
        scaled = ([100 * y for y in low], [100 * y for y in high])
        axes.fill_between(turns, *scaled, color=style["color"], alpha=0.15, linewidth=0)
        ends[name] = points[-1]
    axes.set(title="Answers that follow the instruction", xlabel="turn", ylabel="%", ylim=(0, 100))
    _finish(axes, arms, ends)


def _prompt_tokens(axes: Axes, arms: Arms) -> None:
    ends = {}
    for name, figures in arms.items():
        points = [(t, y) for t, y in enumerate(figures["prompt_tokens_by_turn"], start=1) if y is not None]
        if points:
            axes.plot(*zip(*points, strict=True), **STYLES.get(name, OTHER_STYLE))
            ends[name] = points[-1]
    axes.set(title="Prompt tokens of each request", xlabel="turn", ylabel="tokens")
    axes.set_ylim(bottom=0)
    _finish(axes, arms, ends)


def _finish(axes: Axes, arms: Arms, ends: Mapping[str, tuple[int, float]]) -> None:
    """Turn ticks, a light grid, and each line's name at its right end, moved apart where lines meet."""
    last = max(len(figures["adherence_by_turn"]) for figures in arms.values())
    axes.set_xlim(0.5, last + 0.5)
    axes.set_xticks([t for t in (1, 2, 4, 6, 10, 15, 20) if t <= last])
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    low, high = axes.get_ylim()
    placed = dict(zip(ends, spread([y for _, y in ends.values()], gap=(high - low) * 0.13), strict=True))
    for name, (turn, _) in ends.items():
        figures = arms[name]
        axes.annotate(
            f"{name}\n{figures['strategy']}, {figures['model']}",
            xy=(turn, placed[name]),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=STYLES.get(name, OTHER_STYLE)["color"],
            annotation_clip=False,
        )


def spread(values: Sequence[float], gap: float) -> list[float]:
    """The values moved as little as a single upward sweep allows until neighbours are `gap` apart, order kept.

    The group is then shifted back by half of what the sweep added, so that labels stay around their lines.
    """
    order = sorted(range(len(values)), key=lambda i: values[i])
    moved = list(values)
    for below, above in pairwise(order):
        moved[above] = max(values[above], moved[below] + gap)
    groups = _touching([moved[i] for i in order], gap)
    for group in groups:
        members = [order[i] for i in group]
        shift = sum(moved[i] - values[i] for i in members) / len(members)
        for i in members:
            moved[i] -= shift
    return moved


def _touching(ascending: Sequence[float], gap: float) -> list[list[int]]:
    """Positions in runs of neighbours that lie exactly `gap` apart (rounding aside)."""
    runs: list[list[int]] = []
    for i, value in enumerate(ascending):
        if runs and value - ascending[i - 1] <= gap * 1.000001:
            runs[-1].append(i)
        else:
            runs.append([i])
    return runs


def inline(path: Path, environ: Mapping[str, str] = os.environ) -> str | None:
    """The escape sequences that show a PNG in this terminal; None where it is not known to show pictures.

    Protocols: iTerm2's inline images (https://iterm2.com/documentation-images.html) and kitty's terminal graphics
    (https://sw.kovidgoyal.net/kitty/graphics-protocol/). Inside tmux and screen neither passes.
    """
    if "TMUX" in environ or environ.get("TERM", "").startswith("screen"):
        return None
    program = environ.get("TERM_PROGRAM", "")
    if program in {"iTerm.app", "WezTerm"}:
        data = base64.standard_b64encode(path.read_bytes()).decode()
        return f"\033]1337;File=inline=1;width=100%;preserveAspectRatio=1:{data}\a\n"
    if "KITTY_WINDOW_ID" in environ or environ.get("TERM") == "xterm-kitty" or program == "ghostty":
        return "".join(_kitty(path.read_bytes())) + "\n"
    return None


def _kitty(png: bytes) -> Iterator[str]:
    data = base64.standard_b64encode(png).decode()
    chunks = [data[i : i + 4096] for i in range(0, len(data), 4096)]
    for i, chunk in enumerate(chunks):
        head = "a=T,f=100,c=100," if i == 0 else ""
        yield f"\033_G{head}m={int(i < len(chunks) - 1)};{chunk}\033\\"


def spark(values: Sequence[float | None], top: float) -> str:
    """One block character a value, scaled to 0..top; a dot for an unknown one."""
    steps = len(SPARKS) - 1
    return "".join("·" if v is None else SPARKS[round(min(v / top, 1) * steps) if top else 0] for v in values)
