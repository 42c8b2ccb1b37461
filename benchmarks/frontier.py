"""`python -m benchmarks frontier`: what each placement buys, and for how much, on both embedded models.

Every script is held for 20 turns with every strategy on `mini-base` and `mini-gatt`, over HTTP; in a second round with
`within-budget`, which chooses by what the first has shown. The plot lays adherence
at turn 20 against the cost of a conversation as the ledger booked it, cached tokens at a tenth. Every arm has a model
entry of its own, and so a prefix cache of its own: arms whose prompts begin alike do not make each other cheaper.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from adherence import wilson
from benchmarks import results, show, summary
from benchmarks.client import Client, Conversation, together
from benchmarks.markdown import made_by
from benchmarks.markdown import table as markdown_table
from benchmarks.plots import drawn
from benchmarks.script import Script
from benchmarks.server import Server
from gateway.ledger.aggregates import BANDS

EXPERIMENT = "frontier"
TURNS = 20
BUDGET = "within-budget"
KEPT_AT_LEAST = 0.75
"""What `within-budget` is asked to keep; 12 answers of 12 show it (their Wilson interval begins at 0.757)."""
MODELS = ("mini-base", "mini-gatt")
PRICE = "price = { input = 1.00, cached = 0.10, output = 4.00 }"


EXAMPLE = '{ user = "What colour is sky?", assistant = "The colour of sky is blue." }'


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
    Placement("on-drift-moves", "on-drift", "copies = 0, moves = true"),
    Placement("drop-oldest", "drop-oldest", "max_chars = 600"),
    Placement("condense", "condense", "max_chars = 600"),
    Placement("few-shot", "few-shot", f"n = 1, examples = [{EXAMPLE}]"),
    Placement("pass-through", "pass-through"),
)
CANDIDATES = ("once", "every-4", "every-2", "short-reminder", "last-turn", "every-turn")
"""Those that `within-budget` chooses among, the leanest first."""

Arm = tuple[str, Placement]
"""A model and a placement on it."""


def config(arms: Sequence[Arm]) -> str:
    """A `gattway.toml` with these arms."""
    spec = find_spec("gateway")
    assert spec is not None, "the gateway is installed beside the benchmarks"
    assert spec.origin is not None
    embedded = Path(spec.origin).parent / "embedded"
    lines = ['[upstreams.embedded]\nkind = "local"']
    lines.append(f"[experiments.{EXPERIMENT}]\nchecks_file = {json.dumps(str(embedded / 'checks.toml'))}")
    for model, placement in arms:
        name, folder = f"{model}-{placement.label}", json.dumps(str(embedded / model))
        parameters = f"\nparameters = {{ {placement.parameters} }}" if placement.parameters else ""
        lines.append(f'[models.{name}]\nupstream = "embedded"\nfolder = {folder}\n{PRICE}')
        lines.append(
            f'[experiments.{EXPERIMENT}.arms.{name}]\nstrategy = "{placement.strategy}"\nmodel = "{name}"{parameters}'
        )
    return "\n\n".join(lines) + "\n"


def arms() -> list[Arm]:
    """Those of the first round."""
    return [(model, placement) for model in MODELS for placement in PLACEMENTS]


def budget_arms(points: Sequence[Mapping[str, Any]]) -> list[Arm]:
    """Those of the second round, by the first one's points."""
    return [(model, Placement(BUDGET, BUDGET, _budget(model, points))) for model in MODELS]


def _budget(model: str, points: Sequence[Mapping[str, Any]]) -> str:
    shown = {point["placement"]: point for point in points if point["model"] == model}
    candidates = [
        f'{{ name = "{name}", strategy = "{point["strategy"]}", parameters = {{ {point["parameters"]} }}, '
        f"adherence = {point['kept']:.4f}, cost = {point['cost_usd_mean']:.8f} }}"
        for name in CANDIDATES
        for point in (shown[name],)
    ]
    return f"adherence = {KEPT_AT_LEAST}, candidates = [{', '.join(candidates)}]"


def run(
    start: Callable[[str], AbstractContextManager[Server]],
    scripts: Sequence[Script],
    folder: Path,
    *,
    concurrency: int,
    on_answer: Callable[[Conversation], None] = lambda _: None,
) -> dict[str, Any]:
    """Hold the conversations; write `frontier.json`, `frontier.md` and `frontier.png` into `folder`.

    Args:
        start: starts a gateway with the text of a config.
    """
    started, points = time.perf_counter(), list[dict[str, Any]]()
    for arms_of in (lambda _: arms(), budget_arms):
        round_arms = arms_of(points)
        with start(config(round_arms)) as server:
            held = asyncio.run(_converse(server.url, scripts, round_arms, concurrency, on_answer))
        points += [_point(model, placement, held) for model, placement in round_arms]
    seconds = round(time.perf_counter() - started, 1)
    result = {**results.header(), "turns": TURNS, "seconds": seconds, "points": points}
    results.write(folder / "frontier.json", result)
    results.write_text(folder / "frontier.md", markdown(result))
    plot(result, folder / "frontier.png")
    return result


