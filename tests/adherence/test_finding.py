"""Checks are found in instructions: by the config's rules, else by the documented patterns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adherence import CheckError, Finder, Rule, verdict
from adherence.finding import detected
from adherence.patterns import PATTERNS

DOCS = (Path(__file__).parents[2] / "docs/adherence.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda p: p.name)
def test_every_pattern_finds_its_documented_example(pattern: Any) -> None:
    match = pattern.when.search(pattern.example)
    assert match is not None
    assert pattern.spec(match) in detected(pattern.example)
    assert f"| `{pattern.name}` | {pattern.example} |" in DOCS


@pytest.mark.parametrize(
    ("instruction", "specs"),
    [
        ("Figure: Napoleon. Hobby: chess.", [("figure", "Napoleon"), ("hobby", "chess")]),
        ("You are a helpful assistant. You love to help people. Be kind.", []),
        ("Act as a pirate. Respond in JSON, never in anger.", [("json", None)]),
        ("Do not use the word 'very' and do not use emojis.", [("not", None), ("not", None)]),
        ("Summarise the French Revolution in a few words.", []),
        ("Use no more than 30 words.", [("words", None)]),
        ("Answer in fewer than three sentences.", [("sentences", None)]),
    ],
)
def test_instructions_are_read_narrowly(instruction: str, specs: list[tuple[str, str | None]]) -> None:
    assert [(spec["kind"], spec.get("name")) for spec in detected(instruction)] == specs


def test_fewer_than_three_means_two_at_most() -> None:
    assert detected("Answer in fewer than three sentences.") == [{"kind": "sentences", "max": 2}]


def test_a_rules_groups_fill_its_check_and_rules_go_before_patterns() -> None:
    rules = [
        {"when": r"Act as (?P<who>[\w ]+)\.", "kind": "contains", "text": "I, {who}, say:"},
        {"when": r"at most (?P<n>\d+) words", "kind": "words", "max": "{n}"},
        {"when": r"Sign: (?P<sign>\S+) only", "kind": "regex", "pattern": "^{sign} \\w{2}"},
    ]
    finder = Finder(rules)
    assert finder.specs("Act as Oscar Wilde.") == [{"kind": "contains", "text": "I, Oscar Wilde, say:"}]
    assert finder.specs("Use at most 7 words.") == [{"kind": "words", "max": 7}]
    assert verdict(finder.checks("Sign: || only."), "|| ok") is True
    assert finder.specs("Your name is Ada.") == [{"kind": "persona_name", "name": "Ada"}]
    assert Finder(rules, detect=False).specs("Your name is Ada.") == []


def test_a_rule_without_when_holds_for_every_instruction() -> None:
    assert Finder([{"kind": "json"}]).specs("whatever") == [{"kind": "json"}]


def test_what_running_text_asks_for_and_nobody_can_decide_is_unknown() -> None:
    finder = Finder([{"when": "in (?P<x>[A-Z][a-z]+)", "kind": "language", "language": "{x}"}])
    assert verdict(finder.checks("Speak in Riddles."), "Lima") is None


@pytest.mark.parametrize(
    ("rule", "named"),
    [
        ("json", "must be a table"),
        ({"when": "(", "kind": "json"}, "no regular expression"),
        ({"when": 3, "kind": "json"}, "no regular expression"),
        ({"when": "x", "kind": "jsn"}, "unknown check kind 'jsn'"),
        ({"when": "(?P<n>x)", "kind": "words", "mx": "{n}"}, "no field 'mx'"),
    ],
)
def test_a_rule_that_cannot_be_read_is_named(rule: Any, named: str) -> None:
    with pytest.raises(CheckError) as caught:
        Rule.read(rule)
    assert named in str(caught.value)
