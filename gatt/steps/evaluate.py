"""`evaluate`: base and tuned model, once and in every turn, on what tuning never saw."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gatt import evaluate, files, instructions, report, sampling, script
from gatt.stage import Context
from gatt.steps.data import splits


def work(context: Context, out: Path) -> None:
    """Writes results.json."""
    read = {split: script.read(context.folder("instructions") / f"{split}.jsonl") for split in splits(context.recipe)}
    results = files.result_head(f"gatt evaluate {context.recipe.name}")
    results["splits"] = _held(context, context.recipe.tuned_folder, "tuned", "once", read)
    attributes = instructions.UNSEEN_ATTRIBUTES
    repeated = {split: some for split, some in read.items() if split != instructions.PLAIN}
    base = context.recipe.base_folder
    results["base"] = {
        "once": _held(context, base, "base", "once", {attributes: read[attributes]}),
        "every-turn": _held(context, base, "base", "every-turn", repeated),
    }
    files.write_text(out / "results.json", json.dumps(results, indent=1) + "\n")


def _held(
    context: Context, folder: Path, name: str, strategy: str, read: dict[str, list[script.Script]]
) -> dict[str, Any]:
    how = context.recipe.evaluate
    model, tokenizer = sampling.load(str(folder), context.recipe.dtype)
    label = f"evaluate, {name} {strategy}"

    def held(split: str, some: list[script.Script]) -> dict[str, Any]:
        chosen = some if split == instructions.UNSEEN_FAMILIES else some[: how.conversations]
        conversations = evaluate.converse(
            model, tokenizer, chosen, strategy, how.turns, how.max_new_tokens,
            lambda done, total: context.bars.show(f"{label} {split}", done, total),
        )  # fmt: skip
        found = evaluate.summary(conversations)
        context.bars.say(f"{label} {split}: lowest turn, facts: {', '.join(report.cells(found)[-2:])}")
        return found

    return {split: held(split, some) for split, some in read.items()}
