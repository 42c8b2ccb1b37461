"""A bounded memory of counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

LIMIT = 40_000


class Remembered:
    """Counts by key, the oldest half forgotten when there are too many.

    Two plain dicts take turns: cheaper to read than one that keeps an order of use. Keys are 64-bit hashes of texts
    (Python's own, seeded anew in every process), so that no text is kept.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit // 2
        self._young: dict[int, int] = {}
        self._old: dict[int, int] = {}

    def counts(self, keys: Sequence[int], count: Callable[[int], int]) -> list[int]:
        """The count of each key; `count` is asked for the position of one that is not known."""
        found: list[int | None] = list(map(self._young.get, keys))
        if None not in found:
            return found  # type: ignore[return-value]  # the line above
        return [
            self._one(key, index, count) if n is None else n
            for index, (key, n) in enumerate(zip(keys, found, strict=True))
        ]

    def get(self, key: int) -> int | None:
        """One count, or None."""
        return self._young.get(key, self._old.get(key))

    def unknown(self, keys: Sequence[int]) -> list[int]:
        """Positions of the keys that are not known."""
        return [index for index, key in enumerate(keys) if key not in self._young and key not in self._old]

    def _one(self, key: int, index: int, count: Callable[[int], int]) -> int:
        n = self._old.get(key)
        self._young[key] = found = count(index) if n is None else n
        if len(self._young) >= self._limit:
            self._old, self._young = self._young, {}
        return found


class Recent(Generic[K, V]):
    """A bounded dict of what was written or read lately; see `Remembered` for how it forgets."""

    def __init__(self, limit: int) -> None:
        self._limit = limit // 2
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """The value of a key, or None."""
        found = self._young.get(key)
        return self._old.get(key) if found is None else found

    def put(self, key: K, value: V) -> None:
        """Keep a value."""
        self._young[key] = value
        if len(self._young) >= self._limit:
            self._old, self._young = self._young, {}


def common(one: Sequence[object], other: Sequence[object]) -> int:
    """How many items two lists have in common at their beginning; by halves, for whole slices compare fast."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle - 1)
    return low
