"""`gatt study`: every variant of the recipe, cell by cell, with tables, intervals and plots."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gatt.study.settings import Cell, Study

_FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("path", metavar="STUDY", type=_FOLDER)
@click.option("--only", multiple=True, help="Cells to run, such as 'objective/*'; may be given several times.")
@click.option("--scale", type=click.FloatRange(0, 1, min_open=True), default=1.0, show_default=True,
              help="Multiplies dialogues, steps and conversations; a scaled study has its own folder.")  # fmt: skip
@click.option("--seeds", type=click.IntRange(1), help="How many of the study's seeds; all otherwise.")
@click.option("--out", type=_FOLDER, help="Where tables and plots go; the study's folder otherwise.")
@click.option("--report", is_flag=True, help="Run nothing; write the tables from what is done.")
@click.option("--list", "listed", is_flag=True, help="Print the cells' names and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def study(
    path: Path, only: tuple[str, ...], scale: float, seeds: int | None, out: Path | None, report: bool, listed: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Run a STUDY file's cells, each once, and write study.md, study.json and plots."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from gatt.progress import quiet
    from gatt.recipe import RecipeError
    from gatt.study import report as reporting
    from gatt.study.settings import load

    try:
        loaded = load(path).scaled(scale)
        loaded = loaded.model_copy(update={"seeds": loaded.seeds[: seeds or len(loaded.seeds)]})
        chosen = loaded.chosen(only)
    except (RecipeError, ValueError) as error:
        raise click.UsageError(str(error)) from error
    if listed:
        click.echo("\n".join(cell.path for cell in chosen))
        return
    quiet()
    if not report:
        _run(loaded, chosen)
    folder = out or loaded.work
    reporting.write(loaded, f"gatt {' '.join(sys.argv[1:])}" if sys.argv[1:] else f"gatt study {path}", folder)
    text = (folder / ("study.json" if as_json else "study.md")).read_text(encoding="utf-8")
    click.echo(text.rstrip())


def _run(loaded: Study, chosen: list[Cell]) -> None:
    from gatt.progress import Bars
    from gatt.stage import StageError
    from gatt.study.cells import run_all
    from gatt.synthesize import SynthesisError

    try:
        with Bars.on_stderr() as bars:
            run_all(loaded, chosen, bars)
    except (StageError, SynthesisError, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