async def _converse(
    url: str,
    scripts: Sequence[Script],
    arms: Sequence[Arm],
    concurrency: int,
    on_answer: Callable[[Conversation], None],
) -> list[Conversation]:
    run_id = uuid.uuid4().hex[:8]
    async with Client(url, concurrency=concurrency, on_answer=on_answer) as client:

        async def hold(script: Script, arm: str) -> Conversation:
            return await client.hold(script, f"{EXPERIMENT}:{arm}", f"frontier-{run_id}-{script.id}-{arm}", turns=TURNS)

        return await together(hold(script, f"{model}-{one.label}") for model, one in arms for script in scripts)


def _point(model: str, placement: Placement, held: Sequence[Conversation]) -> dict[str, Any]:
    of = [conversation for conversation in held if conversation.arm == f"{model}-{placement.label}"]
    figures = summary.arm(of, TURNS)
    verdicts = [answer.adherent for one in of for answer in one.answers if answer.adherent is not None]
    return {
        "model": model,
        "placement": placement.label,
        "strategy": placement.strategy,
        "chosen": of[0].rows[0]["strategy"].partition(":")[2] or None,
        "parameters": placement.parameters,
        "conversations": len(of),
        "adherence_at_turn_20": figures["adherence_by_turn"][-1],
        "interval_at_turn_20": figures["adherence_interval_by_turn"][-1],
        "adherence": sum(verdicts) / len(verdicts),
        "interval": wilson(sum(verdicts), len(verdicts)),
        "kept": kept(of),
        **{name: figures[name] for name in KEPT},
    }


def kept(held: Sequence[Conversation]) -> float:
    """The adherence that is kept for certain: of the report's bands of turns, the lowest lower end of an interval."""
    bounds = []
    for first, last, _ in BANDS:
        answers = [one for conversation in held for one in conversation.answers]
        verdicts = [
            one.adherent for one in answers if first <= one.turn <= (last or TURNS) and one.adherent is not None
        ]
        bounds += [wilson(sum(verdicts), len(verdicts))[0]] if verdicts else []
    return min(bounds)


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
            f"`{point['placement']}`" + (f" ({point['chosen']})" if point["chosen"] else ""),
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
            f"prefix cache of its own. `{BUDGET}` was to keep {KEPT_AT_LEAST:.0%} and stands with what it chose. "
            "`few-shot` shows one example that has nothing to do with the instructions, for these differ by script; "
            "`condense` has its own small model condense, which was never taught to.",
            "",
            *markdown_table(headings, lines, left=2),
            "",
        ]
    )


def plot(result: dict[str, Any], path: Path) -> None:
    """Adherence at turn 20 against cost per conversation, a panel a model; the frontier of the best as a line."""
    with drawn(path, (10, 6.5)) as figure:
        best = frontier([_place(one) for one in result["points"]])
        looks = {"mini-gatt": ("#0072B2", "o"), "mini-base": ("#D55E00", "s")}
        for axes, (model, (colour, marker)) in zip(figure.subplots(2, 1, sharex=True), looks.items(), strict=True):
            points = [one for one in result["points"] if one["model"] == model]
            axes.scatter(*zip(*map(_place, points), strict=True), color=colour, marker=marker, s=40, zorder=3)
            axes.step(*zip(*best, strict=True), where="post", color="#999999", linewidth=1, zorder=1)
            _label(axes, points, colour)
            axes.set(ylabel="adherent at turn 20, %", ylim=(-8, 108), yticks=range(0, 101, 25))
            axes.set_title(f"{model} (grey: the best of both models)", loc="left", fontsize=10, color=colour)
            axes.grid(color="#DDDDDD", linewidth=0.8)
            axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel("cost of a conversation, USD / 1000 (cached tokens at a tenth)")
        axes.margins(x=0.06)


def _place(point: Mapping[str, Any]) -> tuple[float, float]:
    """USD per 1,000 conversations, per cent at turn 20."""
    return 1000 * point["cost_usd_mean"], 100 * point["adherence_at_turn_20"]


def _label(axes: Any, points: Sequence[Mapping[str, Any]], colour: str) -> None:
    """Names towards the middle of the panel, a line each; those of points that lie close together in one column."""
    columns: list[list[Mapping[str, Any]]] = []
    for point in sorted(points, key=_place):
        near = next((one for one in columns if _are_near(one[0], point)), None)
        columns.append([point]) if near is None else near.append(point)
    for column in columns:
        cost, share = _place(column[0])
        down = share > 50
        names = "\n".join(one["placement"] for one in column)
        look = {"fontsize": 7, "color": colour, "va": "top" if down else "bottom", "linespacing": 1.1}
        axes.annotate(names, (cost, share), (-3, -6 if down else 6), textcoords="offset points", **look)


def _are_near(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    (cost, share), (cost_2, share_2) = _place(one), _place(other)
    return abs(cost - cost_2) < 0.07 and abs(share - share_2) < 12


def frontier(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other beats in both cost (less) and adherence (more), by cost."""
    best: list[tuple[float, float]] = []
    for cost, share in sorted(points, key=lambda one: (one[0], -one[1])):
        if not best or share > best[-1][1]:
            best.append((cost, share))
    return best
