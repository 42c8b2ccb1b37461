"""Every kind of check tells right from wrong, and says when it cannot tell."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from adherence import CheckError, parse, verdict


@pytest.mark.parametrize(
    ("spec", "holds", "fails"),
    [
        ({"kind": "words", "max": 3}, "It's Lima now.", "The capital is Lima."),
        ({"kind": "words", "min": 2, "max": 2}, "Well-known Lima", "Lima"),
        ({"kind": "sentences", "min": 2, "max": 2}, 'Dr. Smith said "Hi." Then he left', "One. Two! Three?"),
        ({"kind": "paragraphs", "min": 2}, "one\n\ntwo", "one\ntwo"),
        ({"kind": "paragraphs", "max": 2}, "one\n***\ntwo", "a\n\nb\n\nc"),
        ({"kind": "lines", "max": 2}, "a\n\nb", "a\nb\nc"),
        ({"kind": "characters", "max": 4}, " Lima ", "Lima!"),
        ({"kind": "bullets", "min": 3, "max": 3}, "- a\n* b\n3. c", "- a\n- b"),
        ({"kind": "occurrences", "text": "lima", "min": 2}, "Lima, lima", "Lima"),
        ({"kind": "emoji"}, "Bye 👩‍🔬", "Bye :)"),
        ({"kind": "emoji", "text": "🔥"}, "Bye 🔥", "Bye 🌊"),
        ({"kind": "quoted"}, ' "Lima" ', 'It is "Lima"'),
        ({"kind": "json"}, '```json\n{"a": 1}\n```', "```\nnothing\n```"),
        ({"kind": "starts_with", "text": "ahoy", "ignore_case": True}, "Ahoy!", "Well, ahoy"),
        (
            {"kind": "all_of", "checks": [{"kind": "quoted"}, {"kind": "words", "max": 1}]},
            '"Lima"',
            '"Lima it is"',
        ),
        (
            {"kind": "language", "language": "French"},
            "Bonjour, je suis ravi de vous aider avec votre question sur la ville.",
            "Hello, I am delighted to help you with your question about the city.",
        ),
        (
            {"kind": "language", "language": "ja"},
            "日本語で喜んでお答えします。",
            "I would be glad to answer in English today.",
        ),
    ],
)
def test_each_kind_tells_right_from_wrong(spec: dict[str, Any], holds: str, fails: str) -> None:
    check = parse(spec)
    assert check(holds) is True
    assert check(fails) is not True


@pytest.mark.parametrize(
    ("spec", "reply"),
    [
        ({"kind": "language", "language": "Spanish"}, "Lima."),
        ({"kind": "language", "language": "Spanish"}, "42"),
        ({"kind": "figure", "name": "Oscar Wilde"}, "The capital is Lima."),
        ({"kind": "not", "check": {"kind": "figure", "name": "Oscar Wilde"}}, "The capital is Lima."),
        ({"kind": "hobby", "name": "tennis"}, "The capital is Lima."),
        ({"kind": "any_of", "checks": [{"kind": "json"}, {"kind": "hobby", "name": "tennis"}]}, "Lima."),
    ],
)
def test_what_cannot_be_told_is_unknown(spec: dict[str, Any], reply: str) -> None:
    assert parse(spec)(reply) is None


def test_a_persona_shows_itself_or_breaks() -> None:
    figure, hobby = parse({"kind": "figure", "name": "Oscar Wilde"}), parse({"kind": "hobby", "name": "gardening"})
    assert figure("I, Wilde, say: Lima.") is True
    assert figure("As an AI language model I have no name, Mr Wilde.") is False
    assert hobby("I spent the day in my garden.") is True
    assert hobby("I don't have hobbies.") is False


def test_a_failed_check_decides_and_an_unknown_one_is_never_adherent() -> None:
    unknown, right, wrong = (lambda _: None), (lambda _: True), (lambda _: False)
    assert verdict([right, unknown], "x") is None
    assert verdict([wrong, unknown], "x") is False
    assert verdict([right, right], "x") is True
    assert verdict([], "x") is None


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"kind": "words"}, "needs 'min', 'max' or both"),
        ({"kind": "words", "min": True}, "min must be of type int"),
        ({"kind": "words", "min": 3, "max": 2}, "min (3) is above max (2)"),
        ({"kind": "language", "language": "Klingon"}, "'Klingon' is not known; name one of"),
    ],
)
def test_a_spec_that_cannot_be_read_is_named(spec: Any, named: str) -> None:
    with pytest.raises(CheckError) as caught:
        parse(spec)
    assert named in str(caught.value)


def test_a_missing_extra_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    from adherence import ifeval, language

    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    monkeypatch.delitem(sys.modules, "adherence.detector", raising=False)
    monkeypatch.setitem(sys.modules, "lm_eval.tasks.ifeval.instructions_registry", None)
    for module, cached in ((language, "_loaded"), (ifeval, "_verifiers")):
        getattr(module, cached).cache_clear()
    specs = [{"kind": "language", "language": "fr"}, {"kind": "ifeval", "id": "punctuation:no_comma"}]
    for spec in specs:
        with pytest.raises(CheckError, match=r"pip install 'gattway\[adherence\]'"):
            parse(spec)


IFEVAL = """
import socket
def refuse(*_): raise SystemExit("the network was asked")
socket.getaddrinfo = refuse
from adherence import CheckError, parse
no_comma = parse({"kind": "ifeval", "id": "punctuation:no_comma"})
assert (no_comma("a b"), no_comma("a, b"), no_comma(" ")) == (True, False, False)
three = {"kind": "ifeval", "id": "detectable_format:number_bullet_lists", "arguments": {"num_bullets": 2}}
assert (parse(three)("* a\\n* b"), parse(three)("* a")) == (True, False)
for spec, words in (
    ({"id": "punctuation:none"}, "unknown id"),
    ({"id": "detectable_format:number_bullet_lists"}, "needs the arguments num_bullets"),
    ({"id": "detectable_format:number_bullet_lists", "arguments": {"bullets": 2}}, "cannot take the arguments"),
    ({"id": "length_constraints:number_sentences", "arguments": {"num_sentences": 2, "relation": "at least"}}, "punkt"),
):
    try:
        parse({"kind": "ifeval", **spec})
    except CheckError as error:
        assert words in str(error), (words, error)
    else:
        assert words == "punkt", spec  # the data happens to be on this machine
"""


@pytest.mark.slow
def test_ifevals_verifiers_work_without_the_network() -> None:
    """In a process of its own: the harness imports `datasets`, and its warnings are not ours."""
    done = subprocess.run([sys.executable, "-c", IFEVAL], capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
