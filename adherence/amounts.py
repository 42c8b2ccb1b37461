"""Checks of how much there is of something in a reply: words, sentences, paragraphs, bullets …"""

from __future__ import annotations

import re
from collections.abc import Callable

from adherence.base import Check, CheckError

_WORD = re.compile(r"\w+(?:['’-]\w+)*")
_SENTENCE_END = re.compile(r"[.!?…。！？]+[\"”»)\]]*(?=\s|$)")
_ABBREVIATION = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|Prof|St|e\.g|i\.e|vs|No|approx)\.(?=\s)|\b[A-Z]\.(?=\s[A-Z])")
_BULLET = re.compile(r"^\s*(?:[-*•–]|\d+[.)])\s+\S", re.MULTILINE)
_PARAGRAPH_BREAK = re.compile(r"\n\s*\n|^\s*\*\*\*\s*$", re.MULTILINE)


def words(min: int | None = None, max: int | None = None) -> Check:
    """So many words; an apostrophe or hyphen inside does not split one."""
    return _within("words", min, max, lambda reply: len(_WORD.findall(reply)))


def sentences(min: int | None = None, max: int | None = None) -> Check:
    """So many sentences, by their end marks; a rest without one counts too."""
    return _within("sentences", min, max, _sentences)


def paragraphs(min: int | None = None, max: int | None = None) -> Check:
    """So many paragraphs: parts between blank lines, or between lines of `***` as IFEval has it."""
    return _within("paragraphs", min, max, lambda reply: sum(bool(p.strip()) for p in _PARAGRAPH_BREAK.split(reply)))


def lines(min: int | None = None, max: int | None = None) -> Check:
    """So many lines that are not blank."""
    return _within("lines", min, max, lambda reply: sum(bool(line.strip()) for line in reply.splitlines()))


def characters(min: int | None = None, max: int | None = None) -> Check:
    """So many characters, white space at both ends aside."""
    return _within("characters", min, max, lambda reply: len(reply.strip()))


def bullets(min: int | None = None, max: int | None = None) -> Check:
    """So many items of bulleted or numbered lists."""
    return _within("bullets", min, max, lambda reply: len(_BULLET.findall(reply)))


def occurrences(text: str, min: int | None = None, max: int | None = None) -> Check:
    """The text, whatever its case, stands in the reply so many times."""
    return _within("occurrences", min, max, lambda reply: reply.casefold().count(text.casefold()))


def _sentences(reply: str) -> int:
    plain = _ABBREVIATION.sub("", reply).strip()
    ends = list(_SENTENCE_END.finditer(plain))
    rest = plain[ends[-1].end() :] if ends else plain
    return len(ends) + bool(rest.strip())


def _within(kind: str, low: int | None, high: int | None, amount: Callable[[str], int]) -> Check:
    if low is None and high is None:
        raise CheckError(f"check {kind!r} needs 'min', 'max' or both")
    if low is not None and high is not None and low > high:
        raise CheckError(f"check {kind!r}: min ({low}) is above max ({high})")
    return lambda reply: (low is None or amount(reply) >= low) and (high is None or amount(reply) <= high)
