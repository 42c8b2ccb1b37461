"""What a row of the ledger holds. An unknown figure is None, never 0."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any


@dataclass(slots=True)
class Turn:
    """One request for one turn's answer, as it ended.

    Tokens are counts of the model's own tokens, `*_ms` milliseconds, `cost_*_usd` US dollars, `started_at` an
    ISO 8601 time in UTC. `context_used` is prompt plus completion tokens; `context_headroom_turns` how many more
    turns like the last one fit the window. `key_name` is the name of the key that asked, null without keys;
    `auxiliary` the rule by which a request that is no turn (a title, tags, …) was recognised: its `turn` is 0.
    `attempts` is how often a model was asked, `fallback_for` the arm's own model when another answered in its stead.
    """

    request_id: str
    conversation_id: str
    identity_source: str
    parent_request_id: str | None
    experiment: str | None
    arm: str | None
    forced: bool
    strategy: str
    model: str
    upstream: str
    turn: int
    started_at: str
    status: str = "ok"
    finish_reason: str | None = None
    http_status: int | None = None
    error_code: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    usage_source: str | None = None
    instruction_tokens: int | None = None
    repeated_instruction_tokens: int | None = None
    counterfactual_prompt_tokens: dict[str, int] | None = None
    context_window: int | None = None
    context_used: int | None = None
    context_headroom_turns: int | None = None
    cost_usd: float | None = None
    cost_input_usd: float | None = None
    cost_cached_usd: float | None = None
    cost_output_usd: float | None = None
    price_source: str | None = None
    ttft_ms: float | None = None
    duration_ms: float | None = None
    overhead_ms: float | None = None
    adherent: bool | None = None
    adherence_source: str | None = None
    key_name: str | None = None
    auxiliary: str | None = None
    attempts: int = 0
    fallback_for: str | None = None
    history_hash: str | None = None
    answered_hash: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Column name to value, in the contract's order."""
        return {name: getattr(self, name) for name in COLUMNS}


COLUMNS: tuple[str, ...] = tuple(field.name for field in fields(Turn))


@dataclass(frozen=True, slots=True)
class Assignment:
    """The arm that a conversation was dealt when it first met an experiment; `key_name` is empty without keys."""

    conversation_id: str
    experiment: str
    arm: str
    assigned_at: str
    key_name: str = ""


@dataclass(frozen=True, slots=True)
class Spent:
    """Money that a key spent `ago_s` seconds ago."""

    key_name: str
    ago_s: float
    cost_usd: float


@dataclass(frozen=True, slots=True)
class Answered:
    """A turn that was answered: what a later request can be a continuation of.

    `history_hash` is the chain over the messages that the client sent, `answered_hash` the same with the answer
    behind them.
    """

    request_id: str
    conversation_id: str
    parent_request_id: str | None
    turn: int
    history_hash: str
    answered_hash: str
    context_used: int | None
