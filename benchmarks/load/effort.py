"""How much is measured: everything, or a little of everything."""

from __future__ import annotations

from dataclasses import dataclass

CONNECTIONS = 16
"""Of the closed loop."""
PACE_PER_S = 50
"""Tokens that the paced upstream sends a second in each stream."""


@dataclass(frozen=True, slots=True)
class Effort:
    """Sizes of the measurements; times in seconds."""

    rounds: int
    window_s: float
    """A window of the closed loop; longer for candidates whose answers take long, up to `wrk.LONGEST_S`."""
    histories: tuple[int, ...]
    """Messages ahead of the new one."""
    rates_per_s: tuple[int, ...]
    open_loop_s: float
    open_loop_tokens: int
    concurrent: tuple[int, ...]
    concurrent_tokens: int
    patience: float
    """So many times longer than they should, streams are waited for before they are given up."""
    memory_requests: int
    memory_s: float
    """The most that a candidate is given for its requests of the memory section."""


FULL = Effort(
    rounds=3,
    window_s=3.0,
    histories=(4, 40, 400),
    rates_per_s=(50, 200),
    open_loop_s=3.0,
    open_loop_tokens=20,
    concurrent=(1, 100, 1000),
    concurrent_tokens=150,
    patience=3.0,
    memory_requests=100_000,
    memory_s=60.0,
)
QUICK = Effort(
    rounds=1,
    window_s=0.5,
    histories=(4, 400),
    rates_per_s=(20,),
    open_loop_s=1.0,
    open_loop_tokens=10,
    concurrent=(1, 20),
    concurrent_tokens=25,
    patience=3.0,
    memory_requests=1_000,
    memory_s=2.0,
)
