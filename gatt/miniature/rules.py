"""The families' checks as rules of adherence, for the gateway that serves the miniature models.

python -m gatt.miniature.rules > gateway/embedded/checks.toml
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from gatt.miniature.families import FAMILIES, Family
from gatt.miniature.world import Instruction

Rule = dict[str, Any]


def rules() -> list[Rule]:
    """A rule for each family, or for each value of one whose check follows from more than the value's text."""
    return [rule for family in FAMILIES for rule in _of(family)]


def toml() -> str:
    """The same as the text of `checks.toml`."""
    head = "# What the instructions of the miniature world ask for. Made by `python -m gatt.miniature.rules`.\n"
    return head + "".join(f"\n[[checks]]\n{''.join(_lines(rule))}" for rule in rules())


def _of(family: Family) -> Iterator[Rule]:
    wordings = (*family.phrasings, family.short)
    if "{v}" in family.check.get("text", ""):
        values = _either(sorted(family.values, key=len, reverse=True))
        yield {"when": _when(wordings, f"(?P<v>{values})"), **family.check}
        return
    for value in family.values:
        for check in Instruction(((family.name, value),), "").checks:
            yield {"when": _when(wordings, _escaped(value)), **check}


def _when(wordings: Sequence[str], value: str) -> str:
    """A sentence of its own in any of the wordings: what may stand before the value, the value, what may follow."""
    before, after = zip(*(wording.partition("{v}")[::2] for wording in wordings), strict=True)
    return rf"(?:^|(?<=\s))(?:{_either(before)}){value}(?:{_either(after)})(?=\s|$)"


def _either(texts: Sequence[str]) -> str:
    return "|".join(map(_escaped, dict.fromkeys(texts)))


def _escaped(text: str) -> str:
    return re.escape(text).replace("\\ ", " ")


def _lines(rule: Rule) -> Iterator[str]:
    for key, value in rule.items():
        yield f"{key} = {json.dumps(value, ensure_ascii=False)}\n"


if __name__ == "__main__":
    print(toml(), end="")
