"""`pretrain` and the model that a recipe starts from."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from gatt.miniature import pretrain
from gatt.recipe import Recipe
from gatt.stage import Context, StageError, hashed


def work(context: Context, out: Path) -> None:
    """Trains the miniature's base model from nothing."""
    recipe = context.recipe.pretrain
    if recipe is None:
        raise StageError("the recipe tunes a model that exists: it has nothing to pretrain")

    def progress(phase: str, step: int, steps: int, loss: float) -> None:
        context.bars.show(f"pretrain, phase {phase}", step, steps, f"loss {loss:.3f}")

    pretrain.pretrain(
        out,
        recipe.phases,
        recipe.shape,
        context.recipe.seed,
        recipe.tokens_per_step,
        recipe.checkpoint_every,
        recipe.tokenizer_samples,
        progress,
    )


def inputs(recipe: Recipe) -> Any:
    """What decides the base model."""
    return [recipe.pretrain.model_dump() if recipe.pretrain else None, _world()]


def _world() -> str:
    """A fingerprint of what the world makes, so that a changed world makes its stages run again."""
    rng = random.Random(0)
    return hashed([make(rng) for make in pretrain.DIALOGUES.values() for _ in range(200)])


def model(recipe: Recipe) -> Any:
    """A fingerprint of the model that the recipe names, by its files' names, sizes and times; None for a miniature."""
    if recipe.model is None:
        return None
    folder = Path(recipe.model.path)
    seen = [(one.name, one.stat().st_size, one.stat().st_mtime_ns) for one in sorted(folder.glob("*")) if one.is_file()]
    return [recipe.model.path, recipe.model.dtype, seen]
