"""Which arm a conversation is dealt: one salted hash, mapped to [0, 1), laid over the arms' weights."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping


def position(salt: str, conversation_id: str) -> float:
    """A conversation's place in [0, 1): the same on every gateway, independent between salts."""
    digest = hashlib.blake2b(conversation_id.encode(), key=_key(salt), digest_size=8)
    return (int.from_bytes(digest.digest(), "big") >> 11) / 2**53


def is_within(share: float, salt: str, conversation_id: str) -> bool:
    """Whether a conversation is in a share (0..1) of them all, by its `position`."""
    return share >= 1 or (share > 0 and position(salt, conversation_id) < share)


@functools.lru_cache(maxsize=1024)
def _key(salt: str) -> bytes:
    return hashlib.blake2b(salt.encode()).digest()


def deal(weights: Mapping[str, float], place: float) -> str:
    """The arm at `place` (in [0, 1)) when the arms lie side by side, each as wide as its weight.

    Raises:
        ValueError: no arm has a weight above 0.
    """
    total = sum(weights.values())
    if not total > 0:
        raise ValueError("no arm has a weight above 0")
    edge, chosen = 0.0, None
    for name, weight in weights.items():
        if weight > 0:
            chosen = name
            edge += weight / total
            if place < edge:
                break
    assert chosen is not None
    return chosen
