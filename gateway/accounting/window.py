"""How full the context window is, and how many turns are left in it."""

from __future__ import annotations


def headroom_turns(window: int | None, used: int | None, used_before: int | None) -> int | None:
    """How many more turns like the last one fit.

    Args:
        window: the model's context window in tokens.
        used: tokens used after this turn, prompt and answer together.
        used_before: tokens used after the turn before; None at the first turn.

    Returns:
        Whole turns, at least 0; None when the window or the use is unknown.
    """
    if window is None or used is None:
        return None
    growth = used - (used_before or 0)
    if growth <= 0:
        growth = used
    return max(0, (window - used) // growth) if growth else None
