"""A study file: what all cells share, and the cells."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gatt.miniature.families import BY_NAME, FAMILIES
from gatt.recipe import Batch, RecipeError, told
from gatt.synthesize import Sampling
from gatt.tuning.settings import Lora, Round, Tuning

FIRST_FAMILIES = ("figure", "hobby", "language")
"""Those of the Llama 2 paper: a cell with few families has these before any other."""


def _plain(name: str) -> str:
    """A name as a folder: letters, digits and dots, all else a hyphen."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-")


@dataclass(frozen=True)
class Weights:
    """Which weights may change, and the learning rate that suits them."""

    name: str
    modules: tuple[str, ...] = ()
    learning_rate: float = 1e-3
    lora: Lora | None = None


@dataclass(frozen=True)
class Cell:
    """One variant. Without an objective the base is held as it is, under `strategy`.

    `families` is how many families are tuned on, all but the held-out ones where it is None. With `changes` false no
    dialogue in which the instruction is cancelled or replaced is tuned on.
    """

    group: str
    name: str
    objective: str | None = None
    strategy: str = "once"
    history: str = "resampled"
    families: int | None = None
    weights: str = "q and k"
    changes: bool = True
    learning_rate: float | None = None
    steps: int | None = None

    @property
    def path(self) -> str:
        """Its folder under the study's, without the seed."""
        return f"{_plain(self.group)}/{_plain(self.name)}"


class Grid(BaseModel):
    """Number of tuned families × weights, all with GAtt's objective."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    families: tuple[int, ...] = ()
    weights: tuple[str, ...] = ()

    def cells(self) -> list[Cell]:
        """A cell for each pair."""
        return [
            Cell("families", f"{number} families, {weights}", "sft-last", families=number, weights=weights)
            for weights in self.weights
            for number in self.families
        ]


class Study(BaseModel):
    """The whole study."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    work: Path
    base: Path
    """The model that all cells start from."""
    seeds: tuple[int, ...] = Field(min_length=1)
    unseen_families: tuple[str, ...] = Field(min_length=1)
    dialogues: tuple[Batch, ...] = Field(min_length=1)
    conversations: int = Field(default=60, ge=1)
    turns: int = Field(default=20, ge=2)
    synthesize: Sampling = Sampling()
    train: Tuning = Tuning()
    weights: tuple[Weights, ...] = Field(min_length=1)
    grid: Grid = Grid()
    cell: tuple[Cell, ...] = ()

    @model_validator(mode="after")
    def _known(self) -> Self:
        names = [one.name for one in self.weights]
        for cell in self.cells:
            if cell.weights not in names:
                raise ValueError(f"cell {cell.name!r}: weights are {', '.join(names)}, not {cell.weights!r}")
            if cell.families is not None and not 2 <= cell.families <= len(self.tunable):
                raise ValueError(f"cell {cell.name!r}: families must lie between 2 and {len(self.tunable)}")
            if cell.objective is not None:
                replace(self.train, objective=cell.objective)
        for family in self.unseen_families:
            if family not in BY_NAME:
                raise ValueError(f"unseen_families: the world has no family {family!r}")
        paths = [cell.path for cell in self.cells]
        twins = sorted({path for path in paths if paths.count(path) > 1})
        if twins:
            raise ValueError(f"two cells are called {twins[0]!r}; give each a name of its own")
        return self

    @property
    def cells(self) -> list[Cell]:
        """All cells, the grid's among them."""
        return [*self.cell, *self.grid.cells()]

    @property
    def tunable(self) -> list[str]:
        """Families that are not held out, the paper's first."""
        names = [family.name for family in FAMILIES if family.name not in self.unseen_families]
        return sorted(names, key=lambda name: FIRST_FAMILIES.index(name) if name in FIRST_FAMILIES else 9)

    def chosen(self, only: Sequence[str]) -> list[Cell]:
        """Cells whose path matches any of the patterns ("objective/*"); all without one.

        Raises:
            ValueError: no cell matches.
        """
        found = [cell for cell in self.cells if not only or any(fnmatch(cell.path, pattern) for pattern in only)]
        if not found:
            raise ValueError(f"no cell matches {', '.join(only)}; there are {', '.join(c.path for c in self.cells)}")
        return found

    def scaled(self, scale: float) -> Study:
        """The same study with dialogues, steps and conversations multiplied by `scale`.

        At least a few of each are left, and 40 conversations, for fewer hardly tell two cells apart.
        """
        if scale == 1.0:
            return self

        def some(n: int, least: int) -> int:
            return max(min(n, least), round(scale * n))

        batches = tuple(
            Batch(b.turns, some(b.instructed, 2), some(b.plain, 1), some(b.cancelled, 1), some(b.replaced, 1))
            for b in self.dialogues
        )
        rounds = tuple(Round(some(one.steps, 2), one.learning_rate, one.by_turn) for one in self.train.rounds)
        cells = tuple(replace(one, steps=some(one.steps, 2) if one.steps else None) for one in self.cell)
        return self.model_copy(
            update={
                "work": self.work.with_name(f"{self.work.name}-{scale:g}"),
                "dialogues": batches,
                "conversations": some(self.conversations, 40),
                "train": replace(self.train, rounds=rounds),
                "cell": cells,
            }
        )

    def tuning(self, cell: Cell) -> Tuning:
        """How the cell learns."""
        weights = next(one for one in self.weights if one.name == cell.weights)
        rate = cell.learning_rate or weights.learning_rate
        rounds = tuple(Round(cell.steps or one.steps, rate, one.by_turn) for one in self.train.rounds)
        shares = dict(self.train.shares)
        if not cell.changes:
            shares = {kind: share for kind, share in shares.items() if kind not in ("cancelled", "replaced")}
            shares = {kind: share / sum(shares.values()) for kind, share in shares.items()}
        return replace(
            self.train, objective=cell.objective or "sft-last", modules=weights.modules, lora=weights.lora,
            rounds=rounds, shares=shares,
        )  # fmt: skip


def load(path: Path) -> Study:
    """Reads a study file.

    Raises:
        RecipeError: as `gatt.recipe.load` does.
    """
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        return Study.model_validate(table)
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read ({error.strerror}); give the path of a study") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: not TOML: {error}") from error
    except ValidationError as error:
        raise RecipeError(told(path, error)) from error
