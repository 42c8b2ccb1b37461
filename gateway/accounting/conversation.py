"""A conversation's books: its sums by kind, and what placing the instruction otherwise would have cost it.

All from the rows of the ledger, so that it is the same in the API, on the command line and on the page.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import floor
from typing import Any

Row = Mapping[str, Any]

TOKENS = ("prompt", "cached", "cache_write", "completion", "reasoning", "repeated_instruction")
COSTS = ("input", "cached", "cache_write", "output", "reasoning")
PHRASES = {
    "once": "saying it once",
    "every-turn": "repeating it in every turn",
    "last-turn": "saying it in the last turn alone",
    "every-k": "repeating it every few turns",
    "short-reminder": "a short reminder in every turn",
}


def totals(rows: Sequence[Row]) -> dict[str, Any]:
    """Sums over all requests of a conversation, regenerated answers too: they were paid for. Unknown is None.

    `sources` counts the requests by where their usage is from; `window` is how the last answered turn filled it.
    """
    answered = [row for row in rows if row["context_used"] is not None]
    last = answered[-1] if answered else None
    return {
        **{f"{kind}_tokens": _sum(row[f"{kind}_tokens"] for row in rows) for kind in TOKENS},
        **{f"cost_{kind}_usd": _sum(row[f"cost_{kind}_usd"] for row in rows) for kind in COSTS},
        "cost_usd": _sum(row["cost_usd"] for row in rows),
        "sources": dict(Counter(row["usage_source"] for row in rows if row["usage_source"])),
        "window": None
        if last is None
        else {
            "tokens": last["context_window"],
            "used": last["context_used"],
            "headroom_tokens": last["context_headroom_tokens"],
            "headroom_turns": last["context_headroom_turns"],
        },
    }


@dataclass(frozen=True, slots=True)
class _Placement:
    """One strategy over the compared turns."""

    prompt_tokens: int
    cached_tokens: int
    cost_usd: float | None
    full_at_turn: int | None

    def as_dict(self) -> dict[str, Any]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "cached_tokens": self.cached_tokens,
            "cached_share": self.cached_tokens / self.prompt_tokens if self.prompt_tokens else None,
            "cost_usd": self.cost_usd,
            "window_full_at_turn": self.full_at_turn,
        }


def comparison(rows: Sequence[Row]) -> dict[str, Any] | None:
    """What every strategy would have taken over the conversation, and the difference in a sentence.

    Returns:
        `used` and `against` (strategy names), `requests` (how many are compared), `strategies` (name → sums of prompt
        and cached tokens and cost, cached share, and the turn that no longer fits the window), `more_tokens` and
        `more_usd` (of `used` over `against`; negative when it took less) and `sentence`; None when no request of the
        conversation could be compared.
    """
    rows = [row for row in rows if row["counterfactual_prompt_tokens"] and row["auxiliary"] is None]
    rows = [row for row in rows if row["strategy"] in row["counterfactual_prompt_tokens"]]
    if not rows:
        return None
    used = rows[-1]["strategy"]
    shared = set.intersection(*(set(row["counterfactual_prompt_tokens"]) for row in rows))
    names = [used, *(name for name in rows[-1]["counterfactual_prompt_tokens"] if name in shared and name != used)]
    placements = {name: _placement(rows, name, used) for name in names}
    against = next((name for name in ("once", "every-turn") if name in placements and name != used), None)
    own, other = placements[used], placements.get(against or "")
    return {
        "used": used,
        "against": against,
        "requests": len(rows),
        "strategies": {name: one.as_dict() for name, one in placements.items()},
        "more_tokens": None if other is None else own.prompt_tokens - other.prompt_tokens,
        "more_usd": None if other is None else _difference(own.cost_usd, other.cost_usd),
        "sentence": _sentence(rows, used, against, placements),
    }


def _placement(rows: Sequence[Row], name: str, used: str) -> _Placement:
    """The strategy's sums; `used` stands for whichever strategy each row was answered with."""

    def of(row: Row, column: str) -> Any:
        return (row[column] or {}).get(row["strategy"] if name == used else name)

    costs = [of(row, "counterfactual_cost_usd") for row in rows]
    return _Placement(
        prompt_tokens=sum(of(row, "counterfactual_prompt_tokens") for row in rows),
        cached_tokens=sum(of(row, "counterfactual_cached_tokens") or 0 for row in rows),
        cost_usd=None if None in costs else sum(costs),
        full_at_turn=_full_at_turn(rows, [of(row, "counterfactual_prompt_tokens") for row in rows]),
    )


def _full_at_turn(rows: Sequence[Row], prompts: Sequence[int]) -> int | None:
    """The first turn that does not fit the window: one that has been, else by the growth so far; None without one."""
    window: int | None = rows[-1]["context_window"]
    by_turn: dict[int, int] = {
        row["turn"]: prompt + (row["context_used"] - row["prompt_tokens"])
        for row, prompt in zip(rows, prompts, strict=True)
        if row["context_used"] is not None
    }
    if window is None or not by_turn:
        return None
    over = [turn for turn, tokens in by_turn.items() if tokens > window]
    if over:
        return min(over)
    first, last = min(by_turn), max(by_turn)
    growth = (by_turn[last] - by_turn[first]) / (last - first) if last > first else by_turn[last] / max(1, last)
    return last + 1 + floor((window - by_turn[last]) / growth) if growth > 0 else None


def _sentence(rows: Sequence[Row], used: str, against: str | None, placements: Mapping[str, _Placement]) -> str:
    if all(row["instruction_tokens"] is None for row in rows):
        return "There is no instruction in this conversation, so there is nothing to place."
    if against is None:
        return "No other placement of the instruction was counted."
    own, other = placements[used], placements[against]
    subject = PHRASES.get(used, f"the strategy {used}")
    reference = PHRASES.get(against, f"the strategy {against}")
    more = _difference(own.cost_usd, other.cost_usd)
    if more is None:
        tokens = own.prompt_tokens - other.prompt_tokens
        taken = f"taken {abs(tokens):,} prompt tokens {'more' if tokens >= 0 else 'fewer'} than"
    else:
        taken = f"cost {usd(abs(more))} {'more' if more >= 0 else 'less'} than"
    sentence = f"{subject[0].upper()}{subject[1:]} has {taken} {reference}"
    if own.full_at_turn is None or other.full_at_turn is None:
        return f"{sentence}."
    if own.full_at_turn == other.full_at_turn:
        return f"{sentence}; the window fills at turn {own.full_at_turn} either way."
    return f"{sentence}; the window fills at turn {own.full_at_turn} instead of {other.full_at_turn}."


def usd(value: float) -> str:
    """`$0.0123`; small amounts with as many digits as it takes to see two of them."""
    if value >= 0.001 or value == 0:
        return f"${value:,.4f}"
    return f"${value:.10f}".rstrip("0") if value < 5e-7 else f"${value:.7f}"


def _difference(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _sum(values: Iterable[Any]) -> Any:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
