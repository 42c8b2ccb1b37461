"""Tokens become text in whole characters, and stop strings never leak."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.upstreams.local.text import TextStream
from tests.gateway.upstreams import local_models


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from tokenizers import Tokenizer

    folder: Path = local_models.make(tmp_path_factory.mktemp("tiny"), num_hidden_layers=1)
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def stream(tokenizer: Any, text: str, *stops: str) -> tuple[list[str], bool]:
    """The pieces that `text`'s tokens give, and whether a stop string ended them."""
    decoder = TextStream(tokenizer, stops)
    pieces = []
    for token in tokenizer.encode(text, add_special_tokens=False).ids:
        piece, stopped = decoder.push(token)
        pieces.append(piece)
        if stopped:
            return pieces, True
    return [*pieces, decoder.flush()], False


def test_an_emoji_of_several_tokens_comes_whole(tokenizer: Any) -> None:
    text = "Grüße 🙂👩‍🚀 日本"
    assert len(tokenizer.encode("🙂").ids) == 4
    pieces, _ = stream(tokenizer, text)
    assert "".join(pieces) == text
    assert "🙂" in pieces
    assert not any("\ufffd" in piece for piece in pieces)


def test_half_a_character_at_the_end_is_not_said(tokenizer: Any) -> None:
    decoder = TextStream(tokenizer)
    tokens = tokenizer.encode("Lima🙂").ids[:-1]
    assert "".join(decoder.push(token)[0] for token in tokens) + decoder.flush() == "Lima"


def test_special_tokens_say_nothing(tokenizer: Any) -> None:
    assert "".join(stream(tokenizer, "<s>Lima<user>")[0]) == "Lima"


@pytest.mark.parametrize(
    ("text", "stops", "said"),
    [
        ("The capital is Lima, of course.", ["Lima,"], "The capital is "),
        ("The capital is Lima, of course.", ["ima, of c"], "The capital is L"),
        ("one two three", ["three", "two"], "one "),
        ("a 🙂 b", ["🙂"], "a "),
        ("xxxxy", ["xxy"], "xx"),
    ],
)
def test_a_stop_string_across_token_borders_ends_the_answer_before_it(
    tokenizer: Any, text: str, stops: list[str], said: str
) -> None:
    pieces, stopped = stream(tokenizer, text, *stops)
    assert (stopped, "".join(pieces)) == (True, said)


def test_the_beginning_of_a_stop_string_is_said_once_it_cannot_come(tokenizer: Any) -> None:
    pieces, stopped = stream(tokenizer, "Lima, of", "Lima, of course")
    assert (stopped, "".join(pieces)) == (False, "Lima, of")
    assert "".join(stream(tokenizer, "Lima, or", "Lima, of")[0]) == "Lima, or"
