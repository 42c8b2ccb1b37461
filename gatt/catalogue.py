"""Instructions for any model: what it knows itself (figures, hobbies), and families from a file.

The lists of figures and hobbies come from the model that is to be tuned, so that it knows them (Llama 2 paper, section
3.3). Families are written in TOML (`[[family]]`) or JSON Lines:

    [[family]]
    name = "figure"
    ask = "Name {n} well-known public figures, one on each line."   # values from the model; or values = ["…"]
    phrasings = ["Act as {v}.", "Always act as {v} from now."]
    short = "Figure: {v}."
    slot = "identity"                                               # families of one slot never combine
    probe = "What is your name?"                                    # asked beside the conversation, after each turn
    probe_check = { kind = "contains", text = "{last}", ignore_case = true }
    check = { kind = "contains", text = "…" }                       # must hold in every answer

`{v}` is the value, `{last}` its last word. A family without values is on or off.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adherence import CheckError, parse
from gatt import files
from gatt.instructions import PLAIN, TUNED, UNSEEN_ATTRIBUTES, UNSEEN_FAMILIES
from gatt.journal import Journal
from gatt.samplers.base import Draw, Sampler
from gatt.script import Probe, Script, Turn
from gatt.synthesize import SynthesisError, candidates, told

_LONGEST_WORDS, _LONGEST_CHARACTERS = 6, 48
_PER_ASK = 40


class CatalogueError(ValueError):
    """A file of families, or a model's answer, that no instructions can be made of."""


