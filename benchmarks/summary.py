"""Figures of one arm from its conversations: adherence from the replies, tokens and cost from the gateway's ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import fmean, median
from typing import Any

from adherence.curves import wilson
from benchmarks.client import Conversation

Row = dict[str, Any]


def arm(conversations: Sequence[Conversation], turns: int) -> dict[str, Any]:
    """The figures of one arm, by their names in `.demo/result.json`.

    Means are per conversation over turns 1 to `turns`; lists have `turns` entries. A figure that the ledger
    does not know is None, and so is one of a turn that no conversation reached (its window was full before).

    Args:
        conversations: all of one arm, at least one, each with its ledger rows.
        turns: how many turns are compared; later ones count only for `turns_until_full`.
    """
    by_turn = [at_turn(conversations, turn) for turn in range(1, turns + 1)]
    rows = [[row for row in c.rows if row["turn"] <= turns] for c in conversations]
    answers = [a for c in conversations for a in c.answers if a.turn <= turns]
    prompt, cached = _mean_total(rows, "prompt_tokens"), _mean_total(rows, "cached_tokens")
    return {
        "strategy": rows[0][0]["strategy"],
        "model": rows[0][0]["model"],
        "conversations": len(conversations),
        "answers_by_turn": [at["answers"] for at in by_turn],
        "adherence_by_turn": [at["adherence"] for at in by_turn],
        "adherence_interval_by_turn": [at["adherence_interval"] for at in by_turn],
        "facts": mean(a.fact for a in answers if a.fact is not None),
        "prompt_tokens_mean": prompt,
        "prompt_tokens_by_turn": [at["prompt_tokens"] for at in by_turn],
        "cached_tokens_mean": cached,
        "cached_share": None if prompt is None or cached is None else cached / prompt,
        "completion_tokens_mean": _mean_total(rows, "completion_tokens"),
        "repeated_instruction_tokens_mean": _mean_total(rows, "repeated_instruction_tokens"),
        "cost_usd_mean": _mean_total(rows, "cost_usd"),
        "window_used_at_last_turn": _known_mean([_window_used(of[-1]) for of in rows]),
        "turns_until_full": turns_until_full(conversations),
        "ttft_ms_p50": median(a.ttft_ms for a in answers),
    }


def at_turn(conversations: Sequence[Conversation], turn: int) -> dict[str, Any]:
    """One arm at one turn: judged shares with the 95 % Wilson interval, and means of the ledger's figures."""
    answers = [a for c in conversations for a in c.answers if a.turn == turn]
    rows = [row for c in conversations for row in c.rows if row["turn"] == turn]
    judged = [a.adherent for a in answers if a.adherent is not None]
    return {
        "turn": turn,
        "answers": len(answers),
        "adherence": mean(judged),
        "adherence_interval": wilson(sum(judged), len(judged)) if judged else None,
        "facts": mean(a.fact for a in answers if a.fact is not None),
        "prompt_tokens": _known_mean([row["prompt_tokens"] for row in rows]),
        "cached_tokens": _known_mean([row["cached_tokens"] for row in rows]),
        "completion_tokens": _known_mean([row["completion_tokens"] for row in rows]),
        "repeated_instruction_tokens": _known_mean([row["repeated_instruction_tokens"] for row in rows]),
        "cost_usd": _known_mean([row["cost_usd"] for row in rows]),
    }


def turns_until_full(conversations: Iterable[Conversation]) -> float | None:
    """Median of the turns answered before the gateway refused one for want of window; None if none was refused."""
    reached = [len(c.answers) for c in conversations if c.window_full]
    return median(reached) if reached else None


def price_usd_per_million(conversations: Iterable[Conversation]) -> dict[str, float | None]:
    """What the ledger booked per million tokens, by kind (`input`, `cached`, `output`); None where it knows no cost."""
    rows = [row for c in conversations for row in c.rows]
    kinds: dict[str, tuple[str, Callable[[Row], int]]] = {
        "input": ("cost_input_usd", lambda row: row["prompt_tokens"] - row["cached_tokens"]),
        "cached": ("cost_cached_usd", lambda row: row["cached_tokens"]),
        "output": ("cost_output_usd", lambda row: row["completion_tokens"]),
    }
    return {kind: _rate(rows, cost, tokens) for kind, (cost, tokens) in kinds.items()}


def _rate(rows: Iterable[Row], cost: str, tokens: Callable[[Row], int]) -> float | None:
    counted = (cost, "prompt_tokens", "cached_tokens", "completion_tokens")
    known = [row for row in rows if all(row[name] is not None for name in counted)]
    of_kind = sum(tokens(row) for row in known)
    return round(sum(row[cost] for row in known) / of_kind * 1e6, 4) if of_kind else None


def mean(values: Iterable[float]) -> float | None:
    """Mean; None of nothing."""
    found = list(values)
    return fmean(found) if found else None


def total(values: Sequence[float | None]) -> float | None:
    """Sum; None when any part of it is unknown."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _known_mean(values: Sequence[float | None]) -> float | None:
    """Mean; None of nothing, and when any part of it is unknown."""
    known = [value for value in values if value is not None]
    return mean(known) if len(known) == len(values) else None


def _mean_total(conversations: Sequence[Sequence[Row]], column: str) -> float | None:
    return _known_mean([total([row[column] for row in rows]) for rows in conversations])


def _window_used(row: Row) -> float | None:
    if row["context_used"] is None or not row["context_window"]:
        return None
    return float(row["context_used"] / row["context_window"])
