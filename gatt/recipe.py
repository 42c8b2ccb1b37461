"""A recipe: everything that decides what comes out, in one TOML file.

A recipe either makes its model from nothing ([pretrain] and [instructions]: the miniature) or tunes one that exists
([model], [dialogues] and [catalogue]; or [model] and [instructions] for a model that knows the miniature's world). All
other sections are the same for all.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gatt.miniature.pretrain import Phase, Shape
from gatt.reward import MARGINS, Learning
from gatt.samplers.endpoint import Endpoint
from gatt.synthesize import Sampling
from gatt.tuning.settings import Tuning


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
    """So many dialogues of so many turns, for tuning; in some the instruction is cancelled or replaced on the way."""

    turns: int
    instructed: int
    plain: int
    cancelled: int = 0
    replaced: int = 0


@dataclass(frozen=True)
class HeldOut:
    """How many scripts of how many turns each held-out split gets."""

    unseen_attributes: int = 100
    unseen_families: int = 120
    plain: int = 100
    cancelled: int = 100
    replaced: int = 100
    turns: int = 48


class Model(_Section):
    """The chat model to be tuned: a folder that `transformers` loads, or a name on the hub."""

    path: str
    dtype: Literal["float32", "bfloat16"] = "float32"


class Dialogues(_Section):
    """Where user turns come from: a file or folder that `gatt/dialogues.py` reads. A share of them is for testing."""

    path: Path
    held_out: float = Field(default=0.1, gt=0, lt=1)
    max_turns: int = Field(default=20, ge=1)


@dataclass(frozen=True)
class Counts:
    """How many scripts each split gets; `tuned` and `plain` are sampled for tuning, the others are held."""

    tuned: int = 1000
    plain: int = 250
    unseen_attributes: int = 100
    unseen_families: int = 100


class Catalogue(_Section):
    """Instructions for a model that exists: `families` is a file as `gatt/catalogue.py` describes it."""

    families: Path
    unseen_families: tuple[str, ...] = Field(min_length=1)
    unseen_share: float = Field(default=0.2, gt=0, lt=1)
    values: int = Field(default=100, ge=2)
    least_values: int = Field(default=8, ge=2)
    pairs: float = Field(default=0.25, ge=0, le=1)
    scripts: Counts = Counts()


class Reward(_Section):
    """Reward models. Without files of preferences the miniature's world makes `world_pairs` of each kind."""

    helpfulness: Path | None = None
    safety: Path | None = None
    world_pairs: int = Field(default=2000, ge=2)
    held_out: float = Field(default=0.1, gt=0, lt=1)
    margins: tuple[str, ...] = ("none", "small", "large")
    use: str = "small"
    learning: Learning = Learning()

    @model_validator(mode="after")
    def _known(self) -> Self:
        for margin in (*self.margins, self.use):
            if margin not in MARGINS:
                raise ValueError(f"margins are {', '.join(MARGINS)}, not {margin!r}")
        if self.use not in self.margins:
            raise ValueError(f"use = {self.use!r} must be one of margins")
        return self


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
    pretrain: Pretraining | None = None
    instructions: Instructions | None = None
    model: Model | None = None
    dialogues: Dialogues | None = None
    catalogue: Catalogue | None = None
    endpoint: Endpoint | None = None
    samplings: int = Field(default=1, ge=1)
    """How often dialogues are sampled anew from the latest model and tuned on."""
    synthesize: Sampling = Sampling()
    reward: Reward | None = None
    train: Tuning = Tuning()
    evaluate: Evaluation = Evaluation()
    ship: Shipping | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        _check_kind(self)
        if self.reward is None and self.synthesize.scorer != "checks":
            raise ValueError(f"synthesize.scorer = {self.synthesize.scorer!r} needs a [reward] section; add one")
        if self.train.objective == "dpo" and not self.synthesize.contrast:
            raise ValueError("train.objective = 'dpo' needs synthesize.contrast = true")
        if self.train.objective == "sdft" and not self.synthesize.placed:
            raise ValueError("train.objective = 'sdft' needs synthesize.placed = true")
        if self.samplings > 1 and self.endpoint is not None:
            raise ValueError("samplings above 1 sample from the model just tuned, in process; take [endpoint] out")
        if self.samplings > 1 and self.train.lora is not None and not self.train.lora.merge:
            raise ValueError("samplings above 1 need train.lora.merge = true")
        return self

    @property
    def base_folder(self) -> Path:
        """The model before tuning."""
        return Path(self.model.path) if self.model else self.work / "pretrain"

    @property
    def tuned_folder(self) -> Path:
        """The model after the last round of tuning."""
        return self.work / numbered("train", self.samplings)

    @property
    def dtype(self) -> str:
        """What the weights are loaded as."""
        return self.model.dtype if self.model else "float32"


def numbered(stage: str, sampling: int) -> str:
    """The name of a stage in the given round of fresh sampling, counted from 1: "train", "train-2" …"""
    return stage if sampling == 1 else f"{stage}-{sampling}"


def _check_kind(recipe: Recipe) -> None:
    """Holds that the sections make one recipe: a miniature, or a model that exists."""
    if recipe.model is None and recipe.pretrain is None:
        raise ValueError("no model: add [model] with the path of a chat model, or [pretrain] for the miniature")
    start = "model" if recipe.model is not None else "pretrain"
    world: dict[str, BaseModel | None] = {"instructions": recipe.instructions}
    own: dict[str, BaseModel | None] = {"dialogues": recipe.dialogues, "catalogue": recipe.catalogue}
    of_world = recipe.model is None or recipe.instructions is not None
    wanted, others = (world, own) if of_world else (own, world)
    if recipe.model is not None:
        others = others | {"pretrain": recipe.pretrain}
    for name, section in wanted.items():
        if section is None:
            raise ValueError(f"[{name}] is missing; add it")
    for name, section in others.items():
        if section is not None:
            beside = start if start == "pretrain" or name == "pretrain" else next(iter(wanted))
            raise ValueError(f"[{name}] does not go with [{beside}]; remove one of them")
    if not of_world and recipe.reward is not None and recipe.reward.helpfulness is None:
        raise ValueError("reward.helpfulness is missing; name a file of preferences")
    if recipe.ship is not None and recipe.pretrain is None:
        raise ValueError("[ship] ships a model made from nothing; remove it, or add [pretrain]")


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
        raise RecipeError(told(path, error)) from error


def told(path: Path, error: ValidationError) -> str:
    """A line for each mistake: file, key and remedy."""
    return "\n".join(_line(path, problem) for problem in error.errors())


_REMEDIES = {
    "missing": "add it",
    "extra_forbidden": "remove it or correct its name",
    "unexpected_keyword_argument": "remove it or correct its name",
}


def _line(path: Path, problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    if not problem["loc"]:
        return f"{path}: {problem['msg'].removeprefix('Value error, ')}"
    if problem["type"] == "value_error":
        return f"{path}: {key}: {problem['msg'].removeprefix('Value error, ')}"
    remedy = _REMEDIES.get(problem["type"], f"{problem['input']!r} does not fit")
    return f"{path}: {key}: {problem['msg'].lower()}; {remedy}"
