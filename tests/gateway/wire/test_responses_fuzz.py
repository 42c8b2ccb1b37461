"""Whatever a client or an upstream sends, the Responses translation answers or refuses; it never breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import BadRequest
from gateway.wire.request import body_of
from gateway.wire.responses.answer import Answer
from gateway.wire.responses.request import ResponsesRequest, parse

WORDS = st.sampled_from(
    [
        *("message", "function_call", "function_call_output", "reasoning", "user", "assistant", "system", "x", ""),
        *("input_text", "output_text", "refusal", "input_image", "input_file", "function", "auto", "json_schema"),
    ]
)
SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False, allow_infinity=False) | WORDS


def objects(names: list[str], values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(names), values, max_size=6)


ITEM_FIELDS = [
    "type",
    "role",
    "content",
    "name",
    "arguments",
    "call_id",
    "output",
    "text",
    "refusal",
    "image_url",
    "id",
]
ITEMS = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | objects(ITEM_FIELDS, inner), max_leaves=12)
FIELDS = [
    *("input", "instructions", "stream", "stream_options", "tools", "tool_choice", "text", "reasoning", "include"),
    *("top_logprobs", "metadata", "max_output_tokens", "previous_response_id", "truncation", "store", "n", "format"),
]
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | objects([*FIELDS, "type", "name", "effort", "schema", "mode"], inner),
    max_leaves=6,
)
CHUNK_FIELDS = [
    *("choices", "index", "delta", "message", "content", "refusal", "reasoning", "tool_calls", "function", "name"),
    *("arguments", "id", "finish_reason", "logprobs", "top_logprobs", "usage", "prompt_tokens", "completion_tokens"),
    *("prompt_tokens_details", "cached_tokens", "service_tier", "model", "error"),
]
ANSWERS = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | objects(CHUNK_FIELDS, inner), max_leaves=20)


def read(body: dict[str, Any]) -> ResponsesRequest | BadRequest:
    try:
        return parse(body_of(orjson.dumps(body)))
    except BadRequest as refused:
        return refused


@settings(deadline=None)  # the clock says nothing of a busy machine
@given(body=objects(FIELDS, VALUES), items=st.lists(ITEMS, max_size=3) | ITEMS)
def test_a_request_is_read_or_refused_with_the_field_named(body: dict[str, Any], items: Any) -> None:
    asked = read({"model": "m", "input": items, **body})
    if isinstance(asked, BadRequest):
        assert asked.param
        return
    assert asked.chat.messages
    assert all(
        message["role"] in ("system", "developer", "user", "assistant", "tool") for message in asked.chat.messages
    )
    orjson.dumps([asked.chat.body, asked.shown])


@settings(deadline=None)  # the clock says nothing of a busy machine
@given(chunks=st.lists(objects(CHUNK_FIELDS, ANSWERS), max_size=4))
def test_a_stream_becomes_events_that_are_numbered_without_a_gap_and_end(chunks: list[dict[str, Any]]) -> None:
    async def chat_events() -> AsyncGenerator[bytes, None]:
        for chunk in chunks:
            yield b"data: " + orjson.dumps(chunk) + b"\n\n"
        yield b"data: [DONE]\n\n"

    async def joined() -> bytes:
        return b"".join([events async for events in Answer("req_1", "m", {}).events(chat_events())])

    events = [orjson.loads(block.split(b"data: ", 1)[1]) for block in asyncio.run(joined()).split(b"\n\n") if block]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["type"] in ("response.completed", "response.incomplete")
    opened = [event["item"]["id"] for event in events if event["type"] == "response.output_item.added"]
    closed = [event["item"]["id"] for event in events if event["type"] == "response.output_item.done"]
    assert sorted(opened) == sorted(closed) == sorted(set(opened))


@settings(deadline=None)  # the clock says nothing of a busy machine
@given(completion=objects(CHUNK_FIELDS, ANSWERS))
def test_a_whole_answer_becomes_a_response(completion: dict[str, Any]) -> None:
    response = Answer("req_1", "m", {}).whole(completion)
    assert response["status"] in ("completed", "incomplete")
    assert response["output"]
    orjson.dumps(response)
