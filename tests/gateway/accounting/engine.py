"""A prefix cache as vLLM's, by itself: tokens in, cached tokens out. Nothing of the gateway's accounting is in it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


class PrefixCache:
    """Chained hashes of whole blocks, of prompts and of what was generated; nothing is ever evicted."""

    def __init__(self, block_tokens: int = 16) -> None:
        self._block = block_tokens
        self._held: set[bytes] = set()

    def read(self, prompt: Sequence[object]) -> int:
        """Cached tokens of a prompt; its last token is always computed."""
        held = 0
        for digest in self._chain(prompt[:-1]):
            if digest not in self._held:
                break
            held += self._block
        return held

    def write(self, tokens: Sequence[object]) -> None:
        """Keep what has been computed."""
        self._held.update(self._chain(tokens))

    def _chain(self, tokens: Sequence[object]) -> list[bytes]:
        digest, chain = b"", []
        for end in range(self._block, len(tokens) + 1, self._block):
            block = repr(list(tokens[end - self._block : end])).encode()
            digest = hashlib.sha256(digest + block).digest()
            chain.append(digest)
        return chain
