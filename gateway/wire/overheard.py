"""What is learned of an answer that goes by in bytes: its usage, and its words where no usage comes.

Only the last `TAIL_BYTES` of a body are kept. Whatever a body holds, `usage` stands at its end (embeddings,
completions, images, transcriptions, rerank); of an event stream every event is looked at.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from gateway.wire.observe import Usage
from gateway.wire.sse import data_of

TAIL_BYTES = 64 * 2**10
_USAGE = re.compile(rb'"usage"\s*:\s*(?=\{)')
"""No string can hold this: in one, its quotes would stand behind backslashes."""


class Overheard:
    """One answer while it goes by.

    Attributes:
        usage: token counts as the upstream gave them.
        text: the words of completions.
    """

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.text: list[str] = []
        self._tail = b""
        self._length = 0

    def see_bytes(self, read: bytes) -> None:
        """Take in a part of a body."""
        self._length += len(read)
        self._tail = (self._tail + read)[-TAIL_BYTES:]

    def see_event(self, raw: bytes) -> None:
        """Take in one server-sent event."""
        data = data_of(raw)
        if data is not None and data.startswith(b"{"):
            self._see(_parsed(data))

    def end_of_body(self) -> None:
        """Look at what has been kept of a body that is whole."""
        if not self._tail:
            return
        if self._length == len(self._tail):
            self._see(_parsed(self._tail))
            return
        found = list(_USAGE.finditer(self._tail))
        if found:
            text = self._tail[found[-1].end() :].decode(errors="replace")
            try:
                self.usage = _read(json.JSONDecoder().raw_decode(text)[0])
            except ValueError:
                return

    def _see(self, part: Any) -> None:
        if not isinstance(part, dict):
            return
        inner = part["response"] if isinstance(part.get("response"), dict) else part
        self.usage = _read(inner.get("usage")) or self.usage
        choices = part.get("choices")
        for choice in choices if isinstance(choices, list) else []:
            if isinstance(choice, dict) and isinstance(choice.get("text"), str):
                self.text.append(choice["text"])


def _read(usage: Any) -> Usage | None:
    """OpenAI's two sets of names; servers that rank give only `total_tokens`, and all of them are the prompt's."""
    if not isinstance(usage, dict):
        return None
    named = {
        "prompt_tokens": usage.get("prompt_tokens", usage.get("input_tokens", usage.get("total_tokens"))),
        "completion_tokens": usage.get("completion_tokens", usage.get("output_tokens", 0)),
        "prompt_tokens_details": usage.get("prompt_tokens_details", usage.get("input_tokens_details")),
        "completion_tokens_details": usage.get("completion_tokens_details", usage.get("output_tokens_details")),
    }
    return Usage.read(named) if named["prompt_tokens"] is not None else None


def _parsed(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
