"""Counting tokens as the model does, and remembering the counts."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import orjson

from gateway.accounting.prices import litellm_folder
from strategies import Message
from strategies.instruction import text_of

if TYPE_CHECKING:
    import tiktoken

MESSAGE_OVERHEAD = 3
"""Tokens around each message, and ahead of the answer, in OpenAI's chat format
(https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken)."""

REMEMBERED = 100_000
DEFAULT_ENCODING = "o200k_base"


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
        self._counts: OrderedDict[bytes, int] = OrderedDict()

    def text(self, text: str) -> int:
        """Tokens of bare text."""
        return len(self._encoding.encode_ordinary(text))

    def messages(self, messages: Sequence[Message]) -> int:
        """Prompt tokens of a message list."""
        return sum(map(self._message, messages)) + MESSAGE_OVERHEAD

    def _message(self, message: Message) -> int:
        key = orjson.dumps(message, default=str)
        count = self._counts.get(key)
        if count is None:
            count = self._count(message)
            self._counts[key] = count
            if len(self._counts) > REMEMBERED:
                self._counts.popitem(last=False)
        return count

    def _count(self, message: Message) -> int:
        tokens = MESSAGE_OVERHEAD + self.text(str(message.get("role", ""))) + self.text(text_of(message.get("content")))
        if message.get("name"):
            tokens += 1 + self.text(str(message["name"]))
        if message.get("tool_calls"):
            tokens += self.text(orjson.dumps(message["tool_calls"]).decode())
        return tokens


def _encoding(model: str, name: str | None) -> tiktoken.Encoding:
    os.environ.setdefault("TIKTOKEN_CACHE_DIR", str(litellm_folder() / "litellm_core_utils" / "tokenizers"))
    import tiktoken

    if name is not None:
        return tiktoken.get_encoding(name)
    try:
        return tiktoken.encoding_for_model(model.split("/")[-1])
    except KeyError:
        return tiktoken.get_encoding(DEFAULT_ENCODING)