class Family(BaseModel):
    """One kind of instruction."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9-]+$")
    phrasings: tuple[str, ...] = Field(min_length=1)
    short: str
    values: tuple[str, ...] = ()
    ask: str | None = None
    slot: str | None = None
    check: dict[str, Any] | None = None
    probe: str | None = None
    probe_check: dict[str, Any] | None = None

    def model_post_init(self, _context: Any) -> None:
        if self.ask and "{n}" not in self.ask:
            raise ValueError("ask must hold {n}, the number of values wanted")
        if (self.probe is None) != (self.probe_check is None):
            raise ValueError("probe and probe_check belong together: give both or none")
        for check in filter(None, (self.check, self.probe_check)):
            try:
                parse(_filled(check, self.values[0] if self.values else "x"))
            except CheckError as error:
                raise ValueError(str(error)) from error


@dataclass(frozen=True)
class Drawn:
    """One instruction as the user words it, with what tells whether it is kept."""

    families: tuple[str, ...]
    attributes: tuple[str, ...]
    text: str
    short: bool
    checks: tuple[dict[str, Any], ...]
    probes: tuple[Probe, ...]


def read(path: Path) -> list[Family]:
    """The families of a TOML or JSON Lines file.

    Raises:
        CatalogueError: naming file, family and key.
    """
    try:
        if path.suffix == ".jsonl":
            tables: Any = files.read_jsonl(path)
        else:
            tables = tomllib.loads(path.read_text(encoding="utf-8")).get("family", [])
    except OSError as error:
        raise CatalogueError(f"{path}: cannot be read ({error.strerror}); give a file of families") from error
    except ValueError as error:
        raise CatalogueError(f"{path}: {error}") from error
    if not isinstance(tables, list):
        raise CatalogueError(f"{path}: family must be a list of tables; write [[family]]")
    families = [_family(path, number, table) for number, table in enumerate(tables, start=1)]
    if not families:
        raise CatalogueError(f"{path}: holds no family; give at least one [[family]]")
    twins = sorted({one.name for one in families if sum(other.name == one.name for other in families) > 1})
    if twins:
        raise CatalogueError(f"{path}: family {twins[0]!r} is there twice; give each a name of its own")
    return families


def _family(path: Path, number: int, table: Any) -> Family:
    try:
        return Family.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "family"
        raise CatalogueError(f"{path}: family {number}: {key}: {first['msg'].removeprefix('Value error, ')}") from error


def ask(
    families: Sequence[Family], sampler: Sampler, folder: Path, wanted: int, least: int, seed: str, asks: int = 8
) -> list[Family]:
    """The families with their values filled in: those that have an `ask` get them from the model.

    The model is asked up to `asks` times until `wanted` different values are there; every answer is kept in
    `folder/answers.jsonl`, and none is asked for twice.

    Raises:
        CatalogueError: a family got fewer than `least` values.
        SynthesisError: the model could not be asked.
    """
    filled = []
    with Journal(folder / "answers.jsonl") as journal:
        for family in families:
            if family.ask is None:
                filled.append(family)
                continue
            values = list(distinct(family.values))
            for number in range(asks):
                if len(values) >= wanted:
                    break
                answer = _answer(family.ask, family.name, number, sampler, journal, seed)
                values = list(distinct([*values, *listed(answer)]))
            if len(values) < least:
                raise CatalogueError(
                    f"family {family.name!r}: asked {asks} times, the model named {len(values)} values and {least} are "
                    f"needed; its answers are in {folder / 'answers.jsonl'}; give values in the file of families"
                )
            filled.append(family.model_copy(update={"values": tuple(values[:wanted])}))
    return filled


def _answer(question: str, family: str, number: int, sampler: Sampler, journal: Journal, seed: str) -> str:
    prompt = [{"role": "user", "content": question.format(n=_PER_ASK)}]
    draw = Draw(1, 0.0 if number == 0 else 1.0, 16 * _PER_ASK, f"{seed}/{family}/{number}")
    found, failures = candidates(sampler, journal, f"ask {number + 1}", [family], [prompt], draw)
    if failures:
        raise SynthesisError(told(failures))
    return next(iter(found[family]), "")


def listed(answer: str) -> list[str]:
    """The items of a list as models write them: numbered, bulleted, starred, with or without remarks behind."""
    items = []
    for line in answer.splitlines() if "\n" in answer.strip() else answer.split(","):
        item = re.sub(r"^\s*(?:[-*•–]|\(?\d+[.):])\s*", "", line).strip()
        item = re.split(r"\s[–—-]\s|:\s|\s\(", item.replace("*", "").replace("_", " "))[0]
        item = item.strip().strip("\"'“”‘’.,;").strip()
        if item and item[-1] not in "?!:" and len(item) <= _LONGEST_CHARACTERS and len(item.split()) <= _LONGEST_WORDS:
            items.append(item)
    # A first or last line with a verb ("Here are forty figures:") is longer than an item or ends with a colon.
    return [item for item in items if not re.match(r"(?i)(here|sure|these|okay|certainly)\b", item)]


def distinct(values: Iterable[str]) -> list[str]:
    """Values once each, whatever their case and accents around them, in their order."""
    seen: dict[str, str] = {}
    for value in values:
        seen.setdefault(" ".join(value.casefold().split()), value)
    return list(seen.values())


@dataclass(frozen=True)
class Split:
    """Which families and values each split draws from."""

    tuned: tuple[Family, ...]
    unseen_attributes: tuple[Family, ...]
    unseen_families: tuple[Family, ...]


def split(families: Sequence[Family], unseen_families: Sequence[str], unseen_share: float, seed: str) -> Split:
    """Holds out families by name, and of the others a share of their values.

    Raises:
        CatalogueError: a name that is no family, or nothing left for a split.
    """
    names = [family.name for family in families]
    for name in unseen_families:
        if name not in names:
            raise CatalogueError(f"unseen_families: there is no family {name!r}; there are {', '.join(names)}")
    tuned, held = [], []
    for family in families:
        if family.name in unseen_families:
            continue
        values = list(family.values)
        random.Random(f"{seed}/{family.name}").shuffle(values)
        cut = max(1, round(unseen_share * len(values))) if len(values) > 1 else 0
        tuned.append(family.model_copy(update={"values": tuple(values[cut:])}))
        if cut:
            held.append(family.model_copy(update={"values": tuple(values[:cut])}))
    unseen = tuple(family for family in families if family.name in unseen_families)
    if not (tuned and held and unseen):
        raise CatalogueError("each split needs a family: give several, some with two values or more, and hold one out")
    return Split(tuple(tuned), tuple(held), unseen)


def draw(families: Sequence[Family], n: int, pairs: float, seed: str, in_turn: bool = False) -> list[Drawn]:
    """`n` instructions, a share of `pairs` of them two families at once, every other one shortened.

    With `in_turn` families take turns, so that each is tested as often as the others.
    """
    rng = random.Random(seed)
    drawn = []
    for number in range(n):
        first = families[number % len(families)] if in_turn else rng.choice(families)
        partners = [family for family in families if family.name != first.name and not _one_slot(first, family)]
        chosen = [first, rng.choice(partners)] if partners and rng.random() < pairs else [first]
        drawn.append(_worded(chosen, bool(number % 2), rng))
    rng.shuffle(drawn)
    return drawn


def _one_slot(first: Family, second: Family) -> bool:
    return first.slot is not None and first.slot == second.slot


def _worded(families: Sequence[Family], short: bool, rng: random.Random) -> Drawn:
    values = [rng.choice(family.values) if family.values else "" for family in families]
    texts, checks, probes = [], [], []
    for family, value in zip(families, values, strict=True):
        texts.append((family.short if short else rng.choice(family.phrasings)).replace("{v}", value))
        if family.check is not None:
            checks.append(_filled(family.check, value))
        if family.probe is not None and family.probe_check is not None:
            probes.append(Probe(family.probe, (_filled(family.probe_check, value),)))
    names = tuple(family.name for family in families)
    return Drawn(names, tuple(values), " ".join(texts), short, tuple(checks), tuple(probes))


def _filled(check: Any, value: str) -> Any:
    """A check with `{v}` and `{last}` filled in, however deep."""
    if isinstance(check, str):
        return check.replace("{v}", value).replace("{last}", value.split()[-1] if value.split() else "")
    if isinstance(check, dict):
        return {key: _filled(part, value) for key, part in check.items()}
    if isinstance(check, list | tuple):
        return [_filled(part, value) for part in check]
    return check


def scripts(drawn: Sequence[Drawn | None], turns: Sequence[Sequence[Turn]], split_name: str) -> list[Script]:
    """A script for each instruction (None: a plain one), the user turns taken in order and again from the start."""
    made = []
    for number, one in enumerate(drawn):
        script = Script(f"{split_name}-{number:05d}", split_name, (), (), None, (), tuple(turns[number % len(turns)]))
        if one is not None:
            script = replace(
                script, families=one.families, attributes=one.attributes, instruction=one.text, checks=one.checks,
                probes=one.probes,
            )  # fmt: skip
        made.append(script)
    return made


SPLIT_NAMES = (TUNED, UNSEEN_ATTRIBUTES, UNSEEN_FAMILIES, PLAIN)
