"""Checks that code can decide, declared as JSON so that scripts, configs, ledgers and recipes can carry them.

    {"kind": "contains", "text": "Oscar Wilde"}

`parse` turns a spec into a function of the reply; `KINDS` lists the kinds and what each takes. A check says True,
False, or None where it cannot tell from this reply: a persona whose name does not come up, a language in three words.
Unknown is never counted as adherent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from adherence import amounts, ifeval, language, personas, text
from adherence.base import Check, CheckError

__all__ = ["KINDS", "Check", "CheckError", "all_hold", "check_fields", "parse", "verdict"]


def _not(check: Mapping[str, Any]) -> Check:
    inner = parse(check)

    def holds(reply: str) -> bool | None:
        found = inner(reply)
        return None if found is None else not found

    return holds


def _any_of(checks: Sequence[Mapping[str, Any]]) -> Check:
    inner = [parse(check) for check in checks]

    def holds(reply: str) -> bool | None:
        found = [check(reply) for check in inner]
        return True if True in found else None if None in found else False

    return holds


def _all_of(checks: Sequence[Mapping[str, Any]]) -> Check:
    inner = [parse(check) for check in checks]
    return lambda reply: _together(check(reply) for check in inner)


_Field = tuple[type, bool]
"""The type of a field and whether it must be given."""

_AMOUNT: dict[str, _Field] = {"min": (int, False), "max": (int, False)}
_TEXT: dict[str, _Field] = {"text": (str, True), "ignore_case": (bool, False)}

KINDS: dict[str, tuple[Callable[..., Check], dict[str, _Field]]] = {
    "contains": (text.contains, _TEXT),
    "starts_with": (text.starts_with, _TEXT),
    "ends_with": (text.ends_with, _TEXT),
    "word": (text.word, _TEXT),
    "regex": (text.regex, {"pattern": (str, True)}),
    "quoted": (text.quoted, {}),
    "case": (text.case, {"case": (str, True)}),
    "json": (text.is_json, {}),
    "emoji": (text.emoji, {"text": (str, False)}),
    "words": (amounts.words, _AMOUNT),
    "sentences": (amounts.sentences, _AMOUNT),
    "paragraphs": (amounts.paragraphs, _AMOUNT),
    "lines": (amounts.lines, _AMOUNT),
    "characters": (amounts.characters, _AMOUNT),
    "bullets": (amounts.bullets, _AMOUNT),
    "occurrences": (amounts.occurrences, {"text": (str, True), **_AMOUNT}),
    "language": (language.language, {"language": (str, True)}),
    "figure": (personas.figure, {"name": (str, True)}),
    "persona_name": (personas.figure, {"name": (str, True)}),
    "hobby": (personas.hobby, {"name": (str, True)}),
    "ifeval": (ifeval.ifeval, {"id": (str, True), "arguments": (dict, False), "prompt": (str, False)}),
    "not": (_not, {"check": (dict, True)}),
    "any_of": (_any_of, {"checks": (list, True)}),
    "all_of": (_all_of, {"checks": (list, True)}),
}
"""Kind to its factory and its fields. docs/adherence.md says what each holds for."""


def parse(spec: Mapping[str, Any]) -> Check:
    """Reads a spec.

    Raises:
        CheckError: no mapping, an unknown kind, a field that is missing, unknown or of the wrong type, or a check that
            needs an extra which is not installed.
    """
    factory, given = check_fields(spec)
    return factory(**given)


def check_fields(spec: Mapping[str, Any]) -> tuple[Callable[..., Check], dict[str, Any]]:
    """A spec's factory and fields, the fields checked for names and types. Raises CheckError."""
    if not isinstance(spec, Mapping):
        raise CheckError(f"a check must be an object such as {{'kind': 'contains', 'text': …}}, not {spec!r}")
    kind = spec.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise CheckError(f"unknown check kind {kind!r}; choose one of {', '.join(KINDS)}")
    factory, fields = KINDS[kind]
    given = {name: value for name, value in spec.items() if name != "kind"}
    for name, value in given.items():
        if name not in fields:
            raise CheckError(f"check {kind!r} has no field {name!r}; it takes: {', '.join(fields) or 'none'}")
        wanted = fields[name][0]
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            raise CheckError(f"check {kind!r}: {name} must be of type {wanted.__name__}, not {value!r}")
    for name, (_, required) in fields.items():
        if required and not given.get(name):
            raise CheckError(f"check {kind!r} needs {name!r}, and it must not be empty")
    return factory, given


def verdict(checks: Sequence[Check], reply: str) -> bool | None:
    """False when a check fails, else None when one cannot tell from `reply` or there is no check at all, else True."""
    return _together(check(reply) for check in checks) if checks else None


def all_hold(specs: Sequence[Mapping[str, Any]], reply: str) -> bool:
    """Whether `reply` passes every check for certain; with no checks there is nothing to break.

    Raises:
        CheckError: as `parse` does.
    """
    return all(parse(spec)(reply) is True for spec in specs)


def _together(found: Any) -> bool | None:
    verdicts = list(found)
    return False if False in verdicts else None if None in verdicts else True
