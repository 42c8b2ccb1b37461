"""The demo's result for people: the table, what it means in a sentence, and a chart in text."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from benchmarks import plots

TURNS_SHOWN = (1, 2, 4, 6, 10, 20)
UNKNOWN = "–"

Result = dict[str, Any]


def demo(result: Result) -> RenderableType:
    """Everything that the demo prints about its figures."""
    return Group(table(result), notes(result), Text(), chart(result), Text(), Text(conclusion(result), style="bold"))


def table(result: Result) -> Table:
    """A row per arm."""
    shown = [turn for turn in TURNS_SHOWN if turn <= result["turns"]]
    drawn = Table(
        title=f"{result['conversations']} conversations of {result['turns']} turns with each arm",
        box=box.SIMPLE_HEAD,
        padding=0,
    )
    drawn.add_column("\narm", style="bold", no_wrap=True)
    turns = [f"\nt{turn}" for turn in shown]
    for heading in (*turns, "prompt\ntokens", "\ncached", "cost\nUSD", "window\nused", "turns\nto full"):
        drawn.add_column(heading, justify="right", no_wrap=True)
    for name, arm in result["arms"].items():
        drawn.add_row(
            name,
            *(percent(arm["adherence_by_turn"][turn - 1]) for turn in shown),
            number(arm["prompt_tokens_mean"]),
            percent(arm["cached_share"]),
            usd(arm["cost_usd_mean"]),
            percent(arm["window_used_at_last_turn"]),
            number(arm["turns_until_full"]),
        )
    return drawn


def notes(result: Result) -> Text:
    """What the table's columns mean, and the price behind the cost."""
    arms = "; ".join(f"{name}: {arm['strategy']} on {arm['model']}" for name, arm in result["arms"].items())
    price = ", ".join(
        f"{UNKNOWN if usd is None else f'{usd:g}'} {kind}" for kind, usd in result["price_usd_per_million"].items()
    )
    return Text(
        f"{arms}.\n"
        f"t1 to t{result['turns']}: answers at that turn that follow the instruction, one that tuning never saw.\n"
        f"Tokens and cost: means per conversation, from the gateway's ledger, at USD per million tokens: {price}.\n"
        f"Window used: of {number(result['context_window'])} tokens, at turn {result['turns']}. "
        f"Turns to full: median of {result['turns_until_full_measured_on']} conversations held to the end.",
        style="dim",
    )


def chart(result: Result) -> Table:
    """Adherence and prompt tokens by turn as block characters."""
    last = result["turns"]
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_row("", f"follows, turns 1–{last}", f"prompt tokens, turns 1–{last}", style="dim")
    most = max((v for arm in result["arms"].values() for v in arm["prompt_tokens_by_turn"] if v is not None), default=0)
    for name, arm in result["arms"].items():
        grid.add_row(
            name, plots.spark(arm["adherence_by_turn"], top=1), plots.spark(arm["prompt_tokens_by_turn"], top=most)
        )
    return grid


def conclusion(result: Result) -> str:
    """The comparison in words, from the figures alone."""
    arms = result["arms"]
    once, repeat, untreated = arms["gatt"], arms["repeat"], arms["untreated"]
    last = result["turns"]
    kept = (
        f"At turn {last}, the instruction said once was followed in {at_end(once)} of answers by {once['model']}, "
        f"in {at_end(untreated)} by {untreated['model']}; repeated in every turn, in {at_end(repeat)} "
        f"by {repeat['model']}"
    )
    if once["prompt_tokens_mean"] is None or repeat["prompt_tokens_mean"] is None:
        return f"{kept}. What repeating cost is unknown: the ledger holds no token counts."
    more = repeat["prompt_tokens_mean"] - once["prompt_tokens_mean"]
    share = more / once["prompt_tokens_mean"]
    money = (
        "" if not once["cost_usd_mean"] else f", {repeat['cost_usd_mean'] / once['cost_usd_mean'] - 1:+.0%} in money"
    )
    return (
        f"{kept}. Repeating cost {abs(more):,.0f} {'more' if more >= 0 else 'fewer'} prompt tokens "
        f"per conversation ({share:+.0%}{money})."
    )


def at_end(arm: dict[str, Any]) -> str:
    """Adherence at the last turn, in words where there was none to judge."""
    last = arm["adherence_by_turn"][-1]
    return "none (its window was full)" if last is None else percent(last)


def percent(value: float | None) -> str:
    """`0.987` → `99%`; never rounded to 100 % or 0 % when it is not."""
    if value is None:
        return UNKNOWN
    return f"{value:.1%}" if 0.995 <= value < 1 or 0 < value < 0.005 else f"{value:.0%}"


def number(value: float | None) -> str:
    """`12345.6` → `12,346`."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def usd(value: float | None) -> str:
    """`0.001634` → `0.00163`."""
    return UNKNOWN if value is None else f"{value:.5f}"
