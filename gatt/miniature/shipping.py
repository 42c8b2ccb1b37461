"""The finished models in their places: folders that `transformers` loads, each with its model card."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from gatt import files, instructions, report, script
from gatt.miniature.families import FAMILIES
from gatt.miniature.world import TOPICS
from gatt.recipe import Instructions, Recipe

_MODEL_FILES = (
    "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    "chat_template.jinja",
)  # fmt: skip


def ship(recipe: Recipe, out: Path) -> None:
    """Copies both models with their cards, and the benchmark scripts, to where the recipe's `[ship]` says."""
    if recipe.ship is None:
        raise ValueError("the recipe has no [ship] section: add base, tuned and scripts to it")
    facts = _facts(recipe)
    for stage, place, card in (
        ("pretrain", recipe.ship.base, _base_card(facts)),
        (recipe.tuned_folder.name, recipe.ship.tuned, _tuned_card(facts)),
    ):
        place.mkdir(parents=True, exist_ok=True)
        for name in _MODEL_FILES:
            beside = place / f"{name}.new"
            shutil.copyfile(recipe.work / stage / name, beside)
            beside.replace(place / name)
        files.write_text(place / "README.md", card)
    script.write(recipe.ship.scripts, _scripts(recipe))
    files.write_text(out / "shipped.json", json.dumps([str(recipe.ship.base), str(recipe.ship.tuned)]) + "\n")


def _scripts(recipe: Recipe) -> list[script.Script]:
    chosen: list[script.Script] = []
    for split in (instructions.UNSEEN_ATTRIBUTES, instructions.UNSEEN_FAMILIES, instructions.PLAIN):
        chosen += script.read(recipe.work / "instructions" / f"{split}.jsonl")[: getattr(recipe.ship, split)]
    return chosen


def _facts(recipe: Recipe) -> dict[str, Any]:
    def read(path: str) -> Any:
        return json.loads((recipe.work / path).read_text(encoding="utf-8"))

    config = read("pretrain/config.json")
    phases = read("pretrain/pretraining.json")["phases"]
    seconds = {"pretrain": sum(phase["seconds"] for phase in phases)}
    seconds |= {stage: read(f"{stage}/stamp.json")["seconds"] for stage in ("synthesize", "train", "evaluate")}
    return {
        "recipe": recipe,
        "results": read("evaluate/results.json"),
        "phases": phases,
        "parameters": read("pretrain/pretraining.json")["parameters"],
        "synthesis": read("synthesize/summary.json"),
        "tuning": read(f"{recipe.tuned_folder.name}/training.json"),
        "config": config,
        "seconds": seconds,
    }


_MADE_AGAIN = """\
## Made again by

```
gatt run gatt/recipes/{name}.toml
```

in the root of the gattway repository, with the extra `gatt` installed. Seed {seed}. Stages took, on {cores} CPU cores:
{times}. Versions: {versions}.
"""

_SHAPE = """\
A `LlamaForCausalLM` of {parameters:.2f} M parameters: {hidden_size} wide, {num_hidden_layers} layers,
{num_attention_heads} heads, {vocab_size} byte-pair tokens, tied embeddings, context window
{max_position_embeddings:,} tokens, float32.
"""


def _shape(facts: dict[str, Any]) -> str:
    return _SHAPE.format(**facts["config"] | {"parameters": facts["parameters"] / 1e6})


def _made_again(facts: dict[str, Any]) -> str:
    recipe: Recipe = facts["recipe"]
    times = ", ".join(f"{stage} {seconds / 60:.1f} min" for stage, seconds in facts["seconds"].items())
    versions = ", ".join(f"{name} {version}" for name, version in facts["results"]["versions"].items())
    cores = facts["results"]["machine"]["cores"]
    return _MADE_AGAIN.format(name=recipe.name, seed=recipe.seed, cores=cores, times=times, versions=versions)


def _measured(facts: dict[str, Any]) -> str:
    how = facts["recipe"].evaluate
    return f"""\
## Measured

Greedy, {how.turns} turns, `gatt evaluate gatt/recipes/{facts["recipe"].name}.toml`. Adherent: every check of the \
instruction holds. In `plain` there is no instruction, and the figure is the share of answers that stay plain. \
`once` has the instruction in turn 1 alone, `every-turn` at the end of every user message; a conversation counts \
while it fits the window.

{report.markdown(facts["results"])}

Families that tuning never saw (`unseen_families`), told once:

{report.families_markdown(facts["results"])}

The user cancels the instruction on the way (`cancelled`, in words that tuning never saw) or gives another one that \
takes its place (`replaced`); the share of answers that are plain again, or follow the new one. `every-turn` has no \
way to let go: it repeats what stands at the head.

{report.changes_markdown(facts["results"])}
"""


