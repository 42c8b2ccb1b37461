"""From what was seen of an answer to the figures of its row."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from gateway.accounting.cache_table import rule_for
from gateway.accounting.placement import PlacementCounts, count_placement
from gateway.accounting.placement import Turn as Placed
from gateway.accounting.prices import Price, Rates
from gateway.accounting.tokens import TiktokenCounter
from gateway.answering.usage import account
from gateway.catalogue import Model
from gateway.ledger.records import Turn
from gateway.upstreams.base import Upstream
from gateway.wire.observe import Observation
from strategies import make

COUNTER = TiktokenCounter("gpt-4o")
RATES = Rates(input=1, cached=0.1, cache_write=1.25, cache_write_1h=2, output=4, reasoning=4)
MODEL = Model(
    "m", "u", cast(Upstream, None), "gpt-4o", COUNTER, 1000, Price(RATES, "config"), rule_for("openai", "gpt-4o")
)


def accounted(seen: Observation, status: str = "ok") -> Turn:
    """The row of one answer to "hello", eight prompt tokens."""
    row = Turn(
        *("r", "c", "new", None, None, None, False, "once", "m", "u", 1, "2026-11-21T00:00:00.000000+00:00"), status
    )
    row.context_window = 1000
    messages = [{"role": "user", "content": "hello"}]
    strategy = make("once")

    async def run() -> None:
        counts: asyncio.Future[PlacementCounts] = asyncio.get_running_loop().create_future()
        counts.set_result(count_placement(COUNTER, Placed(messages, messages, strategy), {}))
        await account(row, MODEL, seen, counts)

    asyncio.run(run())
    return row


def chunks(*payloads: dict[str, Any]) -> Observation:
    seen = Observation()
    for payload in payloads:
        seen.see_chunk(payload)
    return seen


def said(index: int, text: str, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": {"content": text, **more}, "finish_reason": None}]}


def test_all_choices_are_billed_and_the_longest_fills_the_window() -> None:
    row = accounted(chunks(said(0, "Hello"), said(1, "Hello there"), said(1, ", my friend")))
    assert row.completion_tokens == COUNTER.text("Hello") + COUNTER.text("Hello there, my friend")
    assert row.context_used == 8 + COUNTER.text("Hello there, my friend")
    assert row.cost_output_usd == pytest.approx(row.completion_tokens * 4e-6)


def test_whole_answers_are_seen_like_streamed_ones() -> None:
    seen = Observation()
    choices = [{"index": i, "message": {"content": text}} for i, text in enumerate(("Hello", "Hello there"))]
    seen.see_completion({"choices": choices, "service_tier": "flex"})
    assert seen.texts() == ["Hello", "Hello there"]
    assert seen.service_tier == "flex"


def test_what_a_model_thinks_aloud_is_counted_as_reasoning_and_output() -> None:
    row = accounted(chunks(said(0, "", reasoning_content="Let me think."), said(0, "Hello")))
    assert row.reasoning_tokens == COUNTER.text("Let me think.")
    assert row.completion_tokens == row.reasoning_tokens + COUNTER.text("Hello")
    assert row.figure_sources is not None
    assert row.figure_sources["reasoning_tokens"] == "counted"


def test_a_tool_call_without_usage_has_an_unknown_length() -> None:
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}
    row = accounted(chunks(said(0, "", tool_calls=[call])))
    assert (row.completion_tokens, row.context_used, row.cost_usd) == (None, None, None)


def test_usage_that_came_before_an_answer_broke_off_is_kept_and_never_lowered() -> None:
    """vLLM's continuous usage: the last figure before the end is the least that was used."""
    usage = {"prompt_tokens": 20, "completion_tokens": 1, "total_tokens": 21}
    row = accounted(chunks({**said(0, "Hello there"), "usage": usage}, said(0, ", my friend")), status="aborted")
    assert row.usage_source == "partial"
    assert (row.prompt_tokens, row.completion_tokens) == (20, COUNTER.text("Hello there, my friend"))
    assert row.figure_sources == {"prompt_tokens": "upstream", "completion_tokens": "partial"}


def test_a_turn_that_never_reached_a_model_costs_nothing() -> None:
    row = accounted(Observation(), status="error")
    assert (row.prompt_tokens, row.completion_tokens, row.usage_source, row.cost_usd) == (8, None, None, None)
