"""How the commands print what they found, and the options that say so."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console, RenderableType
from rich.markdown import Markdown

OUT = click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("benchmarks/results"),
    show_default=True,
    help="Folder for the figures as JSON and the report as Markdown.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON instead of tables.")

Result = dict[str, Any]
"""A result file's content, as `benchmarks.results` writes it."""


def report(
    result: Result,
    shown: Callable[[Result], RenderableType],
    files: Mapping[str, Path],
    *,
    as_json: bool,
    width: int | None = None,
    picture: Path | None = None,
) -> None:
    """Print the result as JSON, or as what `shown` makes of it with the names of its files below.

    Args:
        files: what a file holds → the file.
        width: columns to print in; as many as the terminal has, or enough for the tables, when None.
        picture: also shown, where the terminal can.
    """
    if as_json:
        click.echo(json.dumps(result, indent=2, ensure_ascii=False))
        return
    console = _console() if width is None else Console(width=width)
    console.print(shown(result))
    if picture is not None:
        click.echo(_inline(picture))
    line = "   ".join(f"{what}: {path}" for what, path in files.items())
    click.echo(f"{line}   ({result['seconds']:.0f} s)" if "seconds" in result else line)


def markdown(written: Callable[[Result], str]) -> Callable[[Result], Markdown]:
    """A report in Markdown as something to `report`."""
    return lambda result: Markdown(written(result))


def _inline(picture: Path) -> str:
    """The picture's escape sequences and an empty line; nothing but the latter where no picture can be shown."""
    from benchmarks import plots

    shown = plots.inline(picture) if sys.stdout.isatty() else None
    return f"{shown}\n" if shown else ""


def _console() -> Console:
    """Standard output; at least wide enough for the tables where it is no terminal."""
    return Console() if sys.stdout.isatty() else Console(width=100)
