"""Where each strategy puts the text, by its drawing."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest

import strategies
from strategies.short_reminder import shortened

Message = dict[str, Any]


def history(*replies: str, instruction: str = "Say aha.") -> list[Message]:
    """A conversation whose next user turn is open: U1, first reply, U2, …"""
    messages: list[Message] = [{"role": "system", "content": instruction}]
    for turn, reply in enumerate(replies, start=1):
        messages += [{"role": "user", "content": f"U{turn}"}, {"role": "assistant", "content": reply}]
    return [*messages, {"role": "user", "content": f"U{len(replies) + 1}"}]


def users(placed: list[Message]) -> list[str]:
    return [m["content"] for m in placed if m["role"] == "user"]


def test_last_turn_holds_the_only_copy() -> None:
    placed = strategies.make("last-turn").place(history("a", "b"))
    assert users(placed) == ["U1", "U2", "U3\n\nSay aha."]
    assert placed[0]["role"] == "user"


def test_every_k_keeps_its_copies_where_they_were_put() -> None:
    placed = strategies.make("every-k", k=2).place(history("a", "b", "c"))
    assert users(placed) == ["U1\n\nSay aha.", "U2", "U3\n\nSay aha.", "U4"]
    assert strategies.make("every-k", k=1).place(history("a")) == strategies.make("every-turn").place(history("a"))


def test_short_reminder_says_all_once_and_little_later() -> None:
    placed = strategies.make("short-reminder", k=2).place(history("a", "b", "c", instruction="Say aha. Be kind."))
    assert placed[0]["content"] == "Say aha. Be kind."
    assert users(placed) == ["U1", "U2", "U3\n\nSay aha.", "U4"]
    assert shortened("word " * 40).endswith("word …")
    assert len(shortened("x" * 200)) <= 82


CHECKS = [{"kind": "contains", "text": "aha"}]


def test_on_drift_puts_the_instruction_back_after_the_answer_that_left_it() -> None:
    strategy = strategies.make("on-drift", checks=CHECKS)
    assert users(strategy.place(history("aha", "aha"))) == ["U1", "U2", "U3"]
    drifted = strategy.place(history("aha", "no", "aha"))
    assert users(drifted) == ["U1", "U2", "U3\n\nSay aha.", "U4"]
    assert drifted[0] == {"role": "system", "content": "Say aha."}


def test_on_drift_asks_for_two_failures_when_false_alarms_are_dear_and_can_stay() -> None:
    careful = strategies.make("on-drift", checks=CHECKS, false_alarm=0.001, copies=0)
    assert users(careful.place(history("aha", "no", "aha", "aha"))) == ["U1", "U2", "U3", "U4", "U5"]
    lost = users(careful.place(history("no", "no", "aha", "aha")))
    assert lost == ["U1", "U2", *(f"U{turn}\n\nSay aha." for turn in (3, 4, 5))]


def test_on_drift_that_moves_keeps_a_single_copy_in_the_newest_turn() -> None:
    strategy = strategies.make("on-drift", checks=CHECKS, copies=0, moves=True)
    assert not strategy.append_only
    assert users(strategy.place(history("aha", "aha"))) == ["U1", "U2", "U3"]
    assert users(strategy.place(history("aha", "no"))) == ["U1", "U2", "U3\n\nSay aha."]
    assert users(strategy.place(history("aha", "no", "aha", "aha"))) == ["U1", "U2", "U3", "U4", "U5\n\nSay aha."]


def test_on_drift_is_once_where_nothing_can_be_decided() -> None:
    strategy = strategies.make("on-drift", checks=[], detect=True)
    messages = history("x", "y", instruction="Be profound.")
    assert strategy.place(messages) == strategies.make("once").place(messages)
    found = strategy.place(history("As an AI language model I …", instruction="Act as Oscar Wilde."))
    assert users(found)[-1] == "U2\n\nAct as Oscar Wilde."


def test_drop_oldest_drops_whole_turns_in_steps_so_that_the_prefix_stays() -> None:
    strategy = strategies.make("drop-oldest", max_chars=40, keep=0.5)
    kept = [users(strategy.place(history(*["12345678"] * turns)))[0] for turns in range(12)]
    changes = sum(before != after for before, after in pairwise(kept))
    assert changes <= 4
    longest = strategy.place(history(*["12345678"] * 11))
    assert longest[0] == {"role": "system", "content": "Say aha."}
    assert users(longest)[-1] == "U12"
    assert sum(len(m["content"]) for m in longest[1:]) <= 40


def test_few_shot_shows_the_examples_nearest_to_the_first_question() -> None:
    examples = [
        {"user": "How is the weather in Rome?", "assistant": "R"},
        {"user": "What is the capital of Peru?", "assistant": "P"},
    ]
    messages = [{"role": "system", "content": "I"}, {"role": "user", "content": "What is the capital of Chile?"}]
    placed = strategies.make("few-shot", examples=examples, n=1).place(messages)
    assert [m["content"] for m in placed] == ["I", examples[1]["user"], "P", "What is the capital of Chile?"]


@pytest.fixture(scope="module")
def static_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A static embedding model in which a few words mean weather, and others money."""
    numpy = pytest.importorskip("numpy")
    model2vec = pytest.importorskip("model2vec")
    tokenizers = pytest.importorskip("tokenizers")
    words = ["[UNK]", "[PAD]", "rain", "umbrella", "cloudy", "price", "invoice", "bill", "what", "is"]
    vectors = [[0, 0]] * 2 + [[1, 0.1], [0.9, 0], [1, 0]] + [[0, 1], [0.1, 1], [0, 0.9]] + [[0.01, 0.01]] * 2
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    folder = tmp_path_factory.mktemp("static")
    model2vec.StaticModel(numpy.array(vectors, dtype=numpy.float32), tokenizer).save_pretrained(folder)
    return str(folder)


