"""Filling in what a turn used and cost, and where each figure comes from."""

from __future__ import annotations

import asyncio
import logging

from gateway.accounting.placement import PlacementCounts
from gateway.accounting.prices import cost_of
from gateway.accounting.window import headroom_turns
from gateway.catalogue import Model
from gateway.errors import RequestError
from gateway.ledger.records import Answered, Turn
from gateway.wire.observe import Observation

log = logging.getLogger(__name__)


async def account(
    row: Turn, model: Model, seen: Observation, counting: asyncio.Future[PlacementCounts], parent: Answered | None
) -> None:
    """Write tokens, window and cost into `row`.

    The upstream's own usage wins; `usage_source` says `upstream`, `counted` (a whole answer counted here) or
    `partial` (an answer that was broken off, counted as far as it came). A turn that never reached a model keeps
    its prompt count and has no completion, no cost and no source.
    """
    counts = await _settled(counting)
    if counts is not None:
        row.instruction_tokens = counts.instruction_tokens
        row.repeated_instruction_tokens = counts.repeated_instruction_tokens
        row.counterfactual_prompt_tokens = counts.counterfactual
        row.prompt_tokens = counts.prompt_tokens
    if seen.usage is not None:
        row.usage_source = "upstream"
        row.prompt_tokens = seen.usage.prompt_tokens if seen.usage.prompt_tokens is not None else row.prompt_tokens
        row.completion_tokens = seen.usage.completion_tokens
        row.cached_tokens = seen.usage.cached_tokens
        row.reasoning_tokens = seen.usage.reasoning_tokens
    elif row.status != "error" or seen.text:
        row.usage_source = "counted" if row.status == "ok" else "partial"
    if row.usage_source is not None and row.completion_tokens is None:
        row.completion_tokens = await asyncio.to_thread(model.counter.text, "".join(seen.text))
    _fill_window(row, parent)
    _fill_cost(row, model)


def _fill_window(row: Turn, parent: Answered | None) -> None:
    if row.prompt_tokens is None or row.completion_tokens is None:
        return
    row.context_used = row.prompt_tokens + row.completion_tokens
    row.context_headroom_turns = headroom_turns(
        row.context_window, row.context_used, parent.context_used if parent else None
    )


def _fill_cost(row: Turn, model: Model) -> None:
    if model.price is None or row.prompt_tokens is None or row.completion_tokens is None:
        return
    cost = cost_of(model.price, row.prompt_tokens, row.cached_tokens, row.completion_tokens)
    row.cost_input_usd, row.cost_cached_usd, row.cost_output_usd = cost.input, cost.cached, cost.output
    row.cost_usd, row.price_source = cost.total, model.price.source


async def _settled(counting: asyncio.Future[PlacementCounts]) -> PlacementCounts | None:
    """The counts, or None when the model's own template refuses the messages (the client then hears so too)."""
    try:
        return await counting
    except RequestError as error:
        log.info("the prompt could not be counted: %s", error)
        return None
