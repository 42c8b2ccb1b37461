"""`reward`, `train` and `ship`: the models that come out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from gatt import files, processes, reward, train
from gatt.miniature import preferences
from gatt.recipe import Recipe, Reward, numbered
from gatt.stage import Context, StageError, hashed
from gatt.steps import base


def rewards(context: Context, out: Path) -> None:
    """Trains a reward model for each kind of preference and margin table; writes accuracy.json and accuracy.md."""
    how = context.recipe.reward
    if how is None:
        raise StageError("the recipe has no [reward] section; add one")
    results = {}
    for kind, rows in _preferences(how, str(context.recipe.seed)).items():
        done = out / kind / "accuracy.json"
        if not done.exists():
            figures = _of_kind(context, how, kind, rows, out)
            files.write_text(done, json.dumps(figures) + "\n")
        results[kind] = json.loads(done.read_text(encoding="utf-8"))
    written = files.result_head(f"gatt reward {context.recipe.name}") | {"accuracy": results}
    files.write_text(out / "accuracy.json", json.dumps(written, indent=1) + "\n")
    files.write_text(out / "accuracy.md", reward.markdown(results) + "\n")


def _of_kind(context: Context, how: Reward, kind: str, rows: list[dict[str, Any]], out: Path) -> dict[str, Any]:
    """Held-out accuracy by margin table; the model of the margin in use stays, the others have given their figures."""
    learn, test = reward.held_out(rows, how.held_out, f"{context.recipe.seed}/{kind}")
    figures: dict[str, Any] = {}
    for margin in how.margins:
        folder = out / f"{kind}-{margin}"

        def progress(step: int, steps: int, loss: float, label: str = f"reward, {kind}, margin {margin}") -> None:
            context.bars.show(label, step, steps, f"loss {loss:.3f}")

        start = str(context.recipe.base_folder)
        too_long = reward.train(start, learn, margin, how.learning, folder, context.recipe.seed, progress)
        figures[margin] = reward.accuracy(reward.RewardModel(folder / "model"), test) | {"too_long": too_long}
        right = f"{figures[margin]['all']['accuracy']:.1%} of {len(test)} held-out pairs right"
        context.bars.say(f"reward, {kind}, margin {margin}: {right}")
    (out / kind).mkdir(exist_ok=True)
    shutil.copytree(out / f"{kind}-{how.use}" / "model", out / kind / "model", dirs_exist_ok=True)
    for margin in how.margins:
        shutil.rmtree(out / f"{kind}-{margin}")
    return figures


def _preferences(how: Reward, seed: str) -> dict[str, list[dict[str, Any]]]:
    if how.helpfulness is None:
        made = {"helpfulness": preferences.helpfulness, "safety": preferences.safety}
        return {kind: make(how.world_pairs, seed) for kind, make in made.items()}
    found = {"helpfulness": reward.read(how.helpfulness)}
    return found | ({"safety": reward.read(how.safety)} if how.safety else {})


def tune(number: int) -> Any:
    """The work of tuning on the rows of round `number` of fresh sampling."""

    def work(context: Context, out: Path) -> None:
        recipe = context.recipe
        start = recipe.base_folder if number == 1 else context.folder(numbered("train", number - 1))
        rows = files.read_jsonl(context.folder(numbered("synthesize", number)) / "rows.jsonl")
        figures = train.train(
            start, rows, recipe.train, out / "rounds", recipe.seed,
            lambda step, steps, loss: context.bars.show("train, steps", step, steps, f"loss {loss:.3f}"), recipe.dtype,
        )  # fmt: skip
        if not processes.is_main():
            return
        for path in (out / "rounds" / "tuned").iterdir():
            path.replace(out / path.name)
        shutil.rmtree(out / "rounds")
        files.write_text(out / "training.json", json.dumps(figures) + "\n")
        context.bars.say(f"train: {figures['rows_too_long']} of {figures['rows']} rows left out as too long")

    return work


def ship(context: Context, out: Path) -> None:
    """Puts the miniature's models to their places."""
    from gatt.miniature import shipping

    shipping.ship(context.recipe, out)


def rewarded_by(recipe: Recipe) -> Any:
    """What decides the reward models."""
    how = recipe.reward
    if how is None:
        return None
    if how.helpfulness is None:
        made: Any = hashed(_preferences(how.model_copy(update={"world_pairs": 50}), "fingerprint"))
    else:
        made = [files.seen(path) for path in (how.helpfulness, how.safety) if path]
    return [how.model_dump(mode="json"), made, base.model(recipe)]
