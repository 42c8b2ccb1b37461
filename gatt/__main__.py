"""The `gatt` command: the fine-tuning recipe, each stage by itself, or all of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from gatt.recipe import Recipe

_RECIPE = click.argument("recipe", type=click.Path(path_type=Path))
_FORCE = click.option("--force", is_flag=True, help="Run even when the stage is done and its inputs are the same.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Tune a chat model with Ghost Attention, so that saying an instruction once is enough.

    Each stage writes into its own folder under the recipe's work folder, is skipped when it is done, and goes on
    where it was interrupted. Exit codes: 0 done, 1 failed, 2 bad usage or recipe.
    """


def _load(path: Path) -> Recipe:
    from gatt.recipe import RecipeError, load

    try:
        return load(path)
    except RecipeError as error:
        raise click.UsageError(str(error)) from error


def _run(recipe: Recipe, stages: list[str], force: bool) -> None:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from gatt.progress import Bars
    from gatt.stages import Context, StageError, run

    _quiet()
    try:
        with Bars.on_stderr() as bars:
            for stage in stages:
                run(stage, Context(recipe, bars), force)
    except (StageError, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error


def _quiet() -> None:
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def _stage(name: str, help_text: str) -> None:
    @main.command(name, help=help_text)
    @_RECIPE
    @_FORCE
    def command(recipe: Path, force: bool) -> None:
        _run(_load(recipe), [name], force)


_stage("pretrain", "Train the miniature base model from nothing.")
_stage("instructions", "Draw instructions and user turns, split into tuned and held out.")
_stage("synthesize", "Sample dialogues with the instruction in every turn; keep it in turn 1 only.")
_stage("train", "Tune the base model on the rows, loss on the last answer only.")
_stage("ship", "Write model folders, model cards and the benchmark scripts to their places.")


@main.command()
@_RECIPE
@_FORCE
@_JSON
def evaluate(recipe: Path, force: bool, as_json: bool) -> None:
    """Hold conversations with base and tuned model: adherence by turn, facts, leaks."""
    loaded = _load(recipe)
    _run(loaded, ["evaluate"], force)
    _print_results(loaded, as_json)


@main.command(name="run")
@_RECIPE
@_JSON
def run_all(recipe: Path, as_json: bool) -> None:
    """Run every stage that is not done yet."""
    from gatt.stages import STAGES

    loaded = _load(recipe)
    _run(loaded, [name for name in STAGES if name != "ship" or loaded.ship], force=False)
    _print_results(loaded, as_json)


def _print_results(recipe: Recipe, as_json: bool) -> None:
    from gatt.report import table

    results: dict[str, Any] = json.loads((recipe.work / "evaluate" / "results.json").read_text(encoding="utf-8"))
    if as_json:
        click.echo(json.dumps(results))
        return
    from rich.console import Console

    Console().print(table(results))


if __name__ == "__main__":
    main()
