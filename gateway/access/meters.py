"""How much of a limit has been used: the seam between the limits and where their use is kept.

`InMemoryMeters` is exact within one process. Where several hold limits together, `gateway.access.leased_meters`
takes its place.
"""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

SLICES = 600
"""Steps in which a window moves on: 0.1 s in a minute, 144 s in a day. They bound the memory of a busy window."""


@dataclass(frozen=True, slots=True)
class Window:
    """At most `limit` in any `period_s` seconds, of what comes in multiples of `unit`; 0 where any part can be."""

    limit: float
    period_s: float
    unit: float = 1.0


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a meter stands: what is left (never below 0), seconds until something more may go through (0 when it may
    now), and seconds until nothing counts any more."""

    left: float
    wait_s: float
    reset_s: float


class Meters(Protocol):
    """Meters by name. Each call is one indivisible step."""

    async def take(self, meter: str, window: Window, amount: float) -> bool:
        """Add `amount` if it fits; says whether it did."""
        ...

    async def ready(self, meter: str, window: Window, least: float) -> bool:
        """Whether `least` more may go through; adds nothing."""
        ...

    async def charge(self, meter: str, window: Window, amount: float, ago_s: float = 0) -> None:
        """Add `amount` whether it fits or not, as used `ago_s` seconds ago (in order, the oldest first)."""
        ...

    async def standing(self, meter: str, window: Window, amount: float) -> Standing:
        """Where the meter stands for one who wants `amount` more."""
        ...

    async def enter(self, meter: str, limit: int) -> bool:
        """Count one more at the same time if there are fewer than `limit`; says whether it was counted."""
        ...

    async def leave(self, meter: str) -> None:
        """Count one less at the same time."""
        ...


class InMemoryMeters:
    """Meters of this process. `clock` gives seconds that never go back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._logs: defaultdict[str, _Log] = defaultdict(_Log)
        self._inside: Counter[str] = Counter()

    async def take(self, meter: str, window: Window, amount: float) -> bool:
        """See `Meters`."""
        log = self._current(meter, window)
        if log.used + amount > window.limit:
            return False
        log.add(self._clock(), window.period_s, amount)
        return True

    async def ready(self, meter: str, window: Window, least: float) -> bool:
        """See `Meters`."""
        return self._current(meter, window).used + least <= window.limit

    async def charge(self, meter: str, window: Window, amount: float, ago_s: float = 0) -> None:
        """See `Meters`."""
        self._current(meter, window).add(self._clock() - ago_s, window.period_s, amount)

    async def standing(self, meter: str, window: Window, amount: float) -> Standing:
        """See `Meters`."""
        log, now = self._current(meter, window), self._clock()
        wait_s = max(0.0, log.free_at(window, amount) - now)
        reset_s = log.entries[-1].ends + window.period_s - now if log.entries else 0.0
        return Standing(max(0.0, window.limit - log.used), wait_s, reset_s)

    async def enter(self, meter: str, limit: int) -> bool:
        """See `Meters`."""
        if self._inside[meter] >= limit:
            return False
        self._inside[meter] += 1
        return True

    async def leave(self, meter: str) -> None:
        """See `Meters`."""
        self._inside[meter] -= 1

    def _current(self, meter: str, window: Window) -> _Log:
        log = self._logs[meter]
        log.forget(self._clock() - window.period_s)
        return log


@dataclass(slots=True)
class _Slice:
    ends: float
    amount: float


class _Log:
    """A sliding window: what was used, in slices. A slice counts until its end is a whole period old, so no period of
    that length ever holds more than was granted."""

    def __init__(self) -> None:
        self.entries: deque[_Slice] = deque()
        self.used = 0.0

    def add(self, at: float, period_s: float, amount: float) -> None:
        step = period_s / SLICES
        ends = (math.floor(at / step) + 1) * step
        if self.entries and self.entries[-1].ends >= ends:
            self.entries[-1].amount += amount
        else:
            self.entries.append(_Slice(ends, amount))
        self.used += amount

    def forget(self, until: float) -> None:
        while self.entries and self.entries[0].ends <= until:
            self.used -= self.entries.popleft().amount
        if not self.entries:
            self.used = 0.0  # and no rounding errors with it

    def free_at(self, window: Window, amount: float) -> float:
        """When `amount` fits; when all is forgotten, if it never fits."""
        used, at = self.used, -math.inf
        for entry in self.entries:
            if used + amount <= window.limit:
                break
            used -= entry.amount
            at = entry.ends + window.period_s
        return at
