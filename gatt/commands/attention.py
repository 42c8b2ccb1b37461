"""`gatt attention`: where base and tuned model look in the same dialogue."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gatt.recipe import Recipe, RecipeError, load

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from gatt.attention import Layout, Map

_FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("recipe", type=_FOLDER, required=False)
@click.option("--base", type=_FOLDER, help="Folder of the model before tuning; instead of a recipe.")
@click.option("--tuned", type=_FOLDER, help="Folder of the tuned model; instead of a recipe.")
@click.option(
    "--dialogue", type=_FOLDER, help="Finished dialogues (OpenAI, ShareGPT), or scripts, which the tuned model holds."
)
@click.option("--id", "name", help="Which dialogue of the file; the first one otherwise.")
@click.option("--instruction", help="The instruction, where the dialogue has no system message.")
@click.option("--turns", type=click.IntRange(1), help="How many turns of it; all otherwise.")
@click.option("--block", type=click.IntRange(1), default=256, show_default=True, help="Queries read at a time.")
@click.option("--out", type=_FOLDER, help="The picture; its numbers lie beside it as .json.")
@click.option("--json", "as_json", is_flag=True, help="Print the shares by turn as JSON.")
def attention(
    recipe: Path | None, base: Path | None, tuned: Path | None, dialogue: Path | None, name: str | None,
    instruction: str | None, turns: int | None, block: int, out: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Draw where base and tuned model look in a finished dialogue: a map each, and the instruction's share by turn.

    Give a RECIPE whose stages are done, or --base, --tuned and --dialogue.
    """
    if recipe is not None:
        loaded = _load(recipe)
        base, tuned = base or loaded.base_folder, tuned or loaded.tuned_folder
        dialogue = dialogue or loaded.work / "instructions" / "unseen_attributes.jsonl"
        out = out or loaded.work / "attention" / "attention.png"
    if base is None or tuned is None or dialogue is None:
        raise click.UsageError("give a RECIPE, or --base, --tuned and --dialogue")
    out = out or Path("attention.png")
    try:
        where, maps = _measured(base, tuned, dialogue, name, instruction, turns, block)
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    from gatt import attention_figure

    attention_figure.draw(out, where, maps)
    attention_figure.write_json(out.with_suffix(".json"), _command(recipe, base, tuned, dialogue), where, maps)
    _tell(where, maps, out, as_json)


def _load(path: Path) -> Recipe:
    try:
        return load(path)
    except RecipeError as error:
        raise click.UsageError(str(error)) from error


def _command(recipe: Path | None, base: Path, tuned: Path, dialogue: Path) -> str:
    return f"gatt attention {recipe or f'--base {base} --tuned {tuned} --dialogue {dialogue}'}"


def _measured(
    base: Path, tuned: Path, dialogue: Path, name: str | None, instruction: str | None, turns: int | None, block: int
) -> tuple[Layout, dict[str, Map]]:
    """Both models' maps, one model in memory at a time."""
    from gatt import sampling
    from gatt.attention import layout, measure

    model, tokenizer = sampling.load(str(tuned))
    messages = _messages(model, tokenizer, dialogue, name, turns)
    where = layout(tokenizer, messages, instruction)
    names = (base.name, tuned.name) if base.name != tuned.name else ("base", "tuned")
    maps = {names[1]: measure(model, where, block)}
    del model
    model, other = sampling.load(str(base))
    if layout(other, messages, instruction).ids != where.ids:
        raise ValueError(f"{base} and {tuned} cut the dialogue into different tokens; their maps cannot be compared")
    return where, {names[0]: measure(model, where, block), **maps}


def _messages(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, path: Path, name: str | None, turns: int | None
) -> list[dict[str, Any]]:
    """The dialogue, cut to `turns`; a script is first held by the model, told its instruction once."""
    from gatt import dialogues, evaluate, script

    if _holds_scripts(path):
        chosen = _chosen(script.read(path), name, path)
        short = replace(chosen, turns=chosen.turns[: turns or 20])
        (held,) = evaluate.converse(model, tokenizer, [short], "once", len(short.turns))
        done = len(held.replies)
        messages = replace(short, turns=short.turns[:done]).messages(held.replies[: done - 1])
        return [*messages, {"role": "assistant", "content": held.replies[-1]}]
    found = _chosen(dialogues.read(path), name, path)
    if not found.answers:
        raise ValueError(f"{found.place}: the dialogue has no answers; give a finished one, or scripts")
    ends = [at for at, message in enumerate(found.messages) if message["role"] == "assistant"]
    return list(found.messages[: ends[: turns or len(ends)][-1] + 1])


def _chosen(some: list[Any], name: str | None, path: Path) -> Any:
    for one in some:
        if name is None or one.id == name:
            return one
    raise ValueError(f"{path}: no dialogue has the id {name!r}; the first is {some[0].id!r}")


def _holds_scripts(path: Path) -> bool:
    if path.suffix != ".jsonl" or not path.is_file():
        return False
    with path.open(encoding="utf-8") as file:
        first = file.readline()
    try:
        return "checks" in json.loads(first)
    except ValueError:
        return False


def _tell(where: Layout, maps: dict[str, Map], out: Path, as_json: bool) -> None:
    figures = {
        name: {"instruction_share_by_turn": one.share_by_turn, "instruction_peak_by_turn": one.peak_by_turn}
        for name, one in maps.items()
    }
    if as_json:
        click.echo(json.dumps({"tokens": len(where.ids), "picture": str(out), "models": figures}))
        return
    click.echo(f"{len(where.ids)} tokens, {len(where.answers)} turns: {out}, numbers in {out.with_suffix('.json')}")
    for name, one in maps.items():
        first, last = one.share_by_turn[0], one.share_by_turn[-1]
        if first is not None and last is not None:
            click.echo(f"  {name}: the instruction gets {first:.1%} of the attention in turn 1, {last:.1%} in the last")
