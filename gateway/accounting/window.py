"""How full the context window is, and how many turns are left in it."""

from __future__ import annotations


def headroom_tokens(window: int | None, used: int | None) -> int | None:
    """Tokens left in the window; None when the window or the use is unknown."""
    return None if window is None or used is None else max(0, window - used)


def growth_per_turn(used: int, head: int, turns: int) -> float:
    """By how many tokens a conversation has grown with each of its turns, on average.

    Args:
        used: tokens used after its last turn, prompt and answer together.
        head: those of them that stand in front of the first turn and do not grow.
        turns: user turns in the prompt.
    """
    return max(0, used - head) / max(1, turns)


def headroom_turns(window: int | None, used: int | None, head: int, turns: int) -> int | None:
    """How many more turns like those so far fit, whole ones; None when that is unknown or there is no growth.

    Args:
        window: the model's context window in tokens.
        used, head, turns: as for `growth_per_turn`.
    """
    left = headroom_tokens(window, used)
    if left is None or used is None:
        return None
    growth = growth_per_turn(used, head, turns)
    return int(left // growth) if growth else None
