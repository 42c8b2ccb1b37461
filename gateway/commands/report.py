"""`gattway report`: the comparison of an experiment's arms, from the ledger."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from gateway.commands.options import CONFIG
from gateway.errors import NotFound

UNKNOWN = "–"
LEVELS = "▁▂▃▄▅▆▇█"


@click.command()
@CONFIG
@click.option("--experiment", help="Name of the experiment; may be left out when the ledger knows only one.")
@click.option("--baseline", help="Arm that the others are held against; by default the one that repeats most.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, as GET /api/report gives it.")
def report(config: Path | None, experiment: str | None, baseline: str | None, as_json: bool) -> None:
    """Which arm wins: adherence, tokens, cost and latency with intervals, and a verdict in words."""
    from gateway.experiments.report import make
    from gateway.ledger.reading import open_engine
    from gateway.settings import config_path, load

    settings = load(config_path(config))
    try:
        with Console(stderr=True).status("reading the ledger"):
            found = make(open_engine(settings.ledger), experiment, baseline)
    except NotFound as error:
        raise click.UsageError(error.message) from None
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    console = Console() if Console().is_terminal else Console(width=120)
    for part in rendered(found):
        console.print(part)


def rendered(found: dict[str, Any]) -> Iterator[Any]:
    """The report as rich's tables and lines."""
    yield f"[bold]{found['experiment']}[/bold]: turns 1 to {found['horizon_turns']} ({found['horizon_reason']})"
    for sentence in found["verdict"]:
        yield f"→ {sentence}"
    if found["arms"]:
        yield _figures(found)
        yield _bands(found)
        if any(figures["adherence_by_turn"] for figures in found["arms"].values()):
            yield _curves(found)
    if found["left_out"]:
        left = ", ".join(f"{row['reason']} {row['turns']}" for row in found["left_out"])
        yield f"Turns left out: {left}"
    for judge, agreement in found["judges"].items():
        if agreement["n"]:
            kappa = UNKNOWN if agreement["kappa"] is None else f"{agreement['kappa']:.2f}"
            yield f"Judge {judge} agrees with the checks on {agreement['share']:.0%} of {agreement['n']} (κ {kappa})"


def _figures(found: dict[str, Any]) -> Table:
    table = Table(title="Means at the horizon, with the difference's always-valid 95 % interval", title_justify="left")
    table.add_column("")
    for arm, figures in found["arms"].items():
        table.add_column(f"{arm}\n{figures['conversations']:,} conversations", justify="right")
    for comparison in found["comparisons"]:
        table.add_column(f"{comparison['arm']}\nagainst {comparison['baseline']}", justify="right")
    for name in next(iter(found["arms"].values()))["metrics"]:
        values = [_number(figures["metrics"][name], name) for figures in found["arms"].values()]
        differences = [_interval(one["differences"].get(name), name) for one in found["comparisons"]]
        table.add_row(name.replace("_", " "), *values, *differences)
    return table


def _bands(found: dict[str, Any]) -> Table:
    table = Table(title="Adherence by turn, over the conversations that got there", title_justify="left")
    bands = list(next(iter(found["arms"].values()))["adherence_by_band"])
    for heading in ("arm", *bands):
        table.add_column(heading, justify="left" if heading == "arm" else "right")
    for arm, figures in found["arms"].items():
        cells = [figures["adherence_by_band"][band] for band in bands]
        table.add_row(arm, *(UNKNOWN if one["share"] is None else f"{one['share']:.0%}" for one in cells))
    return table


def _curves(found: dict[str, Any]) -> Table:
    """A line an arm, a character a turn; a turn of which nothing is judged is a gap."""
    curves = {arm: figures["adherence_by_turn"] for arm, figures in found["arms"].items()}
    longest = max((one["turn"] for judged in curves.values() for one in judged), default=0)
    table = Table(title=f"Adherence turn by turn ({LEVELS[-1]}: every answer)", title_justify="left")
    table.add_column("arm")
    table.add_column(f"turns 1 to {longest}", no_wrap=True, min_width=longest)
    for heading in ("first", "last", "lowest"):
        table.add_column(heading, justify="right")
    for arm, judged in curves.items():
        shares = {one["turn"]: one["share"] for one in judged}
        cells = [UNKNOWN] * 3
        if judged:
            lowest = min(judged, key=lambda one: one["share"])
            ends = [f"{one['share']:.0%}" for one in (judged[0], judged[-1])]
            cells = [*ends, f"{lowest['share']:.0%} (turn {lowest['turn']})"]
        table.add_row(arm, sparkline([shares.get(turn) for turn in range(1, longest + 1)]), *cells)
    return table


def sparkline(shares: Sequence[float | None]) -> str:
    """Shares from 0 to 1 as a line of blocks, a character each; None is a gap, the full block 1 and nothing less."""
    return "".join(" " if share is None else LEVELS[int(share * (len(LEVELS) - 1))] for share in shares)


def _number(value: float | None, name: str) -> str:
    if value is None:
        return UNKNOWN
    if name in ("adherence", "window_used"):
        return f"{value:.1%}"
    return f"${value:.6f}" if name.startswith("cost") else f"{value:,.1f}"


def _interval(difference: dict[str, Any] | None, name: str) -> str:
    if difference is None:
        return UNKNOWN
    low, high = (100 * side for side in difference["always_valid"])
    unit = "points" if name == "adherence" else "%"
    return f"{100 * difference['difference']:+.1f} {unit} [{low:+.1f}, {high:+.1f}]"
