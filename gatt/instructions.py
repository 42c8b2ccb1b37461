"""Instructions and their splits: what tuning may see, which attributes it must not, which families it must not.

Splits are by attribute (a figure, a hobby that no tuned row names) and by family (a kind of instruction that no tuned
row holds at all). `assert_disjoint` holds them apart over the scripts themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from gatt.script import Script

TUNED, UNSEEN_ATTRIBUTES, UNSEEN_FAMILIES, PLAIN = "tuned", "unseen_attributes", "unseen_families", "plain"
CANCELLED, REPLACED = "cancelled", "replaced"
SPLITS = (TUNED, UNSEEN_ATTRIBUTES, UNSEEN_FAMILIES, PLAIN)
CHANGED_SPLITS = (CANCELLED, REPLACED)
"""Conversations in which the user takes the instruction back, or gives another one; unseen attributes throughout."""


class SplitError(ValueError):
    """Something that was to be held out of tuning is in it."""


def assert_disjoint(tuned: Sequence[Script], held_out: Sequence[Script]) -> None:
    """Holds that tuning scripts name no attribute and no family that `held_out` tests.

    Raises:
        SplitError: naming what is in both.
    """
    families = {family for script in tuned for family in script.families}
    attributes = {pair for script in tuned for pair in zip(script.families, script.attributes, strict=True)}
    for script in held_out:
        pairs = set(zip(script.families, script.attributes, strict=True))
        if script.split == UNSEEN_FAMILIES and families & set(script.families):
            raise SplitError(f"{script.id}: family {', '.join(families & set(script.families))} is tuned on too")
        if script.split in (UNSEEN_ATTRIBUTES, *CHANGED_SPLITS) and attributes & pairs:
            raise SplitError(f"{script.id}: attribute {attributes & pairs} is tuned on too")


def mentions(texts: Iterable[str], attributes: Iterable[str]) -> dict[str, str]:
    """Attributes that occur in texts as words of their own, each with the first text that holds it."""
    patterns = {attribute: re.compile(rf"(?<!\w){re.escape(attribute)}(?!\w)") for attribute in attributes}
    found: dict[str, str] = {}
    for text in texts:
        for attribute, pattern in patterns.items():
            if attribute not in found and pattern.search(text):
                found[attribute] = text
    return found
