"""What the same turn would have taken with the instruction placed otherwise: prompt tokens, cached share, cost.

Counts made here are brought to the upstream's own: where it counted a plain prompt differently, by the factor between
the two; where the prompt holds more than text (tools, pictures), by what lies between them, taken to stand at the head.
Where the answer reports cached tokens, the rule's figures for the other placements are lowered by the same share by
which it overrated the one that was used (a cache that had gone cold had gone cold for all), or raised by the same
tokens by which it underrated it (what other conversations had left in the cache was there for all).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gateway.accounting.caching import Cached, CacheRule, Overlap
from gateway.accounting.placement import PlacementCounts
from gateway.accounting.prices import Billed, Price, cost_of


@dataclass(frozen=True, slots=True)
class Alternative:
    """One placement of the instruction in one turn; `cost_usd` is None without a price."""

    prompt_tokens: int
    cached_tokens: int
    cost_usd: float | None


@dataclass(frozen=True, slots=True)
class Used:
    """What the turn took, as billed; `cached_known` says whether the upstream reported the cached tokens."""

    billed: Billed
    cached_known: bool
    price: Price | None = None
    service_tier: str | None = None


def alternatives(counts: PlacementCounts, rule: CacheRule, used: Used) -> dict[str, Alternative]:
    """Every placement that was counted, by strategy; the one that was used has the turn's own figures."""
    overlaps = _as_billed(counts, used.billed.prompt)
    own_name = next(iter(overlaps))
    expected = {name: _expected(rule, overlap, used) for name, overlap in overlaps.items()}
    found = {}
    for name, overlap in overlaps.items():
        cached = _corrected(expected[name], expected[own_name], overlap, used, rule.steps)
        if name == own_name and used.cached_known:
            cached = Cached(used.billed.cached, used.billed.written)
        found[name] = Alternative(overlap.prompt_tokens, cached.read, _cost(overlap.prompt_tokens, cached, used))
    return found


def _as_billed(counts: PlacementCounts, prompt_tokens: int) -> Mapping[str, Overlap]:
    if counts.exact:
        factor = prompt_tokens / counts.prompt_tokens
        return {name: overlap.scaled(factor) for name, overlap in counts.overlaps.items()}
    more = max(0, prompt_tokens - counts.prompt_tokens)
    return {name: overlap.behind(more) for name, overlap in counts.overlaps.items()}


def _expected(rule: CacheRule, overlap: Overlap, used: Used) -> Cached:
    if rule.by_report and not used.cached_known:
        return Cached()
    if used.billed.reasoning:
        # What a model thought is not sent back: behind the prompt before, nothing is as it was generated.
        overlap = replace(overlap, known_before=overlap.read_before)
    return rule.cached(overlap)


def _corrected(expected: Cached, own: Cached, overlap: Overlap, used: Used, steps: int) -> Cached:
    """What the rule expects of a placement, by what it got wrong about the one that was used.

    What is not read is written anew, where writing is counted at all.
    """
    if not used.cached_known or used.billed.cached == own.read:
        return expected
    if used.billed.cached > own.read:
        read = min(expected.read + used.billed.cached - own.read, max(0, overlap.prompt_tokens - 1))
    else:
        read = int(expected.read * used.billed.cached / own.read) // steps * steps
    return Cached(read, max(0, expected.written + expected.read - read) if expected.written else 0)


def _cost(prompt_tokens: int, cached: Cached, used: Used) -> float | None:
    if used.price is None:
        return None
    rates = used.price.at(prompt_tokens, used.service_tier)
    lasting = bool(used.billed.written_1h)
    billed = replace(
        used.billed,
        prompt=prompt_tokens,
        cached=cached.read,
        written=cached.written,
        written_1h=cached.written if lasting else 0,
    )
    cost = cost_of(rates, billed)
    return None if cost is None else cost.total
