"""Checks that code can decide, declared as JSON so that scripts, ledgers and recipes can carry them.

    {"kind": "contains", "text": "Oscar Wilde"}

`parse` turns a spec into a function of the reply; `KINDS` lists the kinds and what each takes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Check = Callable[[str], bool]
"""Whether a reply holds to one thing."""


class CheckError(ValueError):
    """A spec that cannot be read; the message names what is wrong and what would be right."""


def _contains(text: str, ignore_case: bool = False) -> Check:
    if ignore_case:
        return lambda reply: text.casefold() in reply.casefold()
    return lambda reply: text in reply


def _starts_with(text: str) -> Check:
    return lambda reply: reply.lstrip().startswith(text)


def _ends_with(text: str) -> Check:
    return lambda reply: reply.rstrip().endswith(text)


def _word(text: str, ignore_case: bool = False) -> Check:
    pattern = re.compile(rf"(?<!\w){re.escape(text)}(?!\w)", re.IGNORECASE if ignore_case else 0)
    return lambda reply: pattern.search(reply) is not None


def _regex(pattern: str) -> Check:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise CheckError(f"check 'regex': {pattern!r} is no regular expression ({error})") from error
    return lambda reply: compiled.search(reply) is not None


def _case(case: str) -> Check:
    if case not in ("upper", "lower"):
        raise CheckError(f"check 'case': case must be 'upper' or 'lower', not {case!r}")
    return str.isupper if case == "upper" else str.islower


def _is_json() -> Check:
    def holds(reply: str) -> bool:
        try:
            return isinstance(json.loads(reply), dict | list)
        except ValueError:
            return False

    return holds


def _not(check: Mapping[str, Any]) -> Check:
    inner = parse(check)
    return lambda reply: not inner(reply)


def _any_of(checks: Sequence[Mapping[str, Any]]) -> Check:
    inner = [parse(check) for check in checks]
    return lambda reply: any(check(reply) for check in inner)


_Field = tuple[type, bool]
"""The type of a field and whether it must be given."""

KINDS: dict[str, tuple[Callable[..., Check], dict[str, _Field]]] = {
    "contains": (_contains, {"text": (str, True), "ignore_case": (bool, False)}),
    "starts_with": (_starts_with, {"text": (str, True)}),
    "ends_with": (_ends_with, {"text": (str, True)}),
    "word": (_word, {"text": (str, True), "ignore_case": (bool, False)}),
    "regex": (_regex, {"pattern": (str, True)}),
    "case": (_case, {"case": (str, True)}),
    "json": (_is_json, {}),
    "not": (_not, {"check": (dict, True)}),
    "any_of": (_any_of, {"checks": (list, True)}),
}
"""Kind to its factory and its fields. `json` asks for an object or a list; `word` for the text as a word of its own."""


def parse(spec: Mapping[str, Any]) -> Check:
    """Reads a spec.

    Raises:
        CheckError: no mapping, an unknown kind, or a field that is missing, unknown or of the wrong type.
    """
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
        if not isinstance(value, fields[name][0]):
            raise CheckError(f"check {kind!r}: {name} must be of type {fields[name][0].__name__}, not {value!r}")
    for name, (_, required) in fields.items():
        if required and not given.get(name):
            raise CheckError(f"check {kind!r} needs {name!r}, and it must not be empty")
    return factory(**given)


def all_hold(specs: Sequence[Mapping[str, Any]], reply: str) -> bool:
    """Whether `reply` passes every check; with no checks there is nothing to break.

    Raises:
        CheckError: as `parse` does.
    """
    return all(parse(spec)(reply) for spec in specs)
