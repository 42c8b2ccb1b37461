"""What an OpenAI client can rely on, and what the books then say."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletion

from tests.gateway.conftest import KEY, Gateway

SYSTEM = {"role": "system", "content": "Speak French."}


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def ask(gateway: Gateway, messages: list[Any], model: str = "ab", **more: Any) -> tuple[ChatCompletion, httpx.Headers]:
    raw = gateway.client.chat.completions.with_raw_response.create(model=model, messages=messages, **more)
    return raw.parse(), raw.headers


def test_an_answer_comes_through_with_the_contracts_headers(gateway: Gateway) -> None:
    answer, headers = ask(gateway, [SYSTEM, user("Hello")])
    assert answer.choices[0].message.content is not None
    assert headers["x-request-id"].startswith("req_")
    assert headers["x-gattway-experiment"] == "ab"
    assert headers["x-gattway-arm"] in ("once", "repeat")
    assert headers["x-gattway-turn"] == "1"
    assert float(headers["x-gattway-overhead-ms"]) >= 0


def test_a_stream_comes_through_and_shows_usage_only_to_those_who_ask(gateway: Gateway) -> None:
    stream = gateway.client.chat.completions.create(model="echo", messages=[user("a b c")], stream=True)
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "You said: a b c"
    assert chunks[-1].choices[0].finish_reason == "stop"

    asked = list(
        gateway.client.chat.completions.create(
            model="echo", messages=[user("a b c")], stream=True, stream_options={"include_usage": True}
        )
    )
    assert asked[-1].choices == []
    assert asked[-1].usage is not None
    assert asked[-1].usage.completion_tokens == 5


@pytest.mark.parametrize("stream", [False, True])
def test_each_arm_places_the_instruction_in_its_own_way(gateway: Gateway, stream: bool) -> None:
    history = [SYSTEM, user("Hi"), assistant("Salut"), user("Who?")]
    for arm, expected in {
        "once": history,
        "repeat": [user("Hi\n\nSpeak French."), assistant("Salut"), user("Who?\n\nSpeak French.")],
    }.items():
        gateway.client.chat.completions.create(model=f"ab:{arm}", messages=history, stream=stream)
        assert gateway.upstream.bodies[-1]["messages"] == expected


def test_a_model_named_directly_gets_the_bytes_of_the_client_and_unknown_fields(gateway: Gateway) -> None:
    messages = [{**SYSTEM, "x": 1}, user("Hi")]
    answer = gateway.post({"model": "echo", "messages": messages, "top_k": 3, "guided_json": {"a": [1]}})
    assert answer.headers["x-gattway-experiment"] == ""
    assert answer.headers["x-gattway-arm"] == ""
    sent = gateway.upstream.bodies[-1]
    assert sent["messages"] == messages
    assert (sent["top_k"], sent["guided_json"]) == (3, {"a": [1]})


def test_a_conversation_keeps_its_arm_and_counts_its_turns_by_history_alone(gateway: Gateway) -> None:
    messages: list[Any] = [SYSTEM, user("turn 1")]
    seen = []
    for turn in range(2, 6):
        answer, headers = ask(gateway, messages)
        seen.append((headers["x-gattway-conversation-id"], headers["x-gattway-arm"], headers["x-gattway-turn"]))
        text = answer.choices[0].message.content
        messages += [assistant(f" {text}\n"), user(f"turn {turn}")]
    assert len({identity for identity, _, _ in seen}) == 1
    assert len({arm for _, arm, _ in seen}) == 1
    assert [turn for _, _, turn in seen] == ["1", "2", "3", "4"]
    rows = gateway.rows(seen[0][0])
    assert [row["identity_source"] for row in rows] == ["new", "history", "history", "history"]
    assert [row["parent_request_id"] for row in rows] == [None, *(row["request_id"] for row in rows[:-1])]


def test_a_regenerated_answer_stays_in_its_conversation(gateway: Gateway) -> None:
    first, headers = ask(gateway, [user("Hi")])
    history = [user("Hi"), assistant(first.choices[0].message.content or ""), user("More")]
    again = [ask(gateway, history)[1] for _ in range(3)]
    assert {one["x-gattway-conversation-id"] for one in again} == {headers["x-gattway-conversation-id"]}
    assert {one["x-gattway-turn"] for one in again} == {"2"}
    assert len(gateway.rows(headers["x-gattway-conversation-id"])) == 4


def test_two_strangers_with_the_same_opening_never_share_a_conversation(gateway: Gateway) -> None:
    (answer, one), (_, other) = ask(gateway, [user("hi")]), ask(gateway, [user("hi")])
    assert one["x-gattway-conversation-id"] != other["x-gattway-conversation-id"]
    history = [user("hi"), assistant(answer.choices[0].message.content or "")]
    later = {ask(gateway, [*history, user(text)])[1]["x-gattway-conversation-id"] for text in ("cats", "dogs")}
    assert later == {one["x-gattway-conversation-id"], other["x-gattway-conversation-id"]}


@pytest.mark.parametrize(
    ("headers", "body", "source"),
    [
        (
            {"x-gattway-conversation-id": "a/b ?c"},
            {"metadata": {"session_id": "no"}},
            "header:x-gattway-conversation-id",
        ),
        ({"x-openwebui-chat-id": "a/b ?c"}, {}, "header:x-openwebui-chat-id"),
        ({}, {"metadata": {"conversation_id": "a/b ?c"}}, "metadata:conversation_id"),
        ({}, {"litellm_session_id": "a/b ?c"}, "metadata:litellm_session_id"),
    ],
)
def test_an_id_that_the_client_gives_is_kept_as_it_is(
    gateway: Gateway, headers: dict[str, str], body: dict[str, Any], source: str
) -> None:
    answer = gateway.post({"model": "ab", "messages": [user("Hi")], **body}, **headers)
    assert answer.headers["x-gattway-conversation-id"] == "a/b ?c"
    rows = gateway.rows("a%2Fb%20%3Fc")
    assert [row["identity_source"] for row in rows] == [source]
    assert "litellm_session_id" not in gateway.upstream.bodies[-1]


def test_the_row_holds_what_the_turn_used_and_cost(gateway: Gateway) -> None:
    history = [SYSTEM, user("Hi"), assistant("Salut"), user("Who are you?")]
    _, headers = ask(gateway, history, model="ab:repeat")
    (row,) = gateway.rows(headers["x-gattway-conversation-id"])
    assert (row["status"], row["http_status"], row["finish_reason"]) == ("ok", 200, "stop")
    assert (row["strategy"], row["model"], row["upstream"], row["forced"]) == ("every-turn", "priced", "fake", True)
    assert row["usage_source"] == "upstream"
    assert (row["prompt_tokens"], row["cached_tokens"], row["reasoning_tokens"]) == (9, 4, None)
    assert (row["instruction_tokens"], row["repeated_instruction_tokens"]) == (3, 3)  # two copies, one of them extra
    compared = {"once", "every-turn", "every-k", "last-turn", "short-reminder"}
    assert set(row["counterfactual_prompt_tokens"]) == compared
    assert row["context_window"] == 1000
    assert row["context_used"] == row["prompt_tokens"] + row["completion_tokens"]
    assert row["cost_input_usd"] == pytest.approx((9 - 4) * 1e-6)
    assert row["cost_cached_usd"] == pytest.approx(4 * 0.1e-6)
    assert row["cost_usd"] == pytest.approx(row["cost_input_usd"] + row["cost_cached_usd"] + row["cost_output_usd"])
    assert row["price_source"] == "config"


def test_without_usage_from_upstream_the_gateway_counts_and_says_so(gateway: Gateway) -> None:
    chunks = list(
        gateway.client.chat.completions.create(
            model="echo-without-usage",
            messages=[user("one two")],
            stream=True,
            stream_options={"include_usage": True},
            extra_headers={"x-gattway-conversation-id": "counted"},
        )
    )
    (row,) = gateway.rows("counted")
    assert row["usage_source"] == "counted"
    assert row["completion_tokens"] == 5  # "You said: one two" in o200k_base
    assert row["cost_usd"] is None
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 5


def test_a_stream_without_done_is_closed_properly(gateway: Gateway) -> None:
    text = gateway.post({"model": "echo-without-done", "messages": [user("x")], "stream": True}).text
    assert text.endswith("data: [DONE]\n\n")


def test_a_price_in_litellms_table_is_used_where_the_config_has_none(gateway: Gateway) -> None:
    models = {model["id"]: model for model in gateway.get("/v1/models").json()["data"]}
    assert models["echo"]["price"] is None
    assert models["priced"]["price"] == {"input": 1.0, "cached": 0.1, "output": 4.0, "source": "config"}
    assert models["ab"]["context_window"] == 1000
    assert gateway.get("/v1/models/ab:once").json()["kind"] == "arm"
    assert gateway.client.models.retrieve("ab").id == "ab"


@pytest.mark.parametrize("model", ["cut", "error-in-stream", "garbage"])
def test_a_failure_in_mid_stream_reaches_the_client_as_an_error(gateway: Gateway, model: str) -> None:
    stream = gateway.client.chat.completions.create(
        model=model,
        messages=[user("one two three")],
        stream=True,
        extra_headers={"x-gattway-conversation-id": model},
    )
    with pytest.raises(openai.APIError):
        list(stream)
    (row,) = gateway.rows(model)
    assert row["status"] == "error"
    assert row["completion_tokens"] > 0
    assert row["usage_source"] == "partial"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("model", "status"), [("status-429", 429), ("status-500", 500), ("status-401", 401)])
def test_an_upstreams_refusal_is_a_real_status_with_its_own_words(
    gateway: Gateway, model: str, status: int, stream: bool
) -> None:
    answer = gateway.post({"model": model, "messages": [user("x")], "stream": stream})
    assert answer.status_code == status
    assert answer.json()["error"]["message"] == f"Refused with {status}."
    assert answer.headers["retry-after"] == "7"
    assert answer.headers["x-request-id"].startswith("req_")


def test_an_overflow_is_openais_error_and_is_counted(gateway: Gateway) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        gateway.client.chat.completions.create(model="overflow", messages=[user("x")])
    assert refused.value.code == "context_length_exceeded"
    assert "maximum context length is 4096 tokens" in refused.value.message
    assert (
        'gattway_context_overflow_total{action="rejected",arm="",experiment="",model="overflow"} 1.0'
        in gateway.get("/metrics").text
    )


def test_an_upstream_that_answers_a_stream_with_a_page_is_a_502(gateway: Gateway) -> None:
    assert gateway.post({"model": "html", "messages": [user("x")], "stream": True}).status_code == 502
    assert gateway.post({"model": "html", "messages": [user("x")]}).status_code == 502


@pytest.mark.parametrize("model", ["slow", "silent"])
def test_a_client_that_leaves_stops_the_upstream_and_is_in_the_books(gateway: Gateway, model: str) -> None:
    headers = {"x-gattway-conversation-id": "left"}
    body = {"model": model, "messages": [user("one two")], "stream": True}
    with httpx.Client(timeout=1.0 if model == "silent" else 20) as client:
        try:
            with client.stream("POST", f"{gateway.url}/v1/chat/completions", json=body, headers=headers) as answer:
                next(answer.iter_raw())
        except httpx.ReadTimeout:
            assert model == "silent"
    assert gateway.upstream.cancelled.wait(5)
    deadline = time.monotonic() + 5
    while not (rows := gateway.rows("left")) and time.monotonic() < deadline:
        time.sleep(0.02)
    (row,) = rows
    assert row["status"] == "aborted"
    assert row["usage_source"] == "partial"
    assert row["completion_tokens"] == (1 if model == "slow" else 0)
    assert 'gattway_streams_aborted_total{by="client"} 1.0' in gateway.get("/metrics").text


def test_the_upstreams_key_is_sent_there_and_shown_nowhere(gateway: Gateway) -> None:
    answer = gateway.post({"model": "status-401", "messages": [user("x")]}, authorization="Bearer client-key")
    assert gateway.upstream.headers[-1]["authorization"] == f"Bearer {KEY}"
    assert KEY not in answer.text
    assert KEY not in gateway.get("/metrics").text


def test_metrics_count_tokens_cost_and_conversations_by_arm(gateway: Gateway) -> None:
    _, headers = ask(gateway, [SYSTEM, user("Hi")])
    arm, text = headers["x-gattway-arm"], gateway.get("/metrics").text
    assert f'gattway_conversations_total{{arm="{arm}",experiment="ab"}} 1.0' in text
    strategy = {"once": "once", "repeat": "every-turn"}[arm]
    assert (
        f'gattway_requests_total{{arm="{arm}",experiment="ab",model="priced",outcome="ok",strategy="{strategy}"}} 1.0'
        in text
    )
    assert f'gattway_tokens_total{{arm="{arm}",experiment="ab",kind="prompt",model="priced"}}' in text
    assert f'gattway_cost_usd_total{{arm="{arm}",experiment="ab",kind="input",model="priced"}}' in text
    assert gateway.post({"model": "minted", "messages": [user("x")]}).status_code == 404
    assert "minted" not in gateway.get("/metrics").text


def test_requests_in_flight_are_counted_until_their_answer_has_ended(gateway: Gateway) -> None:
    body = {"model": "slow", "messages": [user("one two")], "stream": True}
    with httpx.stream("POST", f"{gateway.url}/v1/chat/completions", json=body) as answer:
        reads = answer.iter_raw()  # held, for letting go of it closes the connection
        next(reads)
        assert "gattway_in_flight_requests 1.0" in gateway.get("/metrics").text
    assert gateway.upstream.cancelled.wait(5)
    deadline = time.monotonic() + 5
    while "gattway_in_flight_requests 0.0" not in gateway.get("/metrics").text:
        assert time.monotonic() < deadline


def test_a_turn_that_cannot_be_written_is_no_answer_and_new_requests_are_turned_away(
    gateway: Gateway, tmp_path: Path
) -> None:
    ledger = sqlite3.connect(tmp_path / "ledger.db")
    ledger.execute("ALTER TABLE turns RENAME TO away")
    body = {"model": "echo", "messages": [user("x")], "stream": True}
    text = gateway.post(body).text
    assert "[DONE]" not in text
    assert "ledger_unavailable" in text
    assert gateway.post(body).status_code == 503
    ready = gateway.get("/health/ready")
    assert ready.status_code == 503
    assert "the ledger cannot be written" in ready.json()["reason"]
    ledger.execute("ALTER TABLE away RENAME TO turns")
    ledger.close()
    deadline = time.monotonic() + 5
    while gateway.get("/health/ready").status_code != 200:
        assert time.monotonic() < deadline
    assert gateway.post(body).text.endswith("data: [DONE]\n\n")
    assert len(gateway.get("/api/conversations").json()["data"]) == 2  # the unfinished turn was kept and written


def test_conversations_are_listed_in_pages(gateway: Gateway) -> None:
    for index in range(5):
        gateway.post({"model": "echo", "messages": [user("x")]}, x_gattway_conversation_id=f"c{index}")
    first = gateway.get("/api/conversations?limit=2").json()
    assert [one["id"] for one in first["data"]] == ["c4", "c3"]
    assert first["has_more"] is True
    second = gateway.get(f"/api/conversations?limit=10&after={first['last_id']}").json()
    assert [one["id"] for one in second["data"]] == ["c2", "c1", "c0"]
    assert second["has_more"] is False
    assert gateway.get("/api/conversations/none").status_code == 404
