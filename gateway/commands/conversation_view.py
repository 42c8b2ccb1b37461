"""One conversation for the terminal: a table of its turns, a bar a turn of its window, its sums, and the comparison.

The parts of a bar differ in their character as well as their colour, so it reads in black and white too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gateway.accounting.conversation import COSTS, TOKENS, comparison, totals

Row = Mapping[str, Any]

BAR = 60
UNKNOWN = "–"
PARTS = (
    ("instruction", "█", "magenta"),
    ("repeated instruction", "▓", "red"),
    ("history", "▒", "cyan"),
    ("answer", "░", "green"),
)


def conversation(rows: Sequence[Row]) -> RenderableType:
    """Everything that `gattway conversations show` prints; `rows` is every request of the conversation, in order."""
    compared = comparison(rows)
    parts: list[RenderableType] = [_heading(rows), _turns(rows), _bars(rows), _sums(rows)]
    if compared is not None:
        parts += [_strategies(compared), Text(compared["sentence"], style="bold")]
    return Group(*parts)


def segments(row: Row) -> list[int] | None:
    """Tokens of a turn's window by part, in the order of `PARTS`; None when they are not known."""
    prompt, used = row["prompt_tokens"], row["context_used"]
    if prompt is None or used is None:
        return None
    instruction = min(row["instruction_tokens"] or 0, prompt)
    repeated = min(row["repeated_instruction_tokens"] or 0, prompt - instruction)
    return [instruction, repeated, prompt - instruction - repeated, max(0, used - prompt)]


def bar(tokens: Sequence[int], scale: int, width: int = BAR) -> Text:
    """A bar of `width` characters for `scale` tokens. A part that is there at all gets a character where there is
    room, and rounding never makes the whole longer than its share."""
    drawn, told, position = Text(), 0, 0
    for (_, character, colour), count in zip(PARTS, tokens, strict=True):
        told += count
        end = min(width, round(told / scale * width)) if scale else 0
        if count and end == position and end < width:
            end += 1
        drawn.append(character * max(0, end - position), style=colour)
        position = max(position, end)
    return drawn.append("·" * (width - position), style="dim")


def _heading(rows: Sequence[Row]) -> Text:
    last = rows[-1]
    arm = f"{last['experiment']}:{last['arm']}, " if last["experiment"] else ""
    began = rows[0]["started_at"][:19].replace("T", " ")
    return Text(f"{last['conversation_id']}: {arm}{last['strategy']} on {last['model']}, begun {began} UTC")


def _turns(rows: Sequence[Row]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    headings = "turn prompt cached written answer reasoning instr. repeated window left cost ttft took ours source"
    for heading in headings.split():
        table.add_column(heading, justify="left" if heading == "source" else "right", no_wrap=True)
    for row in rows:
        kinds = ("prompt", "cached", "cache_write", "completion", "reasoning", "instruction", "repeated_instruction")
        turns_left = row["context_headroom_turns"]
        table.add_row(
            str(row["turn"]) if row["auxiliary"] is None else row["auxiliary"],
            *(number(row[f"{kind}_tokens"]) for kind in kinds),
            _share(row["context_used"], row["context_window"]),
            UNKNOWN if turns_left is None else f"{turns_left:,} turns",
            money(row["cost_usd"]),
            *(UNKNOWN if row[name] is None else f"{row[name]:,.0f} ms" for name in ("ttft_ms", "duration_ms")),
            UNKNOWN if row["overhead_ms"] is None else f"{row['overhead_ms']:,.1f} ms",
            row["usage_source"] or (row["error_code"] or UNKNOWN),
        )
    return table


def _bars(rows: Sequence[Row]) -> Table:
    windows = [row["context_window"] for row in rows if row["context_window"]]
    scale = max(windows, default=max((row["context_used"] or 0 for row in rows), default=0))
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(justify="right")
    grid.add_column(no_wrap=True)
    for row in rows:
        tokens = segments(row)
        if tokens is not None and row["auxiliary"] is None:
            grid.add_row(f"turn {row['turn']}", bar(tokens, scale), f"{number(row['context_used'])} tokens")
    legend = Text()
    for name, character, colour in PARTS:
        legend.append(f"{character * 2} {name}   ", style=colour)
    of = f"each bar is the window of {number(scale)} tokens" if windows else f"the longest is {number(scale)} tokens"
    grid.add_row("", legend, Text(of, style="dim"))
    return grid


def _sums(rows: Sequence[Row]) -> Table:
    sums = totals(rows)
    table = Table(box=box.SIMPLE_HEAD, title="Sums", title_justify="left", padding=(0, 1, 0, 0))
    for heading in ("tokens", "", "cost", "USD"):
        table.add_column(heading, justify="right" if heading in ("", "USD") else "left")
    tokens = [(kind.replace("_", " "), number(sums[f"{kind}_tokens"])) for kind in TOKENS]
    costs = [(kind.replace("_", " "), money(sums[f"cost_{kind}_usd"])) for kind in COSTS]
    for (kind, count), (cost_kind, cost) in zip(tokens, [*costs, ("all", money(sums["cost_usd"]))], strict=True):
        table.add_row(kind, count, cost_kind, cost)
    table.caption = ", ".join(_provenance(rows, sums))
    table.caption_justify = "left"
    return table


def _provenance(rows: Sequence[Row], sums: Mapping[str, Any]) -> Iterator[str]:
    for source, count in sums["sources"].items():
        yield f"usage {source} in {count} of {len(rows)} requests"
    prices = next((row["prices"] for row in reversed(rows) if row["prices"]), None)
    if prices is not None:
        rates = ", ".join(f"{prices[kind]:g} {kind.replace('_', ' ')}" for kind in COSTS if kind in prices)
        yield f"USD per million tokens: {rates} ({prices.get('table', prices['source'])})"


def _strategies(compared: Mapping[str, Any]) -> Table:
    title = "The same messages with the instruction placed otherwise"
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", padding=(0, 1, 0, 0))
    table.add_column("strategy")
    for heading in ("prompt tokens", "cached", "cost USD", "window full at turn"):
        table.add_column(heading, justify="right")
    for name, one in compared["strategies"].items():
        share = one["cached_share"]
        table.add_row(
            f"{name} (used)" if name == compared["used"] else name,
            number(one["prompt_tokens"]),
            UNKNOWN if share is None else f"{share:.0%}",
            money(one["cost_usd"]),
            number(one["window_full_at_turn"]),
        )
    return table


def number(value: float | None) -> str:
    """`12345` → `12,345`; a dash for what is not known."""
    return UNKNOWN if value is None else f"{value:,}"


def money(value: float | None) -> str:
    """USD with seven digits, for single turns cost little; a dash for what is not known."""
    return UNKNOWN if value is None else f"{value:.7f}"


def _share(part: int | None, whole: int | None) -> str:
    return UNKNOWN if part is None or not whole else f"{part / whole:.0%}"
