"""A study's figures as Markdown tables with Wilson intervals, JSON, and plots."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from adherence import Rate
from gatt import files
from gatt.report import percent, table_markdown
from gatt.study import cells as done
from gatt.study.settings import Cell, Study

Results = Sequence[dict[str, Any]]
"""A cell's finished seeds, each by split."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def at_turn(results: Results, split: str, turn: int) -> Rate:
    """Adherence at a turn counted from 1, all seeds' conversations together."""
    held = n = 0
    for one in results:
        figures = one[split]
        if turn <= len(figures["adherence_by_turn"]):
            share, count = figures["adherence_by_turn"][turn - 1], figures["n_by_turn"][turn - 1]
            held += round((share or 0.0) * count)
            n += count
    return Rate(held, n)


def since_change(results: Results, split: str) -> Rate:
    """Adherence over all turns after the change, all seeds together."""
    held = n = 0
    for one in results:
        changed = one[split].get("after_change")
        if changed:
            pairs = zip(changed["adherence_by_turn"], changed["n_by_turn"], strict=True)
            counts = [(round((share or 0.0) * count), count) for share, count in pairs]
            held += sum(kept for kept, _ in counts)
            n += sum(count for _, count in counts)
    return Rate(held, n)


def shown(rate: Rate) -> str:
    """A share with its 95 % interval, for a table."""
    if rate.n == 0:
        return "–"
    low, high = rate.interval
    return f"{percent(rate.share)} [{100 * low:.0f}, {100 * high:.0f}]"


def write(study: Study, command: str, out: Path) -> None:
    """Writes study.md, study.json, and a plot for each group of cells that has results."""
    finished = {cell: found for cell in study.cells if (found := done.results(study, cell))}
    groups = list(dict.fromkeys(cell.group for cell in finished))
    parts = [_head(study, command, finished)]
    for group in groups:
        some = {cell: found for cell, found in finished.items() if cell.group == group}
        parts.append(f"### {group.capitalize()}\n\n{_table(study, some)}")
        _curves(out / f"study-{group}.png", study, some)
    if any(cell.group == "families" for cell in finished):
        parts.append(f"### Unseen families by tuned families and weights\n\n{_grid(study, finished)}")
    files.write_text(out / "study.md", "\n\n".join(parts) + "\n")
    written = files.result_head(command)
    written["study"] = study.model_dump(mode="json")
    written["cells"] = {cell.path: _figures(study, found) for cell, found in finished.items()}
    files.write_text(out / "study.json", json.dumps(written, indent=1) + "\n")


def _head(study: Study, command: str, finished: Mapping[Cell, Results]) -> str:
    seeds = sorted({len(found) for found in finished.values()})
    return (
        f"`{command}`: {study.conversations} conversations of {study.turns} turns a split and seed, "
        f"{' to '.join(str(n) for n in seeds[:: max(1, len(seeds) - 1)])} seeds a cell. Shares are of conversations "
        "whose answer at that turn follows the instruction, in brackets the 95 % Wilson interval over conversations "
        "of all seeds together; it does not hold the spread between trained models, for which the lowest and highest "
        f"seed stand in the last column. Held-out families: {', '.join(study.unseen_families)}."
    )


def _table(study: Study, some: Mapping[Cell, Results]) -> str:
    last = study.turns
    middle = min(6, last)
    head = ["", "seeds", *(f"unseen attributes, turn {turn}" for turn in (1, middle, last)),
            *(f"unseen families, turn {turn}" for turn in (middle, last)), "cancelled", "replaced", "plain", "facts",
            f"unseen families, turn {middle}, by seed"]  # fmt: skip
    rows = []
    for cell, found in some.items():
        seeds = [at_turn([one], "unseen_families", middle).share for one in found]
        known = [share for share in seeds if share is not None]
        rows.append(
            [
                cell.name,
                str(len(found)),
                *(shown(at_turn(found, "unseen_attributes", turn)) for turn in (1, middle, last)),
                *(shown(at_turn(found, "unseen_families", turn)) for turn in (middle, last)),
                shown(since_change(found, "cancelled")),
                shown(since_change(found, "replaced")),
                shown(at_turn(found, "plain", last)),
                percent(_mean([one["unseen_attributes"]["facts"] for one in found])),
                f"{percent(min(known))} – {percent(max(known))}" if known else "–",
            ]
        )
    return table_markdown(head, rows)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _grid(study: Study, finished: Mapping[Cell, Results]) -> str:
    middle = min(6, study.turns)
    weights = list(dict.fromkeys(cell.weights for cell in finished if cell.group == "families"))
    rows = []
    for number in sorted({cell.families for cell in finished if cell.group == "families" and cell.families}):
        by_weights = {cell.weights: found for cell, found in finished.items()
                      if cell.group == "families" and cell.families == number}  # fmt: skip
        rates = [shown(at_turn(by_weights.get(name, []), "unseen_families", middle)) for name in weights]
        rows.append([str(number), *rates])
    return table_markdown([f"tuned families (unseen ones at turn {middle})", *weights], rows)


def _figures(study: Study, found: Results) -> dict[str, Any]:
    """The pooled rates by split and turn."""

    def rate(one: Rate) -> dict[str, Any]:
        return {"held": one.held, "n": one.n, "share": one.share, "interval": list(one.interval)}

    pooled: dict[str, Any] = {
        split: [rate(at_turn(found, split, turn)) for turn in range(1, study.turns + 1)] for split in done.SPLITS
    }
    return {"seeds": len(found), "by_turn": pooled, "after_change": {
        split: rate(since_change(found, split)) for split in ("cancelled", "replaced")}}  # fmt: skip


def _curves(path: Path, study: Study, some: Mapping[Cell, Results]) -> None:
    """Adherence by turn on unseen attributes and on unseen families, a line a cell."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, split in zip(figure.subplots(1, 2, sharey=True), ("unseen_attributes", "unseen_families"), strict=True):
        for number, (cell, found) in enumerate(some.items()):
            rates = [at_turn(found, split, turn) for turn in range(1, study.turns + 1)]
            points = [(turn, rate) for turn, rate in enumerate(rates, start=1) if rate.n]
            turns = [turn for turn, _ in points]
            colour, line = COLOURS[number % len(COLOURS)], ("-", "--", ":", "-.")[number // len(COLOURS) % 4]
            axes.plot(turns, _percents(points, lambda rate: rate.share or 0.0), color=colour, linestyle=line,
                      label=cell.name)  # fmt: skip
            low = _percents(points, lambda rate: rate.interval[0])
            high = _percents(points, lambda rate: rate.interval[1])
            axes.fill_between(turns, low, high, color=colour, alpha=0.12, linewidth=0)
        axes.set(title=split.replace("_", " "), xlabel="turn", ylim=(0, 100))
        axes.grid(axis="y", color="#DDDDDD", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("answers that follow the instruction, %")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.new")
    figure.savefig(beside, dpi=150, format="png")
    beside.replace(path)


def _percents(points: Sequence[tuple[int, Rate]], of: Callable[[Rate], float]) -> list[float]:
    return [100 * of(rate) for _, rate in points]
