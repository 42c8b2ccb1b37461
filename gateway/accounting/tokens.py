"""Counting tokens as OpenAI's models do, and remembering the counts."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import itemgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import orjson

from gateway.accounting.prices import litellm_folder
from gateway.accounting.remembered import Remembered, common
from strategies import Message
from strategies.instruction import text_of

if TYPE_CHECKING:
    import tiktoken

MESSAGE_OVERHEAD = 3
"""Tokens around each message in OpenAI's chat format
(https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken)."""

PRIMING = 3
"""Tokens behind the last message that begin the answer; the format of reasoning models needs one less (recorded
usage of o3-mini, gpt-5 and gpt-5.6, in tests/gateway/accounting/recorded_usage.json)."""

REASONING_MODELS = re.compile(r"(^|/)(o\d|gpt-(5|[6-9]))")
DEFAULT_ENCODING = "o200k_base"
LONGEST_WHOLE = 256
NOTHING: Mapping[int, int] = MappingProxyType({})
UNCOUNTABLE = 1 << 40
"""Added to the count of a message that holds more than text, so that one sum says both: how many tokens its texts
have, and whether that is all."""

TOOL_ROLES = ("tool", "function")
TEXT_PARTS = frozenset({"text", "refusal", "input_text", "output_text"})


_ROLE_AND_CONTENT = itemgetter("role", "content")


class TiktokenCounter:
    """OpenAI's way of counting, exact for its text models and an estimate for others.

    Each message is counted once and remembered, so a turn costs what its new messages cost.

    Args:
        model: the model's name, from which tiktoken knows the encoding.
        encoding: an encoding by name, over the model's own.

    Raises:
        ValueError: the encoding does not exist.
    """

    def __init__(self, model: str, encoding: str | None = None) -> None:
        self._encoding = _encoding(model, encoding)
        self._counts = Remembered()
        self.priming = PRIMING - bool(REASONING_MODELS.search(model))

    def text(self, text: str) -> int:
        """Tokens of bare text."""
        return len(self._encoding.encode_ordinary(text))

    def fixed(self, text: str) -> int:
        """The same, remembered: for a text that comes again with every turn."""
        return self._counts.counts([hash(text)], lambda _: self.text(text))[0]

    def prompt(self, messages: Sequence[Message], known: Mapping[int, int] = NOTHING) -> TiktokenPrompt:
        """The prompt that a message list makes; `known` has the keys of messages by their id, where the caller has."""
        keys = [known.get(id(message)) or _key(message) for message in messages] if known else self.keys(messages)
        counts = self._counts.counts(keys, lambda index: self._count(messages[index]))
        return TiktokenPrompt(self, messages, keys, counts)

    def keys(self, messages: Sequence[Message]) -> list[int]:
        """What each message is remembered by. Of plain messages, most of a long history, in one go."""
        if set(map(len, messages)) == {2}:
            with suppress(KeyError, TypeError):  # no content, or one of parts
                return list(map(hash, map(_ROLE_AND_CONTENT, messages)))
        return list(map(_key, messages))

    def new_chars(self, messages: Sequence[Message], limit: int) -> int:
        """Characters that counting the messages has to read; exact only where they are more than `limit`."""
        chars = sum(len(content) for message in messages if isinstance(content := message.get("content"), str))
        if chars <= limit and not any(isinstance(message.get("content"), list) for message in messages):
            return chars
        fresh = self._counts.unknown(self.keys(messages))
        return sum(len(text_of(messages[index].get("content"))) for index in fresh)

    def shared_beginning(self, one: str, other: str) -> int:
        """Tokens that two texts have in common at their beginning."""
        return common(self._encoding.encode_ordinary(one), self._encoding.encode_ordinary(other))

    def _count(self, message: Message) -> int:
        content = message.get("content")
        tokens = MESSAGE_OVERHEAD + self.fixed(str(message.get("role", ""))) + self.text(text_of(content))
        if len(message) == 2 and type(content) is str and message.get("role") not in TOOL_ROLES:
            return tokens
        if message.get("name"):
            tokens += 1 + self.text(str(message["name"]))
        if message.get("tool_calls"):
            tokens += self.text(orjson.dumps(message["tool_calls"]).decode())
        return tokens if is_plain(message) else tokens + UNCOUNTABLE


@dataclass(slots=True)
class TiktokenPrompt:
    """A counted message list; `keys` and `counts` are by message."""

    counter: TiktokenCounter
    messages: Sequence[Message]
    keys: list[int]
    counts: list[int]

    @property
    def tokens(self) -> int:
        """All of it, with the opening of the answer."""
        return self.until(len(self.counts)) + self.counter.priming

    @property
    def exact(self) -> bool:
        """Whether every message is one whose tokens are known: text alone, no tools, no pictures."""
        return sum(self.counts) < UNCOUNTABLE

    def head(self, count: int) -> TiktokenPrompt:
        """The prompt of the first `count` messages."""
        return TiktokenPrompt(self.counter, self.messages[:count], self.keys[:count], self.counts[:count])

    def until(self, count: int) -> int:
        """Tokens of the first `count` messages, as they lie in this prompt."""
        return sum(self.counts[:count]) % UNCOUNTABLE

    def shared(self, before: TiktokenPrompt) -> tuple[int, int]:
        """Tokens at this prompt's beginning that are those of the prompt `before`; and with its answer behind it.

        The answer counts where this prompt has the prompt before, whole, and an assistant's message behind it.
        """
        length = len(before.keys)
        if self.keys[:length] == before.keys:
            whole = before.tokens
            if length == len(self.keys) or self.messages[length].get("role") != "assistant":
                return min(whole, self.tokens), min(whole, self.tokens)
            # The answer's own opening is the end of the prompt before; the token behind its text is not written yet.
            closing = MESSAGE_OVERHEAD + 1 - PRIMING
            answer = self.counts[length] % UNCOUNTABLE
            return whole, whole + answer - self.counter.priming - closing
        index = common(self.keys, before.keys)
        tokens = self.until(index)
        if index < min(length, len(self.keys)):
            tokens += self._shared_in(self.messages[index], before.messages[index])
        return tokens, tokens

    def _shared_in(self, one: Message, other: Message) -> int:
        if one.get("role") != other.get("role"):
            return 0
        opening = self.counter.priming
        return opening + self.counter.shared_beginning(text_of(one.get("content")), text_of(other.get("content")))


def is_plain(message: Message) -> bool:
    """Whether a message's tokens can be counted: text, and nothing else that the model reads."""
    content = message.get("content")
    if isinstance(content, list) and not all(part.get("type") in TEXT_PARTS for part in content):
        return False
    return message.get("role") not in TOOL_ROLES and not (
        message.get("tool_calls") or message.get("function_call") or message.get("audio")
    )


