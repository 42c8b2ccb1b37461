"""Counts: what OpenAI's API reported for the same requests, and what is remembered."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.accounting.remembered import Remembered
from gateway.accounting.tokens import TiktokenCounter

RECORDED = json.loads((Path(__file__).parent / "recorded_usage.json").read_text())["recordings"]


def jargon() -> list[dict[str, str]]:
    """The example conversation of OpenAI's cookbook."""
    examples = [
        ("example_user", "New synergies will help drive top-line growth."),
        ("example_assistant", "Things working well together will increase revenue."),
        (
            "example_user",
            "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage.",
        ),
        ("example_assistant", "Let's talk later when we're less busy about how to do better."),
    ]
    head = "You are a helpful, pattern-following assistant that translates corporate jargon into plain English."
    last = "This late pivot means we don't have time to boil the ocean for the client deliverable."
    return [
        {"role": "system", "content": head},
        *({"role": "system", "name": name, "content": text} for name, text in examples),
        {"role": "user", "content": last},
    ]


def latin_1() -> list[dict[str, Any]]:
    """A request with the W3C's table of ISO 8859-1 (www.w3.org/TR/2003/REC-PNG-20031110/iso_8859-1.txt)."""

    def name(code: int) -> str:
        words = unicodedata.name(chr(code)).removeprefix("LATIN ")
        return f"{code:02X}  {words}{' (Icelandic)' if words.endswith((' ETH', ' THORN')) else ''}"

    lines = [
        "The following are the graphical (non-control) characters defined by",
        "ISO 8859-1 (1987).  Descriptions in words aren't all that helpful,",
        "but they're the best we can do in text.  A graphics file illustrating",
        "the character set should be available from the same archive as this",
        "file.",
        "",
        "Hex Description                 Hex Description",
        "",
        name(0x20),
        *(f"{name(code):<32}{name(code + 0x80)}" for code in range(0x21, 0x7F)),
        " " * 32 + name(0xFF),
    ]
    begin, end = '-----BEGIN FILE id="8c5d09" type="text/plain"-----', '-----END FILE id="8c5d09"-----'
    file = "\n".join([begin, *lines, "", end])
    question = "What is the main content on this document, in one sentence?"
    return [{"role": "user", "content": [{"type": "text", "text": text} for text in (question, file)]}]


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda one: f"{one['model']}-{one['prompt_tokens']}")
def test_a_prompt_has_as_many_tokens_as_openai_counted(recorded: dict[str, Any]) -> None:
    named: dict[str, Any] = {"jargon": jargon(), "latin-1": latin_1()}
    messages = named[recorded["messages"]] if isinstance(recorded["messages"], str) else recorded["messages"]
    counter = TiktokenCounter(recorded["model"])
    assert counter.prompt(messages).tokens == pytest.approx(recorded["prompt_tokens"], rel=0.01)
    if "answer" in recorded:
        assert counter.text(recorded["answer"]) == recorded["completion_tokens"]


def test_what_cannot_be_counted_is_not_called_exact() -> None:
    counter = TiktokenCounter("gpt-4o")
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 5000}}
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    assert counter.prompt([{"role": "user", "content": [{"type": "text", "text": "hello"}]}]).exact
    for message in (
        {"role": "user", "content": [{"type": "text", "text": "hello"}, picture]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "1", "tool_call_id": "c"},
    ):
        prompt = counter.prompt([message])
        assert not prompt.exact
        assert prompt.tokens < 100  # the flag is no token
        assert not counter.prompt([{"role": "user", "content": "hello"}, message]).exact


def test_a_message_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = TiktokenCounter("gpt-4o")
    counted: list[str] = []
    text = TiktokenCounter.text
    monkeypatch.setattr(TiktokenCounter, "text", lambda self, words: counted.append(words) or text(self, words))
    history = [{"role": "user", "content": f"message {index}"} for index in range(10)]
    counter.prompt(history)
    counted.clear()
    counter.prompt([*json.loads(json.dumps(history)), {"role": "user", "content": "new"}])
    assert counted == ["new"]
    assert counter.new_chars([*history, {"role": "user", "content": "x" * 50}], limit=10) == 50


texts = st.text(max_size=40)
messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system"]), "content": texts}), max_size=8
)


@settings(deadline=None)
@given(messages, messages)
def test_what_two_prompts_share_is_the_beginning_of_both(one: list[Any], other: list[Any]) -> None:
    counter = TiktokenCounter("gpt-4o")
    prompt, before = counter.prompt(one), counter.prompt(other)
    read, known = prompt.shared(before)
    assert 0 <= read <= min(prompt.tokens, before.tokens)
    assert read <= known <= prompt.tokens


@settings(deadline=None)
@given(messages, texts, texts)
def test_a_continued_prompt_shares_the_whole_prompt_before_and_the_answers_text(
    history: list[Any], reply: str, words: str
) -> None:
    counter = TiktokenCounter("gpt-4o")
    before = counter.prompt(history)
    answer, more = {"role": "assistant", "content": reply}, {"role": "user", "content": words}
    read, known = counter.prompt([*history, answer, more]).shared(before)
    assert read == before.tokens
    assert known == before.tokens + counter.text(reply)


def test_the_memory_is_bounded_and_keeps_what_is_used() -> None:
    memory, asked = Remembered(limit=20), []

    def counts(keys: list[int]) -> list[int]:
        return memory.counts(keys, lambda index: asked.append(keys[index]) or keys[index] * 2)

    for key in range(100):
        assert counts([key, 7]) == [key * 2, 14]
    assert asked.count(7) == 1
    assert len(memory._young) + len(memory._old) <= 20
