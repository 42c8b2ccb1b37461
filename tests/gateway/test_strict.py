"""Whatever the gateway answers fits the types of the `openai` package, with no field missing and none mistyped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from openai.types import ErrorObject, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response
from pydantic import ValidationError

from tests.gateway.scripted import Script, Scripted, scripted
from tests.gateway.strict import checked, checked_event
from tests.gateway.upstreams import local_models

TINY = """
[upstreams.here]
kind = "local"
max_batch = 2
cache_mb = 8

[models.tiny]
upstream = "here"
folder = "{folder}"
"""
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
TOOL: dict[str, Any] = {"type": "function", "name": "add", "parameters": {"type": "object"}}
TOKEN = {"token": "Hel", "logprob": -0.5, "bytes": [72], "top_logprobs": []}
SCRIPTS = {
    "text": Script(),
    "bare": Script(message={"role": "assistant", "content": "Hello"}, bare=True),
    "no usage": Script(usage=None),
    "bare usage": Script(usage={"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}),
    "length": Script(finish_reason="length"),
    "filtered": Script(
        message={"role": "assistant", "content": None, "refusal": "No."}, finish_reason="content_filter"
    ),
    "logprobs": Script(logprobs={"content": [TOKEN], "refusal": None}),
    "calls": Script(
        message={"role": "assistant", "tool_calls": [CALL]},
        deltas=[{"role": "assistant"}, {"tool_calls": [{"index": 0, **CALL}]}],
        finish_reason="tool_calls",
    ),
    "reasoning": Script(
        message={"role": "assistant", "content": "Yes", "reasoning_content": "Hm"},
        deltas=[{"reasoning_content": "Hm"}, {"content": "Yes"}, {"refusal": "No"}],
    ),
    "nothing": Script(message={"role": "assistant", "content": ""}, deltas=[{"role": "assistant", "content": ""}]),
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    folder = tmp_path_factory.mktemp("tiny")
    local_models.make(folder)
    with scripted(tmp_path_factory.mktemp("strict"), TINY.format(folder=folder)) as gateway:
        yield gateway


@pytest.fixture(params=[*SCRIPTS, pytest.param("tiny", marks=pytest.mark.slow)])
def answering(request: pytest.FixtureRequest, running: Scripted) -> tuple[Scripted, str]:
    """The gateway with one script played by its upstream, or the in-process model; and the model to name."""
    if request.param == "tiny":
        return running, "tiny"
    running.upstream.script = SCRIPTS[request.param]
    return running, "m"


def chat_body(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_completion_tokens": 5, **more}


def test_a_chat_completion_is_whole(answering: tuple[Scripted, str]) -> None:
    gateway, model = answering
    checked(ChatCompletion, gateway.post("/v1/chat/completions", chat_body(model)).json())


@pytest.mark.parametrize("with_usage", [False, True])
def test_every_chunk_of_a_chat_completion_is_whole(answering: tuple[Scripted, str], with_usage: bool) -> None:
    gateway, model = answering
    options = {"stream_options": {"include_usage": True}} if with_usage else {}
    events = gateway.events("/v1/chat/completions", chat_body(model, **options))
    assert {name for name, _ in events} == {None}
    *chunks, (_, end) = events
    assert end == "[DONE]"
    parsed = [checked(ChatCompletionChunk, chunk) for _, chunk in chunks]
    assert [chunk.usage is not None for chunk in parsed] == [False] * (len(parsed) - with_usage) + [True] * with_usage


def test_a_response_is_whole(answering: tuple[Scripted, str]) -> None:
    gateway, model = answering
    body = {"model": model, "input": "Hi", "max_output_tokens": 5, "instructions": "Be kind."}
    checked(Response, gateway.post("/v1/responses", body).json())


def test_every_event_of_a_response_is_whole(answering: tuple[Scripted, str]) -> None:
    gateway, model = answering
    events = gateway.events("/v1/responses", {"model": model, "input": "Hi", "max_output_tokens": 5})
    for number, (name, data) in enumerate(events):
        event = checked_event(data)
        assert (event.type, event.sequence_number) == (name, number)
    assert events[-1][0] in ("response.completed", "response.incomplete")


def test_a_response_repeats_settings_that_are_whole(running: Scripted) -> None:
    running.upstream.script = Script()
    body = {
        "model": "m",
        "input": [{"role": "user", "content": "Hi"}],
        "tools": [TOOL],
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "add"}]},
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}, "verbosity": "low"},
        "reasoning": {"effort": "high", "summary": "auto"},
        "metadata": {"a": "b"},
        "service_tier": "auto",
        "prompt_cache_retention": "24h",
    }
    checked(Response, running.post("/v1/responses", body).json())


def test_a_failed_response_is_whole(running: Scripted) -> None:
    running.upstream.script = Script(breaks_off=True)
    events = running.events("/v1/responses", {"model": "m", "input": "Hi"})
    for _, data in events:
        checked_event(data)
    checked(ErrorObject, events[-1][1]["error"])


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"model": "nope", "messages": [{"role": "user", "content": "x"}]}),
        ("/v1/chat/completions", {"model": "m"}),
        ("/v1/chat/completions", {"model": "tiny", "messages": [{"role": "user", "content": "x " * 3000}]}),
        ("/v1/chat/completions", {"model": "tiny", "messages": [{"role": "user", "content": "x"}], "logprobs": True}),
        ("/v1/responses", {"model": "m", "input": "x", "previous_response_id": "resp_1"}),
        ("/v1/responses", {"model": "tiny", "input": "x " * 3000}),
        ("/v1/responses", {"model": "tiny", "input": "x", "text": {"format": {"type": "json_object"}}}),
        ("/v1/nothing", {}),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_error_is_whole(running: Scripted, path: str, body: dict[str, Any], stream: bool) -> None:
    answer = running.post(path, {**body, "stream": stream})
    assert answer.status_code in (400, 404)
    checked(ErrorObject, answer.json()["error"])


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"input": "x " * 3000}, "input", "context_length_exceeded"),
        ({"input": "x", "text": {"format": {"type": "json_object"}}}, "text.format", None),
        ({"input": "x", "max_output_tokens": 5000}, "input", "context_length_exceeded"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "input", None),
        ({"input": "x", "tools": [TOOL]}, "tools", None),
        ({"input": "x", "include": ["message.output_text.logprobs"]}, "include", None),
    ],
)
def test_what_a_local_model_cannot_do_is_named_as_the_responses_api_names_it(
    running: Scripted, body: dict[str, Any], param: str, code: str | None
) -> None:
    answer = running.post("/v1/responses", {"model": "tiny", **body})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, param, code)
    assert "'messages" not in error["message"]
    assert "'response_format'" not in error["message"]


def test_models_are_whole(running: Scripted) -> None:
    page = running.get("/v1/models").json()
    assert (page["object"], page["has_more"]) == ("list", False)
    assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])
    for model in page["data"]:
        checked(Model, model)
        checked(Model, running.get(f"/v1/models/{model['id']}").json())
    assert [model.id for model in running.client.models.list()] == [model["id"] for model in page["data"]]


def test_the_validator_itself_sees_what_is_missing_or_mistyped() -> None:
    message = {"role": "assistant", "content": "x", "refusal": None}
    choice: dict[str, Any] = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    good = {"id": "a", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    checked(ChatCompletion, good)
    with pytest.raises(ValidationError):
        checked(ChatCompletion, {**good, "created": "1"})
    with pytest.raises(ValidationError):
        checked(ChatCompletion, {**good, "choices": [{**choice, "finish_reason": None}]})
    with pytest.raises(AssertionError, match=r"choices\[0\] lacks logprobs"):
        checked(ChatCompletion, {**good, "choices": [{key: choice[key] for key in choice if key != "logprobs"}]})
    with pytest.raises(AssertionError, match=r"choices\[0\].message lacks refusal"):
        checked(ChatCompletion, {**good, "choices": [{**choice, "message": {"role": "assistant", "content": "x"}}]})


@pytest.mark.parametrize("stream", [False, True])
def test_bytes_that_are_whole_already_are_not_touched(running: Scripted, stream: bool) -> None:
    running.upstream.script = Script(message={"content": "Hé/llo", "role": "assistant", "refusal": None, "x": 1.50})
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": stream}
    text = running.post("/v1/chat/completions", body).text
    if stream:
        assert running.upstream.wrote.startswith(text.split("data: [DONE]")[0])
    else:
        assert text == running.upstream.wrote
