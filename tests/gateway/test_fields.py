"""Every field that OpenAI's client can send reaches an OpenAI-compatible upstream as it was, in every arm."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming

from tests.gateway.scripted import Scripted

FUNCTION = {"name": "add", "description": "Adds.", "parameters": {"type": "object", "properties": {}}}
PARTS: list[dict[str, Any]] = [
    {"type": "text", "text": "Look"},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}},
]
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
HISTORY: list[dict[str, Any]] = [
    {"role": "user", "content": PARTS, "name": "ann"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "3"},
    {"role": "assistant", "content": None, "refusal": "No."},
    {"role": "user", "content": "And now?"},
]
FIELDS: dict[str, Any] = {
    "audio": {"format": "wav", "voice": "ash"},
    "frequency_penalty": 0.5,
    "function_call": "none",
    "functions": [FUNCTION],
    "logit_bias": {"50256": -100},
    "logprobs": True,
    "max_completion_tokens": 9,
    "max_tokens": 9,
    "metadata": {"topic": "x"},
    "modalities": ["text"],
    "moderation": {"model": "omni-moderation-latest"},
    "n": 2,
    "parallel_tool_calls": False,
    "prediction": {"type": "content", "content": "x"},
    "presence_penalty": -0.5,
    "prompt_cache_key": "k",
    "prompt_cache_options": {"mode": "explicit"},
    "prompt_cache_retention": "24h",
    "reasoning_effort": "low",
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
    "safety_identifier": "s",
    "seed": 7,
    "service_tier": "flex",
    "stop": ["a", "b"],
    "store": False,
    "temperature": 0.1,
    "tool_choice": {"type": "function", "function": {"name": "add"}},
    "tools": [{"type": "function", "function": FUNCTION}],
    "top_logprobs": 2,
    "top_p": 0.9,
    "user": "u",
    "verbosity": "low",
    "web_search_options": {"search_context_size": "low"},
}


def test_there_is_a_sample_of_every_field_of_openais_client() -> None:
    known = set(CompletionCreateParamsNonStreaming.__annotations__)
    for base in CompletionCreateParamsNonStreaming.__orig_bases__:  # type: ignore[attr-defined]
        known |= set(getattr(base, "__annotations__", {}))
    assert known - set(FIELDS) == {"messages", "model", "stream", "stream_options"} & known


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", ["m", "ab:once", "ab:repeat"])
def test_every_field_goes_up_as_it_came(model: Scripted, name: str, stream: bool) -> None:
    options = {"stream": True, "stream_options": {"include_obfuscation": False}} if stream else {}
    answer = model.post("/v1/chat/completions", {"model": name, "messages": HISTORY, **FIELDS, **options, "top_k": 3})
    assert answer.status_code == 200
    sent = {key: value for key, value in model.sent.items() if key not in ("messages", "model")}
    asked = {"include_obfuscation": False, "include_usage": True}  # usage is asked for always
    assert sent == {**FIELDS, "top_k": 3, **({"stream": True, "stream_options": asked} if stream else {})}


def test_an_instruction_is_a_part_of_its_own_where_a_message_has_parts(model: Scripted) -> None:
    messages = [{"role": "developer", "content": "Speak French."}, *HISTORY]
    model.post("/v1/chat/completions", {"model": "ab:once", "messages": messages})
    assert model.sent["messages"] == messages
    model.post("/v1/chat/completions", {"model": "ab:repeat", "messages": messages})
    first, *between, last = model.sent["messages"]
    assert first["content"][:4] == PARTS
    assert "Speak French." in first["content"][4]["text"]
    assert first["name"] == "ann"
    assert between == HISTORY[1:4]
    assert last["content"] == "And now?\n\nSpeak French."


def test_a_field_of_the_wrong_type_is_refused_by_name_and_never_dropped(model: Scripted) -> None:
    before = len(model.upstream.bodies)
    for field, value in (("n", 0), ("tools", {}), ("response_format", "json"), ("logprobs", 1), ("temperature", 3)):
        with pytest.raises(openai.BadRequestError) as refused:
            model.client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "x"}], extra_body={field: value}
            )
        assert refused.value.param == field
    assert len(model.upstream.bodies) == before
