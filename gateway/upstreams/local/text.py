"""From tokens to text as it comes: whole characters only, and nothing that may yet turn into a stop string."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from tokenizers.decoders import DecodeStream


class TextStream:
    """One answer's text.

    Args:
        tokenizer: the model's; special tokens are left out.
        stop: strings that end the answer.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = ()) -> None:
        from tokenizers.decoders import DecodeStream

        self._tokenizer = tokenizer
        self._decoder: DecodeStream = DecodeStream(skip_special_tokens=True)
        self._stop = stop
        self._held = ""

    def push(self, token: int) -> tuple[str, bool]:
        """Take a token in; returns the text that is now certain, and whether a stop string was reached."""
        text = self._decoder.step(self._tokenizer, token)
        if not text:
            return "", False
        if not self._stop:
            return text, False
        self._held += text
        ends = [at for stop in self._stop if (at := self._held.find(stop)) >= 0]
        if ends:
            return self._held[: min(ends)], True
        return self._release(len(self._held) - self._undecided()), False

    def flush(self) -> str:
        """What was held back in case a stop string came, when none did."""
        return self._release(len(self._held))

    def _undecided(self) -> int:
        """Length of the longest tail that begins a stop string."""
        for length in range(min(len(self._held), max(map(len, self._stop)) - 1), 0, -1):
            tail = self._held[-length:]
            if any(stop.startswith(tail) for stop in self._stop):
                return length
        return 0

    def _release(self, length: int) -> str:
        text, self._held = self._held[:length], self._held[length:]
        return text
