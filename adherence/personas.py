"""Checks of a persona: who the model plays and what it loves.

Most replies say nothing of either, so these checks are mostly undecided: they hold when the persona shows itself, fail
when the model steps out of it ("As an AI language model …"), and leave the rest to a judge or to nobody.
"""

from __future__ import annotations

import re

from adherence.base import Check

_OUT_OF_CHARACTER = re.compile(
    r"\b(?:as an ai\b|i(?:'|’)?m (?:just |only )?an? (?:ai|large language|language|virtual|computer)\b"
    r"|i am (?:just |only )?an? (?:ai|large language|language|virtual|computer)\b"
    r"|my name is (?:chatgpt|claude|gemini)\b"
    r"|i(?: do not|(?: don(?:'|’)t)) have (?:a name|personal|hobbies|feelings|preferences))",
    re.IGNORECASE,
)


def figure(name: str) -> Check:
    """The reply is in the role of `name`, a figure or a given name: the name or its last word shows."""
    last = name.split()[-1]
    pattern = re.compile(rf"(?<!\w){re.escape(last)}(?!\w)", re.IGNORECASE)
    return lambda reply: _shown(pattern, reply)


def hobby(name: str) -> Check:
    """The reply shows the hobby: the word or its stem (`tennis`, `garden` for `gardening`)."""
    stem = name.removesuffix("ing") if len(name) > 6 else name
    pattern = re.compile(rf"(?<!\w){re.escape(stem)}", re.IGNORECASE)
    return lambda reply: _shown(pattern, reply)


def _shown(pattern: re.Pattern[str], reply: str) -> bool | None:
    if _OUT_OF_CHARACTER.search(reply):
        return False
    return True if pattern.search(reply) else None
