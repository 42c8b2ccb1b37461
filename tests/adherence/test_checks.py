"""Specs become functions of the reply; what cannot be read is named."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adherence import CheckError, all_hold, parse


@pytest.mark.parametrize(
    ("spec", "holds", "fails"),
    [
        ({"kind": "contains", "text": "Wilde"}, "I, Oscar Wilde", "I, Oscar wilde"),
        ({"kind": "contains", "text": "wilde", "ignore_case": True}, "OSCAR WILDE", "Oscar"),
        ({"kind": "starts_with", "text": "Arr"}, "Arr, matey", "So arr. Arr"),
        ({"kind": "ends_with", "text": "cheers."}, "Lima. So cheers.", "cheers. Lima."),
        ({"kind": "word", "text": "7"}, "That is 7.", "That is 17."),
        ({"kind": "word", "text": "è"}, "La capitale è Lima.", "Perè"),
        ({"kind": "regex", "pattern": r"\[ .+ \]"}, "[ Lima ]", "Lima"),
        ({"kind": "case", "case": "upper"}, "LIMA IS IT.", "Lima is it."),
        ({"kind": "case", "case": "lower"}, "lima.", "Lima."),
        ({"kind": "json"}, '{"answer": "Lima"}', '"Lima" is it'),
        ({"kind": "not", "check": {"kind": "contains", "text": "chess"}}, "I love yoga!", "I love chess!"),
        (
            {"kind": "any_of", "checks": [{"kind": "word", "text": "est"}, {"kind": "word", "text": "ist"}]},
            "Die Hauptstadt ist Lima.",
            "The capital is Lima.",
        ),
    ],
)
def test_each_kind_tells_right_from_wrong(spec: dict[str, Any], holds: str, fails: str) -> None:
    check = parse(spec)
    assert check(holds)
    assert not check(fails)


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"kind": "containz", "text": "x"}, "containz"),
        ({"text": "x"}, "unknown check kind None"),
        ({"kind": "contains"}, "needs 'text'"),
        ({"kind": "contains", "text": ""}, "must not be empty"),
        ({"kind": "contains", "text": 7}, "must be of type str"),
        ({"kind": "contains", "text": "x", "colour": "red"}, "no field 'colour'"),
        ({"kind": "regex", "pattern": "("}, "no regular expression"),
        ({"kind": "case", "case": "title"}, "'upper' or 'lower'"),
        ({"kind": "not", "check": {"kind": "?"}}, "'?'"),
        ("contains", "must be an object"),
    ],
)
def test_a_spec_that_cannot_be_read_is_named(spec: Any, named: str) -> None:
    with pytest.raises(CheckError, match=None) as caught:
        parse(spec)
    assert named in str(caught.value)


def test_all_checks_must_hold() -> None:
    specs = [{"kind": "contains", "text": "chess"}, {"kind": "word", "text": "est"}]
    assert all_hold(specs, "La capitale est Lima. I love chess!")
    assert not all_hold(specs, "La capitale est Lima.")
    assert all_hold([], "anything")


@given(st.text(min_size=1), st.text(), st.text())
def test_contains_finds_what_was_put_there(text: str, before: str, after: str) -> None:
    assert parse({"kind": "contains", "text": text})(before + text + after)