def test_few_shot_by_embeddings_finds_what_is_meant_where_no_word_is_shared(static_model: str) -> None:
    examples = [{"user": "what is price", "assistant": "P"}, {"user": "rain umbrella", "assistant": "R"}]
    messages = [{"role": "user", "content": "what is cloudy"}]
    by_words = strategies.make("few-shot", examples=examples, n=1).place(messages)
    by_meaning = strategies.make("few-shot", examples=examples, n=1, embeddings=static_model)
    assert by_words[1]["content"] == "P"
    assert by_meaning.place(messages)[1]["content"] == "R"
    assert by_meaning.place([{"role": "user", "content": "bill"}])[1]["content"] == "P"
    assert by_meaning.place([{"role": "user", "content": "zzz"}])[1]["content"] == "P"  # nothing known: the first
    longer = [*messages, {"role": "assistant", "content": "x"}, {"role": "user", "content": "bill"}]
    assert by_meaning.place(longer)[:2] == by_meaning.place(messages)[:2]  # the first question's, for good


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("every-k", {"k": 0}, "k must be a whole number from 1, not 0"),
        ("every-k", {"k": True}, "k must be a whole number"),
        ("short-reminder", {"reminder": 3}, "reminder must be a string"),
        ("on-drift", {}, "needs the parameter 'checks'"),
        ("on-drift", {"checks": [{"kind": "?"}]}, "unknown check kind"),
        ("on-drift", {"checks": [], "drift_rate": 0.01}, "must be below drift_rate"),
        ("drop-oldest", {"max_chars": 0}, "max_chars must be a whole number from 1"),
        ("drop-oldest", {"max_chars": 9, "then": "drop-oldest"}, "another strategy"),
        ("few-shot", {"examples": [{"user": "x"}]}, "examples[0] must have the texts"),
        ("few-shot", {"examples": []}, "at least one pair"),
        ("few-shot", {"examples": [{"user": "x", "assistant": "y"}], "embeddings": "a-name"}, "must be the folder"),
        (
            "few-shot",
            {"examples": [{"user": "x", "assistant": "y"}], "embeddings": "docs"},
            "no static embedding model",
        ),
        ("on-drift", {"checks": [], "moves": 1}, "moves must be true or false"),
        ("condense", {"max_chars": 0}, "max_chars must be a whole number from 1"),
        ("condense", {"max_chars": 9, "then": "condense"}, "another strategy"),
        ("few-shot", {"examples": [{"user": "x", "assistant": "y"}], "by": "middle"}, "'first' or 'last'"),
    ],
)
def test_unfit_parameters_are_named(name: str, parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        strategies.make(name, **parameters)
