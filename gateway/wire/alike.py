"""Chunks that differ in their text alone, known by the bytes around it.

    data: {"id":"…",…,"choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}⏎⏎
    ╰───────────────────────── before ────────────────────────╯     ╰───────── behind ────────╯

An event with the same bytes before and behind its text, and a JSON string's inside between them, says what the one
said that was read whole, but for its text. Finding such events is a search for bytes, some ten times as fast as parsing
each of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson

_TEXT = re.compile(rb'"content":\s?"((?:[^"\\]|\\.)*)"')
_NOT_PLAIN = bytes([*range(0x20), *b'"\\', *range(0x80, 0x100)])
"""What in a JSON string may stand for something else than itself, or end it."""
SEAM_BYTES = 40
GIVES_UP_AFTER = 16
"""Events in a row that taught nothing of use, as where each carries a number of its own; no more are looked at then."""


@dataclass(frozen=True, slots=True)
class Run:
    """Events alike: where they end, and their text."""

    end: int
    text: str


class Alike:
    """Knows one shape of events at a time, the latest that was read."""

    def __init__(self) -> None:
        self._before = self._behind = self._between = b""
        self._useless = 0

    def learn(self, raw: bytes, chunk: dict[str, Any]) -> None:
        """Take the shape of an event that goes on as it came; `chunk` is the same, parsed."""
        if self._useless >= GIVES_UP_AFTER:
            return
        self._useless += 1
        text = _text_alone(chunk)
        if text is None or not raw.startswith(b"data: ") or not raw.endswith(b"}\n\n") or raw.count(b'"content"') != 1:
            return
        found = _TEXT.search(raw)
        if found is None or _string(found[1]) != text:
            return
        self._before, self._behind = raw[: found.start(1)], raw[found.end(1) :]
        self._between = self._behind + self._before

    def run(self, events: bytes, at: int) -> Run | None:
        """The events of the known shape that stand at `at`, one behind the other; None where the first is another."""
        if not self._before or not events.startswith(self._before, at):
            return None
        begins = at + len(self._before)
        last = events.find(self._behind, begins)
        if last < 0:
            return None
        if not events.startswith(self._before, last + len(self._behind)):
            return self._told([events[begins:last]], at)  # the one event of a read, as tokens come
        texts = self._apart(events[begins:])
        end = texts[-1].find(self._behind)
        texts = [*texts[:-1], texts[-1][:end]] if end >= 0 else texts[:-1]
        return self._told(texts, at)

    def _apart(self, events: bytes) -> list[bytes]:
        """`events` cut at what lies between two texts. Python looks for a short separator three times as fast as for
        one of an event's length; where what stands ahead of it is not the same each time, it is looked for whole."""
        ahead, seam = self._between[:-SEAM_BYTES], self._between[-SEAM_BYTES:]
        *pieces, last = events.split(seam)
        texts = [piece.removesuffix(ahead) for piece in pieces]
        if sum(map(len, pieces)) != sum(map(len, texts)) + len(ahead) * len(pieces):
            return events.split(self._between)
        return [*texts, last]

    def _told(self, texts: list[bytes], at: int) -> Run | None:
        """As many of the events as there are texts that are the inside of a JSON string."""
        joined = b"".join(texts)
        if len(joined.translate(None, _NOT_PLAIN)) == len(joined):
            text = joined.decode("ascii")
        else:
            strings: list[str] = []
            for one in texts:
                string = _string(one)
                if string is None:
                    break
                strings.append(string)
            texts, text = texts[: len(strings)], "".join(strings)
            joined = b"".join(texts)
        if not texts:
            return None
        self._useless = 0
        around = len(self._before) + len(self._behind)
        return Run(at + around * len(texts) + len(joined), text)


def _text_alone(chunk: dict[str, Any]) -> str | None:
    """The text of a chunk that says nothing else of the answer; None where it does."""
    choices = chunk.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or chunk.get("usage") is not None:
        return None
    choice = choices[0]
    if not isinstance(choice, dict) or choice.get("index") != 0 or choice.get("finish_reason") is not None:
        return None
    delta = choice.get("delta")
    if not isinstance(delta, dict) or any(value for name, value in delta.items() if name not in ("content", "role")):
        return None
    text = delta.get("content")
    return text if isinstance(text, str) else None


def _string(inside: bytes) -> str | None:
    """What stands between the quotes of a JSON string, read; None when it is no such inside."""
    try:
        read = orjson.loads(b'"%b"' % inside)
    except orjson.JSONDecodeError:
        return None
    return read if isinstance(read, str) else None
