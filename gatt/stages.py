"""The recipe's stages in their order. Each has a folder of its own and is skipped while its inputs stay the same.

    pretrain ─▶ base model ──────────┬───────┬──────┬─────────────────┐
    (or a model that exists)         │       │      │                 │
    instructions ─▶ scripts ─▶ synthesize ─▶ rows ─▶ train ─▶ tuned ─▶ evaluate ─▶ ship
                        │            ▲                        │        │
                        │          reward (optional)          │        │
                        └────────────────────────────────────────────────┘

With `samplings` above 1, `synthesize-2` samples from the model that `train` left, `train-2` tunes that one, and so on.
"""

from __future__ import annotations

from gatt.recipe import Recipe, numbered
from gatt.stage import Context, Stage, StageError, given, run, stamp
from gatt.steps import base, data, evaluate, tuning

__all__ = ["Context", "Stage", "StageError", "of", "run", "stamp"]


def of(recipe: Recipe) -> dict[str, Stage]:
    """The recipe's stages by name, in the order in which `gatt run` takes them."""
    start = ("pretrain",) if recipe.pretrain else ()
    stages = [Stage("pretrain", (), base.inputs, base.work)] if start else []
    stages.append(Stage("instructions", (), lambda recipe: [data.drawn_from(recipe), base.model(recipe)], data.draw))
    rewarded: tuple[str, ...] = ()
    if recipe.reward is not None:
        stages.append(Stage("reward", start, tuning.rewarded_by, tuning.rewards))
        rewarded = ("reward",) if recipe.synthesize.scorer != "checks" else ()
    for number in range(1, recipe.samplings + 1):
        latest = start if number == 1 else (numbered("train", number - 1),)
        sample = Stage(
            numbered("synthesize", number), (*latest, "instructions", *rewarded), _sampled_by, data.sample(number)
        )
        tune = Stage(
            numbered("train", number), (*latest, sample.name), lambda recipe: given(recipe.train),
            tuning.tune(number), several=True,
        )  # fmt: skip
        stages += [sample, tune]
    tested = (*start, stages[-1].name, "instructions")
    stages.append(Stage("evaluate", tested, lambda recipe: recipe.evaluate.model_dump(), evaluate.work))
    if recipe.ship is not None:
        needs = ("pretrain", "synthesize", stages[-2].name, "evaluate")
        stages.append(Stage("ship", needs, lambda recipe: str(recipe.ship), tuning.ship))
    return {stage.name: stage for stage in stages}


def _sampled_by(recipe: Recipe) -> object:
    return [given(recipe.synthesize), given(recipe.endpoint) if recipe.endpoint else None]
