"""The `gatt` command: the fine-tuning recipe, each stage by itself, or all of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gatt.commands.attention import attention
from gatt.commands.study import study

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
    from gatt import stages as table
    from gatt.progress import Bars, quiet
    from gatt.samplers.base import SamplerError
    from gatt.synthesize import SynthesisError

    quiet()
    known = table.of(recipe)
    for name in stages:
        if name not in known:
            raise click.UsageError(f"this recipe has no stage {name!r}; it has {', '.join(known)}")
    try:
        with Bars.on_stderr() as bars:
            for name in stages:
                table.run(known[name], table.Context(recipe, bars), force)
    except table.StageError as error:
        raise click.ClickException(str(error)) from error
    except (SamplerError, SynthesisError, ValueError, OSError) as error:
        raise click.ClickException(f"{name}: {error}") from error


def _stage(name: str, help_text: str, rounds: bool = False) -> None:
    @main.command(name, help=help_text)
    @_RECIPE
    @_FORCE
    @click.option("--round", "number", type=click.IntRange(1), default=1, hidden=not rounds, help=_ROUND)
    def command(recipe: Path, force: bool, number: int) -> None:
        _run(_load(recipe), [name if number == 1 else f"{name}-{number}"], force)


_ROUND = "Which round of fresh sampling, where the recipe has several (samplings)."

_stage("pretrain", "Train the miniature base model from nothing.")
_stage("instructions", "Draw instructions and user turns, split into tuned and held out.")
_stage("synthesize", "Sample dialogues with the instruction in every turn; keep it in turn 1 only.", rounds=True)
_stage("train", "Tune the model on the rows, loss on the last answer only (or another objective).", rounds=True)
_stage("ship", "Write model folders, model cards and the benchmark scripts to their places.")


@main.command()
@_RECIPE
@_FORCE
@_JSON
def reward(recipe: Path, force: bool, as_json: bool) -> None:
    """Train reward models with the paper's margins; print held-out accuracy with and without them."""
    loaded = _load(recipe)
    _run(loaded, ["reward"], force)
    folder = loaded.work / "reward"
    click.echo((folder / ("accuracy.json" if as_json else "accuracy.md")).read_text(encoding="utf-8").rstrip())


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
    from gatt import stages

    loaded = _load(recipe)
    _run(loaded, list(stages.of(loaded)), force=False)
    _print_results(loaded, as_json)


def _print_results(recipe: Recipe, as_json: bool) -> None:
    from gatt.report import table

    results: dict[str, Any] = json.loads((recipe.work / "evaluate" / "results.json").read_text(encoding="utf-8"))
    if as_json:
        click.echo(json.dumps(results))
        return
    from rich.console import Console

    Console().print(table(results))


main.add_command(attention)
main.add_command(study)

if __name__ == "__main__":
    main()
