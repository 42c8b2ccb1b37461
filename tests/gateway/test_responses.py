"""The Responses API over chat completions: what goes up, what comes down, and what the books then say."""

from __future__ import annotations

import time
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import ResponseFunctionToolCall

from tests.gateway.conftest import Gateway
from tests.gateway.scripted import TOOL, Script, Scripted, user

CALL_DELTAS: list[dict[str, Any]] = [
    {"role": "assistant", "content": None},
    {"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "add", "arguments": ""}}]},
    {"tool_calls": [{"index": 1, "id": "c2", "type": "function", "function": {"name": "sub", "arguments": ""}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]},
    {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]},
]
CALLS = [
    {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}},
    {"id": "c2", "type": "function", "function": {"name": "sub", "arguments": "{}"}},
]


def test_a_text_is_answered_with_the_contracts_headers_and_usage(model: Scripted) -> None:
    raw = model.client.responses.with_raw_response.create(model="ab:once", input="Hi", instructions="Speak French.")
    answer = raw.parse()
    assert answer.output_text == "Hello"
    assert answer.status == "completed"
    assert answer.id == "resp_" + raw.headers["x-request-id"].removeprefix("req_")
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (10, 4)
    assert answer.usage.input_tokens_details.cached_tokens == 6
    assert answer.usage.output_tokens_details.reasoning_tokens == 1
    assert answer.instructions == "Speak French."
    assert raw.headers["x-gattway-experiment"] == "ab"
    assert raw.headers["x-gattway-arm"] == "once"
    assert raw.headers["x-gattway-turn"] == "1"
    assert float(raw.headers["x-gattway-overhead-ms"]) >= 0
    row = model.get(f"/api/conversations/{raw.headers['x-gattway-conversation-id']}").json()["turns"][0]
    assert (row["prompt_tokens"], row["completion_tokens"], row["cached_tokens"]) == (10, 4, 6)
    assert (row["status"], row["strategy"], row["usage_source"]) == ("ok", "once", "upstream")


@pytest.mark.parametrize("stream", [False, True])
def test_instructions_are_what_the_arm_places(model: Scripted, stream: bool) -> None:
    history = [user("Hi"), {"role": "assistant", "content": "Salut"}, user("Who?")]
    for arm, expected in {
        "once": [{"role": "system", "content": "Speak French."}, *history],
        "repeat": [user("Hi\n\nSpeak French."), history[1], user("Who?\n\nSpeak French.")],
    }.items():
        model.post(
            "/v1/responses",
            {"model": f"ab:{arm}", "instructions": "Speak French.", "input": history, "stream": stream},
        )
        assert model.sent["messages"] == expected


