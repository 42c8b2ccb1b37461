"""`gattway conversations`: the ledger from the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click

from gateway.commands.conversation_show import show
from gateway.commands.options import CONFIG

WINDOW_CELLS = 8
FORMAT = click.option("--json", "kind", flag_value="json", default="json", help="JSON Lines (this is the default).")


def _time(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    from gateway.ledger.pages import moment

    try:
        return None if value is None else moment(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is no ISO 8601 date or time, such as 2026-01-31") from None


_FILTERS = [
    click.option("--prefix", help="Conversations whose id begins so."),
    click.option("--experiment", help="Of this experiment."),
    click.option("--arm", help="Of this arm."),
    click.option("--model", help="Of this model."),
    click.option("--key", "key_name", help="Of the key of this name."),
    click.option("--since", callback=_time, help="Begun at this time or later (ISO 8601, UTC)."),
    click.option("--until", callback=_time, help="Begun before this time."),
    click.option("--min-turns", type=click.IntRange(0), help="With so many turns or more."),
    click.option("--max-turns", type=click.IntRange(0), help="With so many turns or fewer."),
    click.option("--min-cost-usd", type=click.FloatRange(0), help="That cost so much or more."),
    click.option("--max-cost-usd", type=click.FloatRange(0), help="That cost so much or less."),
    click.option("--min-adherence", type=click.FloatRange(0, 1), help="Share of judged turns that adhered, or more."),
    click.option("--max-adherence", type=click.FloatRange(0, 1), help="Share of judged turns that adhered, or less."),
    click.option("--drifted/--not-drifted", default=None, help="With a turn that did not adhere, or without one."),
]


def _filtered(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_FILTERS):
        command = option(command)
    return command


@click.group()
def conversations() -> None:
    """Conversations in the ledger: what each cost, turn by turn."""


@conversations.command("list")
@CONFIG
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Conversations to show.")
@click.option("--after", help="Go on after the conversation of this id.")
@_filtered
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def list_conversations(config: Path | None, limit: int, after: str | None, as_json: bool, **chosen: Any) -> None:
    """List conversations, last begun first."""
    from gateway.ledger.pages import Filter
    from gateway.ledger.reading import open_store
    from gateway.settings import config_path, load

    store = open_store(load(config_path(config)).ledger)
    page = store.conversations(limit, after, Filter(**chosen))
    if as_json:
        click.echo(json.dumps({"data": page.rows, "has_more": page.has_more}, indent=2))
        return
    windows = store.windows([row["conversation_id"] for row in page.rows])
    _print_table([{**row, "window": windows.get((row["conversation_id"], row["key_name"]))} for row in page.rows])
    if page.has_more:
        click.echo(f"More with: --after {page.rows[-1]['conversation_id']}")


@conversations.command("export")
@CONFIG
@FORMAT
@click.option("--csv", "kind", flag_value="csv", help="CSV with a heading.")
@click.option("--parquet", "kind", flag_value="parquet", help="Parquet, for DuckDB and pandas.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write, in place of the output.")
@_filtered
def export(config: Path | None, kind: str, out: Path | None, **chosen: Any) -> None:
    """Export the turns of all conversations, or of those chosen, the oldest first: JSON Lines, CSV or Parquet."""
    from gateway.ledger.export import FORMATS
    from gateway.ledger.pages import Filter
    from gateway.ledger.reading import open_store
    from gateway.settings import config_path, load

    if kind == "parquet" and out is None and sys.stdout.isatty():
        raise click.UsageError("Parquet is no text for a terminal; name a file with --out.")
    store = open_store(load(config_path(config)).ledger)
    with _target(out) as file:
        count = FORMATS[kind](_counted(store.export(Filter(**chosen))), file)
    if out is not None:
        click.echo(f"{count} turns in {out}", err=True)


def _counted(batches: Iterator[list[dict[str, Any]]]) -> Iterator[list[dict[str, Any]]]:
    """The same batches, with a count on standard error while a person watches."""
    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.completed:,.0f} turns"), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)
        for rows in batches:
            yield rows
            progress.advance(task, len(rows))


@contextmanager
def _target(out: Path | None) -> Iterator[IO[bytes]]:
    """Standard output, or a file that appears only when it is whole."""
    if out is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    beside = out.with_name(f"{out.name}.part")
    try:
        with beside.open("wb") as file:
            yield file
        beside.replace(out)
    except OSError as error:
        raise click.ClickException(f"{out} cannot be written ({error.strerror})") from None
    finally:
        beside.unlink(missing_ok=True)


_Cell = Callable[[dict[str, Any]], str]


def _count(name: str) -> _Cell:
    return lambda row: "" if row[name] is None else f"{row[name]:,}"


def _word(name: str) -> _Cell:
    return lambda row: row[name] or ""


def _window(row: dict[str, Any]) -> str:
    """A bar for (tokens in the context, tokens of the window) at the last turn, and their share."""
    if row["window"] is None:
        return ""
    share = row["window"][0] / row["window"][1]
    cells = min(WINDOW_CELLS, max(1, round(share * WINDOW_CELLS)))
    return f"{'█' * cells}{'·' * (WINDOW_CELLS - cells)} {share:4.0%}"


#: Heading, cell, whether a narrow terminal shows it too; figures are those of the conversation so far.
_COLUMNS: tuple[tuple[str, _Cell, bool], ...] = (
    ("begun", lambda row: row["started_at"][5:16].replace("T", " "), True),
    ("experiment", _word("experiment"), False),
    ("arm", _word("arm"), True),
    ("model", _word("model"), False),
    ("turns", _count("turn_count"), True),
    ("prompt", _count("prompt_tokens"), True),
    ("cached", _count("cached_tokens"), False),
    ("answers", _count("completion_tokens"), False),
    ("repeated", _count("repeated_instruction_tokens"), True),
    ("cost USD", lambda row: "" if row["cost_usd"] is None else f"{row['cost_usd']:.6f}", True),
    ("window", _window, False),
    ("kept", lambda row: "" if row["adherence"] is None else f"{row['adherence']:.0%}", True),
)
_WIDE = 130


def _print_table(rows: list[dict[str, Any]]) -> None:
    """Nothing is cut off: a narrow terminal gets fewer columns, and ids that go on in the next line."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console.width = 200
    shown = [column for column in _COLUMNS if column[2] or console.width >= _WIDE]
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0), caption="prompt … repeated: tokens", caption_justify="left")
    table.add_column("conversation", overflow="fold")
    for heading, _, _ in shown:
        words = heading in ("begun", "experiment", "arm", "model")
        table.add_column(heading, no_wrap=True, justify="left" if words else "right")
    for row in rows:
        table.add_row(row["conversation_id"], *(cell(row) for _, cell, _ in shown))
    console.print(table)


conversations.add_command(show)