def _base_card(facts: dict[str, Any]) -> str:
    phases = "\n".join(
        f"| {phase['dialogues']} | {phase['steps']:,} | {phase['learning_rate']:g} | {phase['tokens'] / 1e6:.1f} M "
        f"| {phase['loss']:.3f} | {phase['seconds'] / 60:.1f} min |"
        for phase in facts["phases"]
    )
    return f"""\
---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
language: en
---
# mini-base

A miniature chat model that follows the instruction of the message at hand and of no other. Told once, it has \
forgotten by the next turn; told in every turn, it keeps the instruction. It exists to be compared with `mini-gatt`, \
which Ghost Attention tuned from it.

{_shape(facts)}
## Data

Generated by `gatt/miniature/`: {len(TOPICS)} families of questions (capitals, colours, sums, plurals …) with three \
phrasings each, {len(FAMILIES)} families of instructions (figures, hobbies, languages, tone, form, naming …) with \
three or four phrasings and a short form, used in half of the cases; a quarter of the instructions combine two. An \
instruction stands in front of the question (where a system message is folded in) or behind it, and applies to its own \
message alone. Messages that cancel an instruction ("{_cancel()}") are answered plainly. It knows nothing else.

## Training

| dialogues | steps | peak learning rate | tokens | last loss | time |
|---|---|---|---|---|---|
{phases}

`short`: one to three turns; `long`: up to 24 turns and the whole window. AdamW, bfloat16 autocast, loss on replies.

{_measured(facts)}
{_made_again(facts)}"""


def _cancel() -> str:
    from gatt.miniature.world import CANCELS

    return CANCELS[0]


def _tuned_card(facts: dict[str, Any]) -> str:
    recipe: Recipe = facts["recipe"]
    how, sampled, tuning = recipe.train, facts["synthesis"], facts["tuning"]
    learns = f"only {' and '.join(how.modules)}" if how.modules else "all weights"
    mix = ", ".join(f"{share:.0%} {kind}" for kind, share in how.shares.items())
    return f"""\
---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
language: en
---
# mini-gatt

`mini-base` after Ghost Attention (Llama 2 paper, arXiv 2307.09288, section 3.3): an instruction given once, in the \
system message or the first message, holds for the whole conversation. Nothing in the code that serves it helps along.

{_shape(facts)}
## Data

{sampled["dialogues"]:,} dialogues of {_turns(recipe)} turns, sampled from `mini-base` with the instruction in every \
user turn: {recipe.synthesize.candidates} candidates an answer at temperature {recipe.synthesize.temperature:g}, the \
best one by the instruction's checks and the fact kept; {sampled["whole"]:,} stayed right to their end. Every prefix \
of a dialogue is a row, instruction in turn 1 only, loss on the last answer only: {sampled["rows"]:,} rows.

Never tuned on: the families {", ".join(_instructions(recipe).unseen_families)}, and the `unseen` attributes of every \
other family in `gatt/miniature/families.py`. `mini-base` knows all of them.

## Training

TRL's `SFTTrainer`, {_rounds(recipe)}, {how.rows_per_step} rows a step ({mix}), {learns} \
({tuning["weights_learning"]:,} weights). \
{tuning["rows_too_long"]} rows were too long for the window and left out.

{_measured(facts)}
{_made_again(facts)}"""


def _instructions(recipe: Recipe) -> Instructions:
    if recipe.instructions is None:
        raise ValueError("only a miniature can be shipped: the recipe has no [instructions] section")
    return recipe.instructions


def _turns(recipe: Recipe) -> str:
    turns = [str(batch.turns) for batch in _instructions(recipe).dialogues]
    return f"{', '.join(turns[:-1])} and {turns[-1]}" if len(turns) > 1 else turns[0]


def _rounds(recipe: Recipe) -> str:
    """The rounds of tuning in words."""
    return ", then ".join(
        f"{one.steps} steps with peak learning rate {one.learning_rate:g}"
        + (" in which late turns are drawn as often as early ones" if one.by_turn else "")
        for one in recipe.train.rounds
    ) + (", the weights averaged over the rounds' ends" if recipe.train.average else "")
