"""Scripts drawn from the miniature's world, split by attribute and by family."""

from __future__ import annotations

import random
from collections.abc import Sequence

from gatt.instructions import PLAIN, TUNED, UNSEEN_ATTRIBUTES, UNSEEN_FAMILIES
from gatt.miniature.families import BY_NAME, FAMILIES, Family
from gatt.miniature.world import PLAIN as PLAIN_REPLY
from gatt.miniature.world import Instruction, ask, compatible, word
from gatt.script import Script, Turn

#: How often two instructions are given at once.
_PAIRS = 0.25

#: Languages are few and change the whole answer, so tuning sees that family more often than the others.
_TUNED_WEIGHTS = {"language": 4.0}


def draw(split: str, n: int, turns: int, unseen_families: Sequence[str], seed: str) -> list[Script]:
    """`n` scripts of `turns` turns; the same arguments give the same scripts.

    `tuned` draws tuned attributes of tuned families, `unseen_attributes` unseen attributes of tuned families,
    `unseen_families` one held-out family after the other with any of its attributes, `plain` no instruction.

    Raises:
        ValueError: an unknown split, or a family that the world does not have.
    """
    for name in unseen_families:
        if name not in BY_NAME:
            raise ValueError(f"unknown family {name!r}; choose among {', '.join(BY_NAME)}")
    rng = random.Random(f"{seed}/{split}")
    return [_script(split, index, turns, unseen_families, rng) for index in range(n)]


def _script(split: str, index: int, turns: int, unseen_families: Sequence[str], rng: random.Random) -> Script:
    instruction = None if split == PLAIN else _instruction(split, index, unseen_families, rng)
    questions = [ask(rng) for _ in range(turns)]
    parts = instruction.parts if instruction else ()
    return Script(
        id=f"{split}-{index:03d}",
        split=split,
        families=tuple(name for name, _ in parts),
        attributes=tuple(value for _, value in parts),
        instruction=instruction.text if instruction else None,
        checks=tuple(instruction.checks) if instruction else ({"kind": "regex", "pattern": PLAIN_REPLY},),
        turns=tuple(Turn(question.text, question.fact_check) for question in questions),
    )


def _instruction(split: str, index: int, unseen_families: Sequence[str], rng: random.Random) -> Instruction:
    if split == UNSEEN_FAMILIES:
        family = BY_NAME[unseen_families[index % len(unseen_families)]]
        return word([(family.name, rng.choice(family.values))], rng)
    if split not in (TUNED, UNSEEN_ATTRIBUTES):
        raise ValueError(f"unknown split {split!r}")
    pool = [family for family in FAMILIES if family.name not in unseen_families and _values(family, split)]
    weights = [_TUNED_WEIGHTS.get(family.name, 1.0) if split == TUNED else 1.0 for family in pool]
    chosen = rng.choices(pool, weights)
    partners = [family for family in pool if compatible(chosen[0], family)]
    if partners and rng.random() < _PAIRS:
        chosen.append(rng.choice(partners))
    return word([(family.name, rng.choice(_values(family, split))) for family in chosen], rng)


def _values(family: Family, split: str) -> tuple[str, ...]:
    if split == UNSEEN_ATTRIBUTES:
        return family.unseen
    return family.tuned or ("",)
