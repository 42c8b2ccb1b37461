"""Responses requests as the upstream gets them, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.scripted import TOOL, Scripted, user


def test_parts_of_every_kind_go_up_as_chat_parts(model: Scripted) -> None:
    content = [
        {"type": "input_text", "text": "What is this?", "cache_control": {"type": "ephemeral"}},
        {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="},
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
    ]
    one_part = [{"type": "input_text", "text": "Hi"}]
    answered = [{"type": "output_text", "text": "Yes", "annotations": []}, {"type": "refusal", "refusal": "No"}]
    given = [
        {"type": "message", "role": "developer", "content": one_part},
        {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed", "content": answered},
        {"type": "message", "role": "user", "content": content},
    ]
    assert model.post("/v1/responses", {"model": "m", "input": given}).status_code == 200
    assert model.sent["messages"] == [
        {"role": "developer", "content": "Hi"},
        {"role": "assistant", "content": "Yes", "refusal": "No"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?", "cache_control": {"type": "ephemeral"}},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}},
                {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
            ],
        },
    ]


def test_settings_go_up_under_the_names_of_a_chat_completion_and_come_back_in_the_response(model: Scripted) -> None:
    schema = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}
    body = {
        "model": "m",
        "input": "Hi",
        "max_output_tokens": 50,
        "temperature": 0.5,
        "top_p": 0.9,
        "user": "u",
        "metadata": {"topic": "x", "conversation_id": "given"},
        "store": True,
        "truncation": "disabled",
        "background": False,
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"format": schema, "verbosity": "low"},
        "tools": [TOOL],
        "tool_choice": {"type": "function", "name": "add"},
        "parallel_tool_calls": False,
        "include": ["message.output_text.logprobs", "reasoning.encrypted_content"],
        "top_logprobs": 2,
        "top_k": 3,
    }
    answer = model.post("/v1/responses", body)
    up = model.sent
    assert {name: up.get(name) for name in ("max_completion_tokens", "temperature", "top_p", "user", "top_k")} == {
        "max_completion_tokens": 50,
        "temperature": 0.5,
        "top_p": 0.9,
        "user": "u",
        "top_k": 3,
    }
    assert up["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
    }
    assert (up["reasoning_effort"], up["verbosity"]) == ("low", "low")
    assert up["tool_choice"] == {"type": "function", "function": {"name": "add"}}
    assert (up["parallel_tool_calls"], up["logprobs"], up["top_logprobs"]) == (False, True, 2)
    own = {"input", "instructions", "text", "reasoning", "max_output_tokens", "store", "truncation", "include"}
    assert not own & set(up)
    assert "metadata" not in up
    assert answer.headers["x-gattway-conversation-id"] == "given"
    shown = answer.json()
    for name in ("temperature", "top_p", "max_output_tokens", "metadata", "tool_choice", "user", "top_logprobs"):
        assert shown[name] == body[name]
    assert shown["text"] == body["text"]
    assert shown["tools"] == [TOOL]
    assert (shown["store"], shown["parallel_tool_calls"]) == (False, False)


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"input": None}, "input", "must be a string or a list"),
        ({"input": []}, "input", "holds no message"),
        ({"input": [{"type": "reasoning", "id": "r", "summary": []}]}, "input", "holds no message"),
        ({"input": ["x"]}, "input[0]", "must be an object"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type", "send the item itself"),
        ({"input": [{"type": "computer_call", "id": "x"}]}, "input[0].type", "Supported items"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role", "Supported values"),
        ({"input": [{"role": "user"}]}, "input[0].content", "not null"),
        (
            {"input": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
            "input[0].content[0].type",
            "input_text",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
            "input[0].content[0].file_id",
            "image_url",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_url": "http://x"}]}]},
            "input[0].content[0].file_url",
            "file_data",
        ),
        ({"input": [{"type": "function_call", "name": "f", "call_id": "c"}]}, "input[0].arguments", "must be a string"),
        ({"instructions": 5}, "instructions", "must be a string"),
        ({"previous_response_id": "resp_1"}, "previous_response_id", "send the whole conversation in 'input'"),
        ({"conversation": "conv_1"}, "conversation", "x-gattway-conversation-id"),
        ({"prompt": {"id": "p"}}, "prompt", "instructions"),
        ({"background": True}, "background", "Use 'stream'"),
        ({"truncation": "auto"}, "truncation", "drops no turns"),
        ({"moderation": {"model": "m"}}, "moderation", "Leave it out"),
        ({"include": ["file_search_call.results"]}, "include[0]", "can include"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type", "no tools of its own"),
        ({"tools": [{**TOOL, "output_schema": {}}]}, "tools[0].output_schema", "remove it"),
        ({"tools": [TOOL], "tool_choice": {"type": "mcp", "server_label": "x"}}, "tool_choice", "'required'"),
        ({"tool_choice": "required"}, "tool_choice", "'tools' is empty"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format", "json_schema"),
        ({"reasoning": {"effort": "low", "summary": "detailed"}}, "reasoning.summary", "reasoning item"),
        ({"temperature": 3}, "temperature", "between 0 and 2"),
        ({"max_output_tokens": 0}, "max_output_tokens", "at least 1"),
        ({"stream": True, "stream_options": {"include_usage": True}}, "stream_options.include_usage", "every answer"),
        ({"stream_options": {}}, "stream_options", "only allowed when"),
        ({"messages": [user("x")]}, "messages", "sent as 'input'"),
        ({"response_format": {"type": "json_object"}}, "response_format", "moved to 'text.format'"),
        ({"max_tokens": 5}, "max_tokens", "'max_output_tokens'"),
        ({"n": 2}, "n", "one answer"),
    ],
)
def test_what_cannot_be_honoured_is_named(model: Scripted, body: dict[str, Any], param: str, words: str) -> None:
    answer = model.post("/v1/responses", {"model": "m", "input": "Hi", **body})
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert words in error["message"]
    assert answer.headers["x-request-id"].startswith("req_")
