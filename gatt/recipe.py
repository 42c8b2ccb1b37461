"""A recipe: everything that decides what comes out, in one TOML file."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gatt.miniature.pretrain import Phase, Shape
from gatt.synthesize import Sampling
from gatt.train import Tuning


class RecipeError(ValueError):
    """A recipe that cannot be read; each line names file, key and remedy."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Pretraining(_Section):
    """The miniature's base model, trained from nothing."""

    phases: tuple[Phase, ...] = Field(min_length=1)
    shape: Shape = Shape()
    tokens_per_step: int = Field(default=4096, ge=256)
    checkpoint_every: int = Field(default=100, ge=1)
    tokenizer_samples: int = Field(default=12_000, ge=1)


@dataclass(frozen=True)
class Batch:
    """So many dialogues of so many turns, for tuning."""

    turns: int
    instructed: int
    plain: int


@dataclass(frozen=True)
class HeldOut:
    """How many scripts of how many turns each held-out split gets."""

    unseen_attributes: int = 100
    unseen_families: int = 120
    plain: int = 100
    turns: int = 48


class Instructions(_Section):
    """What tuning sees and what it never sees."""

    unseen_families: tuple[str, ...] = Field(min_length=1)
    dialogues: tuple[Batch, ...] = Field(min_length=1)
    held_out: HeldOut = HeldOut()


class Evaluation(_Section):
    """How long the evaluated conversations are, and how many of each split are held."""

    turns: int = Field(default=20, ge=1)
    conversations: int = Field(default=100, ge=1)
    max_new_tokens: int = Field(default=64, ge=1)


class Shipping(_Section):
    """Where the finished models and the benchmark scripts go, relative to the current folder."""

    base: Path
    tuned: Path
    scripts: Path
    unseen_attributes: int = 100
    unseen_families: int = 40
    plain: int = 20


class Recipe(_Section):
    """The whole run. `work` holds the stages' outputs, relative to the current folder."""

    name: str
    seed: int = 0
    work: Path
    pretrain: Pretraining
    instructions: Instructions
    synthesize: Sampling = Sampling()
    train: Tuning = Tuning()
    evaluate: Evaluation = Evaluation()
    ship: Shipping | None = None


def load(path: Path) -> Recipe:
    """Reads a recipe.

    Raises:
        RecipeError: no such file, no TOML, or keys that are missing, unknown or of the wrong type, one line each.
    """
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        return Recipe.model_validate(table)
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read ({error.strerror}); give the path of a recipe") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: not TOML: {error}") from error
    except ValidationError as error:
        raise RecipeError("\n".join(_line(path, problem) for problem in error.errors())) from error


_REMEDIES = {
    "missing": "add it",
    "extra_forbidden": "remove it or correct its name",
    "unexpected_keyword_argument": "remove it or correct its name",
}


def _line(path: Path, problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    remedy = _REMEDIES.get(problem["type"], f"{problem['input']!r} does not fit")
    return f"{path}: {key}: {problem['msg'].removeprefix('Value error, ').lower()}; {remedy}"
