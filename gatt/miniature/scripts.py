"""Scripts drawn from the miniature's world, split by attribute and by family."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gatt.instructions import CANCELLED, CHANGED_SPLITS, PLAIN, REPLACED, TUNED, UNSEEN_ATTRIBUTES, UNSEEN_FAMILIES
from gatt.miniature.families import BY_NAME, FAMILIES, Family
from gatt.miniature.world import CANCELLED as CANCELLED_REPLY
from gatt.miniature.world import CANCELS, CANCELS_UNSEEN, Instruction, ask, compatible, word
from gatt.miniature.world import PLAIN as PLAIN_REPLY
from gatt.script import Change, Script, Turn

#: How often two instructions are given at once.
_PAIRS = 0.25

#: Languages are few and change the whole answer, so tuning sees that family more often than the others.
_TUNED_WEIGHTS = {"language": 4.0}


#: How often a dialogue in which an instruction is replaced has none at its head; also what is left where no unseen
#: instruction can take the old one's place.
_LATE, _TRIES = 0.25, 200

#: A reply without any instruction, or the word that one is given up.
_LET_GO = {"kind": "regex", "pattern": rf"{PLAIN_REPLY}|^{CANCELLED_REPLY.replace('.', '[.]')}$"}
_ACKNOWLEDGED = {"kind": "contains", "text": CANCELLED_REPLY}


def draw(split: str, n: int, turns: int, unseen_families: Sequence[str], seed: str, changed: str = "") -> list[Script]:
    """`n` scripts of `turns` turns; the same arguments give the same scripts.

    `tuned` draws tuned attributes of tuned families, `unseen_attributes` unseen attributes of tuned families,
    `unseen_families` one held-out family after the other with any of its attributes, `plain` no instruction.
    `cancelled` and `replaced` draw unseen attributes and a change on the way; `changed` names such a change for
    another split.

    Raises:
        ValueError: an unknown split, a family that the world does not have, or too few turns for a change.
    """
    change = split if split in CHANGED_SPLITS else changed
    if change and turns < 2:
        raise ValueError(f"{change!r} needs dialogues of at least 2 turns, not {turns}")
    for name in unseen_families:
        if name not in BY_NAME:
            raise ValueError(f"unknown family {name!r}; choose among {', '.join(BY_NAME)}")
    rng = random.Random("/".join(filter(None, (seed, split, changed))))
    drawn = [_script(split, index, turns, unseen_families, rng) for index in range(n)]
    return [_with_change(script, change, unseen_families, rng) for script in drawn] if change else drawn


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
        checks=_checks(instruction),
        turns=tuple(Turn(question.text, question.fact_check, question.answer()) for question in questions),
    )


def _checks(instruction: Instruction | None) -> tuple[dict[str, Any], ...]:
    return tuple(instruction.checks) if instruction else ({"kind": "regex", "pattern": PLAIN_REPLY},)


def _with_change(script: Script, change: str, unseen_families: Sequence[str], rng: random.Random) -> Script:
    """The script with its instruction cancelled or replaced, evenly anywhere from turn 2 to the last but one."""
    at = rng.randrange(1, max(2, len(script.turns) - 1))
    if change == CANCELLED:
        words = CANCELS_UNSEEN if script.split == CANCELLED else CANCELS[: -len(CANCELS_UNSEEN)]
        turns = list(script.turns)
        turns[at] = Turn(rng.choice(words), _ACKNOWLEDGED, CANCELLED_REPLY)
        return replace(script, turns=tuple(turns), changes=(Change(at, None, (_LET_GO,)),))
    if change != REPLACED:
        raise ValueError(f"unknown change {change!r}: choose {' or '.join(CHANGED_SPLITS)}")
    drawn = (_instruction(script.split, 0, unseen_families, rng) for _ in range(_TRIES))
    new = next((one for one in drawn if _displaces(one, script)), None)
    if new is None or rng.random() < _LATE:
        new = new or _instruction(script.split, 0, unseen_families, rng)
        script = replace(script, instruction=None, families=(), attributes=(), checks=_checks(None))
    return replace(
        script,
        families=script.families + tuple(name for name, _ in new.parts),
        attributes=script.attributes + tuple(value for _, value in new.parts),
        changes=(Change(at, new.text, _checks(new)),),
    )


def _displaces(new: Instruction, script: Script) -> bool:
    """Whether nothing of the old instruction can hold beside the new one, which is another."""
    old = [BY_NAME[name] for name in script.families]
    another = not set(new.parts) & set(zip(script.families, script.attributes, strict=True))
    return another and all(not any(compatible(one, family) for one in old) for family in new.families)


def _instruction(split: str, index: int, unseen_families: Sequence[str], rng: random.Random) -> Instruction:
    if split == UNSEEN_FAMILIES:
        family = BY_NAME[unseen_families[index % len(unseen_families)]]
        return word([(family.name, rng.choice(family.values))], rng)
    if split not in (TUNED, UNSEEN_ATTRIBUTES, *CHANGED_SPLITS):
        raise ValueError(f"unknown split {split!r}")
    pool = [family for family in FAMILIES if family.name not in unseen_families and _values(family, split)]
    weights = [_TUNED_WEIGHTS.get(family.name, 1.0) if split == TUNED else 1.0 for family in pool]
    chosen = rng.choices(pool, weights)
    partners = [family for family in pool if compatible(chosen[0], family)]
    if partners and rng.random() < _PAIRS:
        chosen.append(rng.choice(partners))
    return word([(family.name, rng.choice(_values(family, split))) for family in chosen], rng)


def _values(family: Family, split: str) -> tuple[str, ...]:
    return (family.tuned or ("",)) if split == TUNED else family.unseen