def _key(message: Message) -> int:
    content = message.get("content")
    if type(content) is str and len(message) == 2:
        return hash((message["role"], content))
    return hash(_frozen(message))


def _frozen(value: Any, name: str = "content") -> Any:
    """`value` as something to hash. A long string that is no text (a picture) stands for itself by a few pieces."""
    if isinstance(value, dict):
        return tuple((key, _frozen(inner, key)) for key, inner in value.items())
    if isinstance(value, list):
        return tuple(_frozen(inner, name) for inner in value)
    if isinstance(value, str) and len(value) > LONGEST_WHOLE and name not in ("content", "text"):
        middle = len(value) // 2
        return len(value), value[:LONGEST_WHOLE], value[middle : middle + LONGEST_WHOLE], value[-LONGEST_WHOLE:]
    return value


def _encoding(model: str, name: str | None) -> tiktoken.Encoding:
    os.environ.setdefault("TIKTOKEN_CACHE_DIR", str(litellm_folder() / "litellm_core_utils" / "tokenizers"))
    import tiktoken

    if name is None:
        try:
            name = tiktoken.encoding_name_for_model(model.split("/")[-1])
        except KeyError:
            name = DEFAULT_ENCODING
    encoding = tiktoken.get_encoding(name)
    # Its core has tables of its own. What they were made from would stay beside them: 30 MB for o200k_base.
    encoding._mergeable_ranks = {}
    return encoding