def test_a_stream_is_typed_events_each_named_and_numbered(model: Scripted) -> None:
    events = model.events("/v1/responses", {"model": "m", "input": "Hi"})
    assert [name for name, _ in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [data["type"] for _, data in events] == [name for name, _ in events]
    assert [data["sequence_number"] for _, data in events] == list(range(len(events)))
    assert "".join(data["delta"] for name, data in events if name == "response.output_text.delta") == "Hello"
    final = events[-1][1]["response"]
    assert final["output"][0]["content"][0]["text"] == "Hello"
    assert final["usage"]["input_tokens"] == 10
    assert final["store"] is False


def test_the_clients_stream_helper_puts_an_answer_together(model: Scripted) -> None:
    with model.client.responses.stream(model="m", input="Hi") as stream:
        texts = [event.snapshot for event in stream if event.type == "response.output_text.delta"]
        assert texts == ["Hel", "Hello"]
        assert stream.get_final_response().output_text == "Hello"


@pytest.mark.parametrize("stream", [False, True])
def test_tool_calls_come_as_items_even_when_their_deltas_interleave(model: Scripted, stream: bool) -> None:
    model.upstream.script = Script(
        message={"role": "assistant", "content": None, "tool_calls": CALLS},
        deltas=CALL_DELTAS,
        finish_reason="tool_calls",
    )
    if stream:
        tools: Any = [TOOL, {**TOOL, "name": "sub"}]
        with model.client.responses.stream(model="m", input="1?", tools=tools) as events:
            names = [event.type for event in events]
            answer: Any = events.get_final_response()
        assert names.count("response.function_call_arguments.delta") == 3
        assert names.count("response.function_call_arguments.done") == 2
    else:
        answer = model.client.responses.create(model="m", input="1?", tools=[TOOL])  # type: ignore[list-item]
    calls = [item for item in answer.output if isinstance(item, ResponseFunctionToolCall)]
    assert [(call.call_id, call.name, call.arguments) for call in calls] == [
        ("c1", "add", '{"a":1}'),
        ("c2", "sub", "{}"),
    ]
    assert answer.status == "completed"


def test_a_tool_run_sent_back_as_items_is_the_messages_of_a_chat_and_the_same_turn(model: Scripted) -> None:
    model.upstream.script = Script(
        message={"role": "assistant", "content": "Let me see.", "tool_calls": CALLS}, finish_reason="tool_calls"
    )
    items: list[Any] = [user("1?")]
    tools: Any = [TOOL]
    first = model.client.responses.with_raw_response.create(
        model="ab", input=items, tools=tools, instructions="Be kind."
    )
    items += [item.to_dict() for item in first.parse().output]
    items += [{"type": "function_call_output", "call_id": call, "output": "7"} for call in ("c1", "c2")]
    model.upstream.script = Script()
    second = model.client.responses.with_raw_response.create(
        model=f"ab:{first.headers['x-gattway-arm']}", input=items, tools=tools, instructions="Be kind."
    )
    assert model.sent["messages"][-3:] == [
        {"role": "assistant", "content": "Let me see.", "tool_calls": CALLS},
        {"role": "tool", "tool_call_id": "c1", "content": "7"},
        {"role": "tool", "tool_call_id": "c2", "content": "7"},
    ]
    assert model.sent["tools"] == [{"type": "function", "function": {k: TOOL[k] for k in TOOL if k != "type"}}]
    for header in ("x-gattway-conversation-id", "x-gattway-turn"):
        assert second.headers[header] == first.headers[header]


def test_five_streamed_turns_resent_as_items_are_one_conversation(model: Scripted) -> None:
    items: list[Any] = []
    seen = []
    for turn in range(1, 6):
        model.upstream.script = Script(
            deltas=[{"reasoning_content": "Hm."}, {"content": f"Answer {turn}, "}, {"content": "done."}]
        )
        items.append(user(f"Question {turn}"))
        with model.client.responses.with_streaming_response.create(
            model="ab", input=items, stream=True, instructions="Be kind."
        ) as raw:
            seen.append([raw.headers[f"x-gattway-{name}"] for name in ("conversation-id", "arm", "turn")])
            final = next(event for event in raw.parse() if event.type == "response.completed").response
        assert final.output_text == f"Answer {turn}, done."
        assert [item.type for item in final.output] == ["reasoning", "message"]
        items += [item.to_dict() for item in final.output]
    assert len({(identity, arm) for identity, arm, _ in seen}) == 1
    assert [turn for _, _, turn in seen] == ["1", "2", "3", "4", "5"]
    rows = model.get(f"/api/conversations/{seen[0][0]}").json()["turns"]
    assert [row["identity_source"] for row in rows] == ["new", *["history"] * 4]
    assert not any("reasoning" in str(message) for message in model.sent["messages"])


def test_a_chat_and_a_responses_client_share_a_history(model: Scripted) -> None:
    chat = model.client.chat.completions.with_raw_response.create(model="m", messages=[user("Start with chat")])  # type: ignore[list-item]
    items: Any = [user("Start with chat"), {"role": "assistant", "content": "Hello"}, user("More")]
    later = model.client.responses.with_raw_response.create(model="m", input=items)
    assert later.headers["x-gattway-conversation-id"] == chat.headers["x-gattway-conversation-id"]
    assert later.headers["x-gattway-turn"] == "2"


@pytest.mark.parametrize(
    ("finish_reason", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_was_stopped_is_incomplete(
    model: Scripted, finish_reason: str, reason: str, stream: bool
) -> None:
    model.upstream.script = Script(finish_reason=finish_reason)
    if stream:
        name, data = model.events("/v1/responses", {"model": "m", "input": "Hi"})[-1]
        assert name == "response.incomplete"
        answer = data["response"]
    else:
        answer = model.post("/v1/responses", {"model": "m", "input": "Hi"}).json()
    assert answer["status"] == "incomplete"
    assert answer["incomplete_details"] == {"reason": reason}
    assert answer["output"][0]["status"] == "incomplete"


@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_is_a_part_of_the_message(model: Scripted, stream: bool) -> None:
    model.upstream.script = Script(
        message={"role": "assistant", "content": None, "refusal": "I cannot."},
        deltas=[{"role": "assistant", "content": "", "refusal": None}, {"refusal": "I "}, {"refusal": "cannot."}],
    )
    if stream:
        events = model.events("/v1/responses", {"model": "m", "input": "Hi"})
        assert [data["delta"] for name, data in events if name == "response.refusal.delta"] == ["I ", "cannot."]
        answer = events[-1][1]["response"]
    else:
        answer = model.post("/v1/responses", {"model": "m", "input": "Hi"}).json()
    assert answer["output"][0]["content"] == [{"type": "refusal", "refusal": "I cannot."}]


def test_reasoning_comes_before_the_message_and_is_closed_by_it(model: Scripted) -> None:
    model.upstream.script = Script(deltas=[{"reasoning": "Hm, "}, {"reasoning": "yes."}, {"content": "Yes."}])
    events = model.events("/v1/responses", {"model": "m", "input": "Hi"})
    names = [name for name, _ in events]
    assert names.index("response.reasoning_text.done") < names.index("response.output_text.delta")
    thought, message = events[-1][1]["response"]["output"]
    assert thought["content"] == [{"type": "reasoning_text", "text": "Hm, yes."}]
    assert message["content"][0]["text"] == "Yes."


@pytest.mark.parametrize("stream", [False, True])
def test_log_probabilities_come_with_the_text(model: Scripted, stream: bool) -> None:
    token = {"token": "Hel", "logprob": -0.5, "bytes": [72], "top_logprobs": [{"token": "X", "logprob": -3.0}]}
    model.upstream.script = Script(logprobs={"content": [token], "refusal": None})
    body = {"model": "m", "input": "Hi", "include": ["message.output_text.logprobs"]}
    if stream:
        answer = model.events("/v1/responses", body)[-1][1]["response"]
    else:
        answer = model.post("/v1/responses", body).json()
    (first, *_) = answer["output"][0]["content"][0]["logprobs"]
    assert (first["token"], first["logprob"]) == ("Hel", -0.5)
    assert first["top_logprobs"] == [{"token": "X", "logprob": -3.0, "bytes": []}]


def test_a_failure_in_mid_stream_is_a_failed_response_and_an_error_in_the_client(model: Scripted) -> None:
    model.upstream.script = Script(breaks_off=True)
    body = {"model": "m", "input": "Hi", "metadata": {"conversation_id": "broken"}}
    events = model.events("/v1/responses", body)
    assert [name for name, _ in events][-2:] == ["response.failed", "error"]
    failed = events[-2][1]["response"]
    assert failed["status"] == "failed"
    assert failed["error"] == {"code": "server_error", "message": "Out of memory."}
    assert failed["output"][0]["content"][0]["text"] == "Hello"
    (row,) = model.get("/api/conversations/broken").json()["turns"]
    assert (row["status"], row["error_code"], row["usage_source"]) == ("error", "oom", "partial")
    with pytest.raises(openai.APIError, match="Out of memory"):
        list(model.client.responses.create(model="m", input="Hi", stream=True))


def test_stored_responses_are_not_found_and_the_error_says_why(model: Scripted) -> None:
    with pytest.raises(openai.NotFoundError, match="keeps no message text"):
        model.client.responses.retrieve("resp_1")
    with pytest.raises(openai.NotFoundError):
        model.client.responses.delete("resp_1")
    with pytest.raises(openai.NotFoundError):
        model.client.responses.cancel("resp_1")
    with pytest.raises(openai.NotFoundError):
        model.client.responses.input_items.list("resp_1")
    wrong = model.get("/v1/responses")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("stream", [False, True])
def test_an_upstreams_refusal_is_a_real_status_in_this_apis_words(gateway: Gateway, stream: bool) -> None:
    def post(model: str) -> httpx.Response:
        return httpx.post(f"{gateway.url}/v1/responses", json={"model": model, "input": "x", "stream": stream})

    limited = post("status-429")
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "7")
    assert limited.json()["error"]["message"] == "Refused with 429."
    overflow = post("overflow")
    assert (overflow.status_code, overflow.json()["error"]["code"]) == (400, "context_length_exceeded")
    missing = post("nope")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("upstream_model", ["slow", "silent"])
def test_a_client_that_leaves_stops_the_upstream_and_is_in_the_books(gateway: Gateway, upstream_model: str) -> None:
    body = {"model": upstream_model, "input": "one two", "stream": True, "metadata": {"conversation_id": "left"}}
    with httpx.Client(timeout=1.0 if upstream_model == "silent" else 20) as client:
        try:
            with client.stream("POST", f"{gateway.url}/v1/responses", json=body) as answer:
                next(answer.iter_raw())
        except httpx.ReadTimeout:
            assert upstream_model == "silent"
    assert gateway.upstream.cancelled.wait(5)
    deadline = time.monotonic() + 5
    while not (rows := gateway.rows("left")) and time.monotonic() < deadline:
        time.sleep(0.02)
    (row,) = rows
    assert (row["status"], row["usage_source"]) == ("aborted", "partial")
