"""What English instructions commonly ask for, as patterns: the built-in way to find checks.

Each is narrow on purpose: a pattern that reads a wish into a text which does not hold it would call good replies
drifted. docs/adherence.md lists them with an example each, and a test holds the examples.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from adherence.language import CODES

Spec = dict[str, Any]


@dataclass(frozen=True)
class Pattern:
    """A wish that instructions express, and the check that decides it. `example` is one such instruction."""

    name: str
    when: re.Pattern[str]
    spec: Callable[[re.Match[str]], Spec]
    example: str


_LANGUAGES = "|".join(sorted((name.capitalize() for name in CODES), key=len, reverse=True))
_NAME = r"[A-Z][a-zà-ÿ'’][\w'’-]*"
_PERSON = rf"{_NAME}(?:\s+(?:{_NAME}|[A-Z]\.|de|van|von|der|da|di|of|the|la))*"
_NOT = r"(?:do not|never|don['’]t)"
_POSITIVE = r"(?<!not )(?<!never )(?<!n't )"
_NO_LINE_END = r"[^.\n]*"
_QUOTED = r"[\"“'‘](?P<text>[^\"”’']+)[\"”’']"
_ANSWER = r"(?:answer|reply|respond|speak|write|talk|communicate|converse)"
_MOST = r"(?:at most|no more than|not more than|up to|a maximum of|maximum|max\.?|within)"
_LESS = r"(?:fewer than|less than|under|below)"
_LEAST = r"(?:at least|no fewer than|no less than|a minimum of|minimum|min\.?)"
_MORE = r"(?:more than|over)"
_UNITS = {"word": "words", "sentence": "sentences", "paragraph": "paragraphs", "line": "lines",
          "bullet": "bullets", "character": "characters"}  # fmt: skip
_UNIT = r"(?P<unit>word|sentence|paragraph|line|character|bullet)s?(?: points?)?\b"
_NUMBERS = {word: n for n, word in enumerate(["one", "two", "three", "four", "five", "six"], start=1)}
_NUMBER = rf"(?P<n>\d+|{'|'.join(_NUMBERS)})"


def _amount(match: re.Match[str], **bounds: int) -> Spec:
    """`bounds`: min and max as offsets to the number in the text."""
    text = match["n"].lower()
    number = _NUMBERS.get(text) or int(text)
    kind = _UNITS[match["unit"].lower()]
    return {"kind": kind, **{bound: max(0, number + offset) for bound, offset in bounds.items()}}


def _pattern(name: str, when: str, spec: Callable[[re.Match[str]], Spec], example: str) -> Pattern:
    return Pattern(name, re.compile(when), spec, example)


_EVERYTHING = r"(?: me| us| everything| every question| questions)?(?: only| always)?"
_NO_HOBBY = r"(?!(?:to|it|this|that|me|us|them|people|everyone|when|how)\b)"

PATTERNS: tuple[Pattern, ...] = (
    _pattern(
        "language",
        rf"(?i:\b{_ANSWER}\b{_EVERYTHING} in|\bLanguage:) (?P<language>{_LANGUAGES})\b",
        lambda m: {"kind": "language", "language": m["language"]},
        "Always answer in French.",
    ),
    _pattern(
        "figure",
        rf"(?i:\b(?:act|behave|respond|speak|talk|answer) (?:always )?(?:as|like)|\bpretend to be|\bplay the role of"
        rf"|\bFigure:|\bPersona:)\s+(?P<name>{_PERSON})",
        lambda m: {"kind": "figure", "name": m["name"].rstrip(".,")},
        "Act as Oscar Wilde.",
    ),
    _pattern(
        "name",
        rf"(?i:\byour name is|\bcall yourself|\bintroduce yourself as|\byou are called)\s+(?P<name>{_PERSON})",
        lambda m: {"kind": "persona_name", "name": m["name"].rstrip(".,")},
        "Your name is Ada.",
    ),
    _pattern(
        "hobby",
        r"(?i:\byou (?:enjoy|love)|\byour (?:favou?rite )?hobby is|\bHobby:)\s+(?:playing |doing )?"
        rf"{_NO_HOBBY}(?P<name>[a-z]+)(?=\s*(?:[.,;!]|$|and\b))",
        lambda m: {"kind": "hobby", "name": m["name"].lower()},
        "You enjoy tennis.",
    ),
    _pattern("at-most", rf"(?i)\b{_MOST} {_NUMBER} {_UNIT}", lambda m: _amount(m, max=0), "Use at most 50 words."),
    _pattern(
        "or-less", rf"(?i)\b{_NUMBER} {_UNIT} or (?:less|fewer)\b", lambda m: _amount(m, max=0), "In 20 words or less."
    ),
    _pattern(
        "less-than",
        rf"(?i)(?<!no )\b{_LESS} {_NUMBER} {_UNIT}",
        lambda m: _amount(m, max=-1),
        "Answer in fewer than 3 sentences.",
    ),
    _pattern(
        "at-least", rf"(?i)\b{_LEAST} {_NUMBER} {_UNIT}", lambda m: _amount(m, min=0), "Write at least two paragraphs."
    ),
    _pattern(
        "more-than",
        rf"(?i)(?<!no )(?<!not )\b{_MORE} {_NUMBER} {_UNIT}",
        lambda m: _amount(m, min=1),
        "Write more than 100 words.",
    ),
    _pattern(
        "exactly",
        rf"(?i)\bexactly {_NUMBER} {_UNIT}",
        lambda m: _amount(m, min=0, max=0),
        "Give exactly 3 bullet points.",
    ),
    _pattern(
        "upper-case",
        r"(?i)\b(?:all caps|all capital letters|only capital letters|(?:in|use)(?: all)? upper[ -]?case)\b",
        lambda m: {"kind": "case", "case": "upper"},
        "Answer in upper case.",
    ),
    _pattern(
        "lower-case",
        r"(?i)\b(?:no capital letters|(?:in|use)(?: all| only)? lower[ -]?case)\b",
        lambda m: {"kind": "case", "case": "lower"},
        "Use lowercase letters only.",
    ),
    _pattern(
        "json",
        rf"(?i)\b(?:{_ANSWER}|output|return|format)\b{_NO_LINE_END}\bJSON\b",
        lambda m: {"kind": "json"},
        "Respond with valid JSON.",
    ),
    _pattern(
        "quotation-marks",
        rf"(?i)\b(?:wrap|put|enclose)\b{_NO_LINE_END}\b(?:answer|reply|response)\b{_NO_LINE_END}"
        r"\bin(?:side)? (?:double )?quot\w+",
        lambda m: {"kind": "quoted"},
        "Wrap your entire response in double quotation marks.",
    ),
    _pattern(
        "prefix",
        rf"(?i)\b(?:start|begin|open)\b[^.\n\"“]*\b(?:with|by saying)\b[^.\n\"“]*{_QUOTED}",
        lambda m: {"kind": "starts_with", "text": m["text"]},
        'Begin every answer with "Ahoy".',
    ),
    _pattern(
        "suffix",
        rf"(?i)\b(?:end|finish|close|conclude)\b[^.\n\"“]*\bwith\b[^.\n\"“]*{_QUOTED}",
        lambda m: {"kind": "ends_with", "text": m["text"]},
        'End with "Over and out."',
    ),
    _pattern(
        "forbidden-word",
        rf"(?i)\b{_NOT} (?:use|say|mention|include|write) (?:the )?(?:words? |phrases? )?{_QUOTED}",
        lambda m: {"kind": "not", "check": {"kind": "word", "text": m["text"], "ignore_case": True}},
        'Never say "basically".',
    ),
    _pattern(
        "keyword",
        rf"(?i){_POSITIVE}\b(?:include|use|mention) the (?:words?|keywords?|phrases?) {_QUOTED}",
        lambda m: {"kind": "word", "text": m["text"], "ignore_case": True},
        'Include the word "garden".',
    ),
    _pattern(
        "no-commas",
        rf"(?i)\b(?:no commas|without (?:any |using )*commas|{_NOT} use (?:any )?commas)\b",
        lambda m: {"kind": "not", "check": {"kind": "contains", "text": ","}},
        "Do not use any commas.",
    ),
    _pattern(
        "no-emoji",
        rf"(?i)\b(?:no emojis?|without (?:any |using )*emojis?|{_NOT} use (?:any )?emojis?)\b",
        lambda m: {"kind": "not", "check": {"kind": "emoji"}},
        "Never use emojis.",
    ),
    _pattern(
        "emoji",
        rf"(?i){_POSITIVE}\b(?:use|add|include|end with|close with) (?:an? |the |some |one )?emojis?\b"
        r"(?: (?P<text>[^\w\s.,!?;:]+))?",
        lambda m: {"kind": "emoji", **({"text": m["text"]} if m["text"] else {})},
        "Use an emoji in every answer.",
    ),
)
"""All patterns, in the order that they are looked for."""
