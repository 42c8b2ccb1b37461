"""Filling in what a turn used and cost, and where each figure comes from."""

from __future__ import annotations

import asyncio
import logging

from gateway.accounting.counterfactual import Used, alternatives
from gateway.accounting.placement import PlacementCounts
from gateway.accounting.prices import Billed, cost_of
from gateway.accounting.window import headroom_tokens, headroom_turns
from gateway.catalogue import Model
from gateway.errors import RequestError
from gateway.ledger.records import Turn
from gateway.wire.observe import Observation, Usage

log = logging.getLogger(__name__)

AT_ONCE_CHARS = 2_000
"""Answers up to so long are counted on the event loop, longer ones in a thread."""


async def account(row: Turn, model: Model, seen: Observation, counting: asyncio.Future[PlacementCounts]) -> None:
    """Write tokens, window and cost into `row`, what other placements would have taken, and where it is from.

    The upstream's own usage wins; `usage_source` says `upstream`, `counted` (a whole answer counted here) or
    `partial` (an answer that was broken off, counted as far as it came). What cannot be counted (pictures, sounds,
    files, tools) stays unknown when the upstream does not say it. A turn that never reached a model keeps its prompt
    count and has no completion, no cost and no source.
    """
    counts = await _settled(counting)
    if counts is not None:
        row.instruction_tokens = counts.instruction_tokens
        row.repeated_instruction_tokens = counts.repeated_instruction_tokens
        if counts.exact:
            row.counted_prompt_tokens = counts.prompt_tokens
            _take(row, "counted", prompt_tokens=counts.prompt_tokens)
    if seen.usage is not None:
        take_usage(row, seen.usage)
    if row.status == "ok":
        row.usage_source = "upstream" if seen.usage is not None else "counted"
    elif row.status != "error" or seen.text or seen.usage is not None:
        row.usage_source = "upstream" if seen.usage is not None and seen.finish_reason else "partial"
    if row.usage_source is not None:
        await _count_answer(row, model, seen)
        await _fill_window(row, model, seen, counts)
        fill_cost(row, model, seen.usage, seen.service_tier)
        _compare(row, model, seen, counts)


def _take(row: Turn, source: str, **figures: int | None) -> None:
    """Write known figures into the row, and where they are from."""
    for name, value in figures.items():
        if value is not None:
            setattr(row, name, value)
            if row.figure_sources is None:
                row.figure_sources = {}
            row.figure_sources[name] = source


def take_usage(row: Turn, usage: Usage) -> None:
    """Write the upstream's own counts into the row."""
    _take(
        row,
        "upstream",
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        reasoning_tokens=usage.reasoning_tokens,
    )


async def _count_answer(row: Turn, model: Model, seen: Observation) -> None:
    """Count the answer where the upstream does not say how long it is, or said so before it broke off."""
    if row.usage_source == "upstream" and row.completion_tokens is not None:
        return
    if seen.calls_tools and row.usage_source != "partial":
        return  # how a provider writes a call is not known
    said, thought = "".join(seen.texts()), "".join(seen.reasoning)
    reasoning = await _count(model, thought) if thought else None
    completion = await _count(model, said) + (reasoning or 0)
    source = "partial" if row.usage_source == "partial" else "counted"
    if row.completion_tokens is None or row.completion_tokens < completion:
        _take(row, source, completion_tokens=completion)
    if row.reasoning_tokens is None:
        _take(row, source, reasoning_tokens=reasoning)


async def _fill_window(row: Turn, model: Model, seen: Observation, counts: PlacementCounts | None) -> None:
    if row.prompt_tokens is None or row.completion_tokens is None:
        return
    longest = row.completion_tokens
    if seen.other_texts:
        longest = await _count(model, max(seen.texts(), key=len))
    row.context_used = row.prompt_tokens + longest
    row.context_headroom_tokens = headroom_tokens(row.context_window, row.context_used)
    if counts is not None:
        row.context_headroom_turns = headroom_turns(
            row.context_window, row.context_used, counts.head_tokens, counts.user_turns
        )


def fill_cost(row: Turn, model: Model, usage: Usage | None, service_tier: str | None) -> None:
    """Write what the row's tokens cost, and the prices that applied; nothing where the price is unknown."""
    if model.price is None or row.prompt_tokens is None or row.completion_tokens is None:
        return
    rates = model.price.at(row.prompt_tokens, service_tier)
    row.prices, row.price_source = model.price.as_dict(rates), model.price.source
    cost = cost_of(rates, _billed(row, usage))
    if cost is None:
        return
    row.cost_input_usd, row.cost_cached_usd, row.cost_cache_write_usd = cost.input, cost.cached, cost.cache_write
    row.cost_output_usd, row.cost_reasoning_usd, row.cost_usd = cost.output, cost.reasoning, cost.total


def _compare(row: Turn, model: Model, seen: Observation, counts: PlacementCounts | None) -> None:
    """Write what the other placements would have taken; an auxiliary request has no instruction to place."""
    if counts is None or row.auxiliary is not None or row.prompt_tokens is None or row.completion_tokens is None:
        return
    used = Used(_billed(row, seen.usage), row.cached_tokens is not None, model.price, seen.service_tier)
    found = alternatives(counts, model.cache_rule, used)
    row.cache_rule = model.cache_rule.name
    row.counterfactual_prompt_tokens = {name: one.prompt_tokens for name, one in found.items()}
    row.counterfactual_cached_tokens = {name: one.cached_tokens for name, one in found.items()}
    costs = {name: one.cost_usd for name, one in found.items() if one.cost_usd is not None}
    row.counterfactual_cost_usd = costs or None


def _billed(row: Turn, usage: Usage | None) -> Billed:
    return Billed(
        prompt=row.prompt_tokens or 0,
        completion=row.completion_tokens or 0,
        cached=row.cached_tokens or 0,
        written=row.cache_write_tokens or 0,
        written_1h=(usage.cache_write_1h_tokens if usage else None) or 0,
        reasoning=row.reasoning_tokens or 0,
        audio_input=(usage.audio_prompt_tokens if usage else None) or 0,
        audio_output=(usage.audio_completion_tokens if usage else None) or 0,
    )


async def _count(model: Model, text: str) -> int:
    if len(text) <= AT_ONCE_CHARS:
        return model.counter.text(text)
    return await asyncio.to_thread(model.counter.text, text)


async def _settled(counting: asyncio.Future[PlacementCounts]) -> PlacementCounts | None:
    """The counts, or None when the model's own template refuses the messages (the client then hears so too)."""
    try:
        return await counting
    except RequestError as error:
        log.info("the prompt could not be counted: %s", error.code)
        return None
