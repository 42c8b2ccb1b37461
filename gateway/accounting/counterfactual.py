"""What the same turn would have taken with the instruction placed otherwise: prompt tokens, cached share, cost.

Counts made here are brought to the upstream's own: where it counted a plain prompt differently, by the factor between
the two; where the prompt holds more than text (tools, pictures), by what lies between them, taken to stand at the head.
Where the answer reports cached tokens, the rule's figures for the other placements are lowered by the same share by
which it overrated the one that was used (a cache that had gone cold had gone cold for all), or raised by the same
tokens by which it underrated it (what other conversations had left in the cache was there for all).
"""

from __future__ import annotations

from typing import NamedTuple

from gateway.accounting.caching import Cached, CacheRule, Overlap
from gateway.accounting.placement import PlacementCounts
from gateway.accounting.prices import Billed, Price, cost_of


class Alternative(NamedTuple):
    """One placement of the instruction in one turn; `cost_usd` is None without a price."""

    prompt_tokens: int
    cached_tokens: int
    cost_usd: float | None


class Used(NamedTuple):
    """What the turn took, as billed; `cached_known` says whether the upstream reported the cached tokens."""

    billed: Billed
    cached_known: bool
    price: Price | None = None
    service_tier: str | None = None


def alternatives(counts: PlacementCounts, rule: CacheRule, used: Used) -> dict[str, Alternative]:
    """Every placement that was counted, by strategy; the one that was used has the turn's own figures."""
    (own_name, counted), *others = counts.overlaps.items()
    own = _as_billed(counted, counts, used.billed.prompt)
    own_cached = _expected(rule, own, used)
    reported = Cached(used.billed.cached, used.billed.written) if used.cached_known else own_cached
    found = {own_name: _alternative(own, reported, used)}
    alike = {counted: found[own_name]}  # at a first turn, most placements make the same prompt
    for name, overlap in others:
        one = alike.get(overlap)
        if one is None:
            billed = _as_billed(overlap, counts, used.billed.prompt)
            cached = _corrected(_expected(rule, billed, used), own_cached, billed, used, rule.steps)
            one = alike[overlap] = _alternative(billed, cached, used)
        found[name] = one
    return found


def _alternative(overlap: Overlap, cached: Cached, used: Used) -> Alternative:
    return Alternative(overlap.prompt_tokens, cached.read, _cost(overlap.prompt_tokens, cached, used))


def _as_billed(overlap: Overlap, counts: PlacementCounts, prompt_tokens: int) -> Overlap:
    if counts.exact:
        return overlap.scaled(prompt_tokens / counts.prompt_tokens)
    return overlap.behind(max(0, prompt_tokens - counts.prompt_tokens))


def _expected(rule: CacheRule, overlap: Overlap, used: Used) -> Cached:
    if rule.by_report and not used.cached_known:
        return Cached()
    if used.billed.reasoning:
        # What a model thought is not sent back: behind the prompt before, nothing is as it was generated.
        overlap = overlap._replace(known_before=overlap.read_before)
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
    _, completion, _, _, lasting, *others = used.billed
    billed = Billed(prompt_tokens, completion, cached.read, cached.written, cached.written if lasting else 0, *others)
    cost = cost_of(rates, billed)
    return None if cost is None else cost.total
