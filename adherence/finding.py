"""Which checks an instruction asks for: by rules that the config declares, and by patterns that come with gattway.

A rule is a check with a `when`, a regular expression on the instruction; its named groups fill `{name}` in the check:

    {"when": "Figure: (?P<name>.+?)\\.", "kind": "figure", "name": "{name}"}

A rule without `when` holds for every instruction.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adherence.base import Check, CheckError
from adherence.checks import check_fields, parse
from adherence.patterns import PATTERNS

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
REMEMBERED = 4096


@dataclass(frozen=True)
class Rule:
    """A check and the instructions that it is for."""

    when: re.Pattern[str] | None
    spec: Mapping[str, Any]

    @classmethod
    def read(cls, rule: Mapping[str, Any]) -> Rule:
        """From a check with an optional `when`.

        Raises:
            CheckError: it cannot be read; the message says what would be right.
        """
        if not isinstance(rule, Mapping):
            raise CheckError(f"a check must be a table such as {{kind = 'contains', text = …}}, not {rule!r}")
        pattern = rule.get("when")
        try:
            when = None if pattern is None else re.compile(pattern)
        except (re.error, TypeError) as error:
            raise CheckError(f"when = {pattern!r} is no regular expression ({error})") from None
        spec = {key: value for key, value in rule.items() if key != "when"}
        groups = set(when.groupindex) if when else set()
        placeholders = set(_placeholders(spec))
        if when and placeholders & groups:
            check_fields(_filled(spec, dict.fromkeys(groups, "1")))
        else:
            parse(spec)
        return cls(when, spec)

    def specs(self, instruction: str) -> list[dict[str, Any]]:
        """The check for every place in the instruction that the rule speaks of."""
        if self.when is None:
            return [dict(self.spec)]
        return [_filled(self.spec, match.groupdict()) for match in self.when.finditer(instruction)]


class Finder:
    """Finds the checks of instructions; remembers the latest.

    Args:
        rules: the config's own, looked at first.
        detect: whether gattway's own patterns are looked for too, where no rule of the config applies.
    """

    def __init__(self, rules: Iterable[Mapping[str, Any]] = (), *, detect: bool = True) -> None:
        self._rules = [Rule.read(rule) for rule in rules]
        self._detect = detect
        self._remembered = functools.lru_cache(maxsize=REMEMBERED)(self._find)

    def checks(self, instruction: str) -> Sequence[Check]:
        """The checks that decide whether a reply follows the instruction; empty when none is known."""
        return self._remembered(instruction)

    def specs(self, instruction: str) -> list[dict[str, Any]]:
        """The same as specs."""
        found = [spec for rule in self._rules for spec in rule.specs(instruction)]
        if not found and self._detect:
            found = detected(instruction)
        return _without_repeats(found)

    def _find(self, instruction: str) -> tuple[Check, ...]:
        checks = []
        for spec in self.specs(instruction):
            try:
                checks.append(parse(spec))
            except CheckError:
                # What was read out of running text ("answer in Klingon", an extra that is missing) is no mistake of
                # the config: the instruction then holds something that cannot be decided here.
                checks.append(_undecided)
        return tuple(checks)


def detected(instruction: str) -> list[dict[str, Any]]:
    """What gattway's own patterns read out of an instruction: specs, in the order of the patterns."""
    return _without_repeats(pattern.spec(match) for pattern in PATTERNS for match in pattern.when.finditer(instruction))


def _undecided(_reply: str) -> None:
    return None


def _without_repeats(specs: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = []
    for spec in specs:
        if spec not in kept:
            kept.append(spec)
    return kept


def _placeholders(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield from _PLACEHOLDER.findall(value)
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _placeholders(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _placeholders(inner)


def _filled(spec: Mapping[str, Any], groups: Mapping[str, str | None]) -> dict[str, Any]:
    return {key: _fill(key, value, groups) for key, value in spec.items()}


def _fill(key: str, value: Any, groups: Mapping[str, str | None]) -> Any:
    if isinstance(value, Mapping):
        return _filled(value, groups)
    if isinstance(value, list):
        return [_fill(key, inner, groups) for inner in value]
    if not isinstance(value, str):
        return value
    escape = key == "pattern"

    def put(match: re.Match[str]) -> str:
        if match[1] not in groups:
            return match[0]
        text = groups[match[1]] or ""
        return re.escape(text) if escape else text

    filled = _PLACEHOLDER.sub(put, value)
    return int(filled) if key in ("min", "max") and filled.isdigit() else filled
