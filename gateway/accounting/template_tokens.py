"""Counting tokens with a model's own tokenizer and chat template, and remembering the counts.

A tokenizer cuts its special tokens out of a text before it does anything else, so what lies between two of them is
tokenized by itself: counted once, remembered, and added up. Whether that holds for a tokenizer is tried when the
counter is made; where it does not, prompts are tokenized whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from gateway.accounting.remembered import Remembered
from gateway.accounting.tokens import NOTHING
from strategies import Message

CHARS_A_MESSAGE = 200
"""Rendering a message takes as long as tokenizing so many characters."""

_PROBE: list[Message] = [
    {"role": "user", "content": "Speak French.\n\nWhat is 2 + 2? "},
    {"role": "assistant", "content": " Quatre."},
    {"role": "user", "content": "And the capital of Peru?"},
]


class TemplateCounter:
    """Exact counts for one model.

    Args:
        render: the prompt of a message list as text, the opening of the answer at its end. Raises BadRequest when the
            template refuses the messages.
        tokenizer: the fast tokenizer beneath (`tokenizers.Tokenizer`).
    """

    def __init__(self, render: Callable[[Sequence[Message]], str], tokenizer: Any) -> None:
        self.render = render
        self._tokenizer = tokenizer
        self._counts = Remembered()
        self._split = _splitter(tokenizer)
        if self._split is not None and not self._adds_up():
            self._split = None

    def text(self, text: str) -> int:
        """Tokens of bare text."""
        return len(self.ids(text))

    def fixed(self, text: str) -> int:
        """The same, remembered: for a text that comes again with every turn."""
        return self._counts.counts([hash(text)], lambda _: self.text(text))[0]

    def ids(self, text: str) -> list[int]:
        """Tokens of bare text, without special ones around it."""
        found: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return found

    def prompt(self, messages: Sequence[Message], known: Mapping[int, int] = NOTHING) -> TemplatePrompt:
        """The prompt that a message list makes; `known` is of no use here, where messages have no keys."""
        return TemplatePrompt(self, messages, self.pieces(self.render(messages)))

    def keys(self, messages: Sequence[Message]) -> list[int]:
        """None: a template may write a message differently for what stands beside it."""
        return []

    def new_chars(self, messages: Sequence[Message], limit: int) -> int:
        """Characters that make as much work as counting the messages: the template is rendered anew each time."""
        return sum(len(str(message.get("content"))) + CHARS_A_MESSAGE for message in messages)

    def pieces(self, text: str) -> list[str]:
        """The parts of a text that are tokenized each by itself."""
        if self._split is None:
            return [text]
        return [piece for piece in self._split.split(text) if piece]

    def count(self, pieces: Sequence[str]) -> int:
        """Tokens of pieces that follow one another."""
        return sum(self._counts.counts([hash(piece) for piece in pieces], lambda index: self.text(pieces[index])))

    def _adds_up(self) -> bool:
        try:
            text = self.render(_PROBE)
        except Exception:  # whatever a template raises at a list that it does not take
            return False
        return [token for piece in self.pieces(text) for token in self.ids(piece)] == self.ids(text)


@dataclass(slots=True)
class TemplatePrompt:
    """A rendered message list, in pieces."""

    counter: TemplateCounter
    messages: Sequence[Message]
    pieces: list[str]
    exact: bool = True

    @property
    def tokens(self) -> int:
        """All of it, with the opening of the answer."""
        return self.counter.count(self.pieces)

    def head(self, count: int) -> TemplatePrompt:
        """The prompt of the first `count` messages."""
        return self.counter.prompt(self.messages[:count])

    def until(self, count: int) -> int:
        """Tokens that this prompt shares with that of its first `count` messages alone."""
        return self._shared(self.head(count).pieces) if count else 0

    def shared(self, before: TemplatePrompt) -> tuple[int, int]:
        """Tokens at this prompt's beginning that are those of the prompt `before`; and with its answer behind it."""
        read = self._shared(before.pieces)
        index = len(before.messages)
        answer = self.messages[index] if index < len(self.messages) else {}
        if answer.get("role") != "assistant" or not isinstance(answer.get("content"), str):
            return read, read
        return read, self._shared(self.counter.pieces("".join(before.pieces) + answer["content"]))

    def _shared(self, other: list[str]) -> int:
        pairs = zip(self.pieces, other, strict=False)
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        tokens = self.counter.count(self.pieces[:same])
        if same == min(len(self.pieces), len(other)):
            return tokens
        one, two = self.counter.ids(self.pieces[same]), self.counter.ids(other[same])
        return tokens + sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, two, strict=False)))


def _splitter(tokenizer: Any) -> re.Pattern[str] | None:
    """A pattern that cuts at the special tokens; None when one of them takes in what stands beside it."""
    added = tokenizer.get_added_tokens_decoder().values()
    if not added or any(token.lstrip or token.rstrip or token.single_word or token.normalized for token in added):
        return None
    longest_first = sorted((token.content for token in added), key=len, reverse=True)
    return re.compile("(" + "|".join(map(re.escape, longest_first)) + ")")
