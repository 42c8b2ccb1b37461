"""What a row of the ledger holds. An unknown figure is None, never 0."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, NamedTuple


@dataclass(slots=True)
class Turn:
    """One request for one turn's answer, as it ended.

    Tokens are counts of the model's own tokens, `*_ms` milliseconds, `cost_*_usd` US dollars, `started_at` an
    ISO 8601 time in UTC. `prompt_tokens` holds the cached and the cache-write tokens too, `completion_tokens` the
    reasoning tokens; `counted_prompt_tokens` is the gateway's own count beside the upstream's. `figure_sources` says
    of each token figure whether it came from the `upstream`, was `counted` here, or counted of an answer that broke
    off (`partial`). `context_used` is prompt plus completion tokens; `context_headroom_turns` how many more
    turns fit the window. The `counterfactual_*` columns hold what the same turn would have taken, by strategy, the
    arm's own included; `cache_rule` names the rule of the prefix cache behind them. `prices` are the prices that
    applied, in USD per million tokens. `key_name` is the name of the key that asked, null without keys;
    `auxiliary` the rule by which a request that is no turn (a title, tags, …) was recognised: its `turn` is 0.
    `attempts` is how often a model was asked, `fallback_for` the arm's own model when another answered in its stead.
    `completion_id` is the id that the client read in the answer; `excluded` why the turn is out of the statistics
    (`forced`, `fallback`, `auxiliary`, `coverage`, `audience`, `shadow`), null when it is in them; `shadow_of` the
    request whose turn this answer of another arm shadows: nobody saw it, and its cost is in no conversation's sum.
    `user_hash` is a keyed hash of the user whom the client named; null without the ledger's key.
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
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    counted_prompt_tokens: int | None = None
    usage_source: str | None = None
    figure_sources: dict[str, str] | None = None
    instruction_tokens: int | None = None
    repeated_instruction_tokens: int | None = None
    counterfactual_prompt_tokens: dict[str, int] | None = None
    counterfactual_cached_tokens: dict[str, int] | None = None
    counterfactual_cost_usd: dict[str, float] | None = None
    cache_rule: str | None = None
    context_window: int | None = None
    context_used: int | None = None
    context_headroom_tokens: int | None = None
    context_headroom_turns: int | None = None
    cost_usd: float | None = None
    cost_input_usd: float | None = None
    cost_cached_usd: float | None = None
    cost_cache_write_usd: float | None = None
    cost_output_usd: float | None = None
    cost_reasoning_usd: float | None = None
    price_source: str | None = None
    prices: dict[str, Any] | None = None
    ttft_ms: float | None = None
    duration_ms: float | None = None
    overhead_ms: float | None = None
    adherent: bool | None = None
    adherence_source: str | None = None
    key_name: str | None = None
    auxiliary: str | None = None
    attempts: int = 0
    fallback_for: str | None = None
    completion_id: str | None = None
    excluded: str | None = None
    shadow_of: str | None = None
    history_hash: str | None = None
    answered_hash: str | None = None
    user_hash: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Column name to value, in the contract's order."""
        return {name: getattr(self, name) for name in COLUMNS}


COLUMNS: tuple[str, ...] = tuple(field.name for field in fields(Turn))


@dataclass(slots=True)
class Assignment:
    """The arm that a conversation was dealt when it first met an experiment: its exposure.

    `key_name` is empty without keys. `policy` is `fixed` (weights) or `thompson` (bandit), `propensity` the arm's share
    of new conversations at that moment and `weights` all arms' shares then, as JSON. `excluded` is `coverage` or
    `audience` where the conversation is no part of the experiment, null otherwise. `turn` is the turn of exposure;
    `instruction_chars` and `prompt_chars` are the characters of the instruction and of all messages that the client
    sent then: what was known before the arm could do anything.
    """

    conversation_id: str
    experiment: str
    arm: str
    assigned_at: str
    key_name: str = ""
    policy: str = "fixed"
    propensity: float | None = None
    weights: str | None = None
    excluded: str | None = None
    turn: int | None = None
    instruction_chars: int | None = None
    prompt_chars: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one source (`checks`, `judge:MODEL`) says of an answer; `adherent` is None where it cannot tell."""

    request_id: str
    source: str
    experiment: str
    arm: str
    adherent: bool | None
    given_at: str


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a user said of an answer, or of a conversation where `request_id` is None. `score` lies in 0..1."""

    feedback_id: str
    conversation_id: str
    request_id: str | None
    key_name: str | None
    given_at: str
    adherent: bool | None = None
    score: float | None = None
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class Allocation:
    """New weights or coverage that an experiment was given while running. `weights` is JSON, arm → weight;
    `configured` the config's own weights and coverage at that time, as JSON: when these change, the config wins."""

    allocation_id: str
    experiment: str
    changed_at: str
    weights: str
    coverage: float
    configured: str


@dataclass(frozen=True, slots=True)
class Spent:
    """Money that a key spent `ago_s` seconds ago."""

    key_name: str
    ago_s: float
    cost_usd: float


class Answered(NamedTuple):
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

    @classmethod
    def of(cls, row: Turn) -> Answered | None:
        """What a row says of it; None where the answer, or the way to it, is not known."""
        if not row.history_hash or not row.answered_hash:
            return None
        return cls(
            row.request_id,
            row.conversation_id,
            row.parent_request_id,
            row.turn,
            row.history_hash,
            row.answered_hash,
            row.context_used,
        )
