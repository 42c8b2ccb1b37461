"""`python -m benchmarks frontier`: what each placement buys, and for how much, on both embedded models.

Every script is held for 20 turns with every strategy on `mini-base` and `mini-gatt`, over HTTP. The plot lays adherence
at turn 20 against the cost of a conversation as the ledger booked it, cached tokens at a tenth. Every arm has a model
entry of its own, and so a prefix cache of its own: arms whose prompts begin alike do not make each other cheaper.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from adherence import wilson
from benchmarks import results, show, summary
from benchmarks.client import Client, Conversation, together
from benchmarks.markdown import made_by
from benchmarks.markdown import table as markdown_table
from benchmarks.script import Script

EXPERIMENT = "frontier"
TURNS = 20
MODELS = ("mini-base", "mini-gatt")
PRICE = "price = { input = 1.00, cached = 0.10, output = 4.00 }"


@dataclass(frozen=True)
class Placement:
    """A strategy with its parameters, as one point of the plot."""

    label: str
    strategy: str
    parameters: str = ""


PLACEMENTS = (
    Placement("once", "once"),
    Placement("every-turn", "every-turn"),
    Placement("last-turn", "last-turn"),
    Placement("every-2", "every-k", "k = 2"),
    Placement("every-4", "every-k", "k = 4"),
    Placement("short-reminder", "short-reminder"),
    Placement("on-drift", "on-drift"),
    Placement("on-drift-stays", "on-drift", "copies = 0"),
    Placement("drop-oldest", "drop-oldest", "max_chars = 600"),
)


def config() -> str:
    """A `gattway.toml` with an arm for every placement on every model."""
    spec = find_spec("gateway")
    assert spec is not None, "the gateway is installed beside the benchmarks"
    assert spec.origin is not None
    embedded = Path(spec.origin).parent / "embedded"
    lines = ['[upstreams.embedded]\nkind = "local"']
    lines.append(f"[experiments.{EXPERIMENT}]\nchecks_file = {json.dumps(str(embedded / 'checks.toml'))}")
    for model, placement in arms():
        name, folder = f"{model}-{placement.label}", json.dumps(str(embedded / model))
        parameters = f"\nparameters = {{ {placement.parameters} }}" if placement.parameters else ""
        lines.append(f'[models.{name}]\nupstream = "embedded"\nfolder = {folder}\n{PRICE}')
        lines.append(
            f'[experiments.{EXPERIMENT}.arms.{name}]\nstrategy = "{placement.strategy}"\nmodel = "{name}"{parameters}'
        )
    return "\n\n".join(lines) + "\n"


def arms() -> list[tuple[str, Placement]]:
    """All (model, placement) pairs."""
    return [(model, placement) for model in MODELS for placement in PLACEMENTS]


def run(
    url: str,
    scripts: Sequence[Script],
    folder: Path,
    *,
    concurrency: int,
    on_answer: Callable[[Conversation], None] = lambda _: None,
) -> dict[str, Any]:
    """Hold the conversations; write `frontier.json`, `frontier.md` and `frontier.png` into `folder`."""
    started = time.perf_counter()
    held = asyncio.run(_converse(url, scripts, concurrency, on_answer))
    result = report(held, time.perf_counter() - started)
    results.write(folder / "frontier.json", result)
    results.write_text(folder / "frontier.md", markdown(result))
    plot(result, folder / "frontier.png")
    return result


async def _converse(
    url: str, scripts: Sequence[Script], concurrency: int, on_answer: Callable[[Conversation], None]
) -> list[Conversation]:
    run_id = uuid.uuid4().hex[:8]
    async with Client(url, concurrency=concurrency, on_answer=on_answer) as client:

        async def hold(script: Script, arm: str) -> Conversation:
            return await client.hold(script, f"{EXPERIMENT}:{arm}", f"frontier-{run_id}-{script.id}-{arm}", turns=TURNS)

        return await together(hold(script, f"{model}-{one.label}") for model, one in arms() for script in scripts)


def report(held: Sequence[Conversation], seconds: float) -> dict[str, Any]:
    """The whole of `frontier.json`: a point for every arm."""
    points = []
    for model, placement in arms():
        of = [conversation for conversation in held if conversation.arm == f"{model}-{placement.label}"]
        figures = summary.arm(of, TURNS)
        verdicts = [answer.adherent for one in of for answer in one.answers if answer.adherent is not None]
        points.append(
            {
                "model": model,
                "placement": placement.label,
                "strategy": placement.strategy,
                "parameters": placement.parameters,
                "conversations": len(of),
                "adherence_at_turn_20": figures["adherence_by_turn"][-1],
                "interval_at_turn_20": figures["adherence_interval_by_turn"][-1],
                "adherence": sum(verdicts) / len(verdicts),
                "interval": wilson(sum(verdicts), len(verdicts)),
                **{name: figures[name] for name in KEPT},
            }
        )
    return {**results.header(), "turns": TURNS, "seconds": round(seconds, 1), "points": points}


KEPT = (
    *("facts", "prompt_tokens_mean", "completion_tokens_mean", "repeated_instruction_tokens_mean"),
    *("cached_share", "cost_usd_mean"),
    *("window_used_at_last_turn", "adherence_by_turn"),
)


def markdown(result: dict[str, Any]) -> str:
    """The points as a table."""
    headings = [
        "model",
        "placement",
        "adherence",
        "at turn 20",
        "facts",
        "prompt tokens",
        "repeated",
        "cost USD",
    ]
    lines = [
        [
            point["model"],
            f"`{point['placement']}`",
            show.percent(point["adherence"]),
            show.percent(point["adherence_at_turn_20"]),
            show.percent(point["facts"]),
            show.number(point["prompt_tokens_mean"]),
            show.number(point["repeated_instruction_tokens_mean"]),
            show.usd(point["cost_usd_mean"]),
        ]
        for point in sorted(result["points"], key=lambda one: (one["model"], one["cost_usd_mean"]))
    ]
    return "\n".join(
        [
            "# What each placement buys, and for how much",
            "",
            made_by(result),
            f"{result['points'][0]['conversations']} conversations of {result['turns']} turns with each arm; adherence "
            "over all turns and at the last; tokens and cost are the ledger's means per conversation, each arm with a "
            "prefix cache of its own.",
            "",
            *markdown_table(headings, lines, left=2),
            "",
        ]
    )


def plot(result: dict[str, Any], path: Path) -> None:
    """Adherence at turn 20 against cost per conversation, a point an arm, the frontier of the best as a line."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    looks = {"mini-base": ("#D55E00", "s"), "mini-gatt": ("#0072B2", "o")}
    for model, (colour, marker) in looks.items():
        points = [one for one in result["points"] if one["model"] == model]
        costs = [1000 * one["cost_usd_mean"] for one in points]
        shares = [100 * one["adherence_at_turn_20"] for one in points]
        axes.scatter(costs, shares, color=colour, marker=marker, s=45, label=model, zorder=3)
        names = [one["placement"] for one in points]
        for rank, (cost, share, name) in enumerate(sorted(zip(costs, shares, names, strict=True))):
            up = 4 + 10 * (rank % 3)
            axes.annotate(name, (cost, share), (4, up), textcoords="offset points", fontsize=7.5, color=colour)
    best = frontier([(1000 * one["cost_usd_mean"], 100 * one["adherence_at_turn_20"]) for one in result["points"]])
    axes.step(*zip(*best, strict=True), where="post", color="#999999", linewidth=1, zorder=1)
    axes.set(xlabel="cost of a conversation, USD / 1000 (cached tokens at a tenth)", ylabel="adherent at turn 20, %")
    axes.set_ylim(-5, 118)
    axes.grid(color="#DDDDDD", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def frontier(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other beats in both cost (less) and adherence (more), by cost."""
    best: list[tuple[float, float]] = []
    for cost, share in sorted(points, key=lambda one: (one[0], -one[1])):
        if not best or share > best[-1][1]:
            best.append((cost, share))
    return best
