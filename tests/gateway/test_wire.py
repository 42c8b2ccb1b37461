"""What clients rely on between the lines of OpenAI's reference: the edges of HTTP, of chunks and of streams."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import orjson
import pytest

from gateway.wire.request import ROLES
from tests.gateway.conftest import Gateway
from tests.gateway.scripted import Script, Scripted

ROOT = Path(__file__).parents[2]
CHAT = "/v1/chat/completions"
ASK = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


def chunks_of(text: str) -> list[dict[str, Any]]:
    return [orjson.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]


# --- streams ----------------------------------------------------------------------------------------------------


def test_while_the_upstream_is_slow_comments_keep_the_connection_and_clients_pass_over_them(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.routes.stream.KEEP_ALIVE_S", 0.1)
    body = {"model": "slow", "stream": True, "messages": [{"role": "user", "content": "one two"}]}
    seen = ""
    with httpx.stream("POST", gateway.url + CHAT, json=body, timeout=20, verify=False) as answer:
        for text in answer.iter_text():
            seen += text
            if seen.count(": keep-alive") == 3:
                gateway.upstream.go_on.set()
    assert re.sub(r": keep-alive\r?\n\r?\n", "", seen).count("data: ") == seen.count("data: ")
    assert ": keep-alive\n\n" in seen
    assert seen.endswith("data: [DONE]\n\n")

    gateway.upstream.go_on.clear()
    slow = threading.Timer(0.35, gateway.upstream.go_on.set)
    slow.start()
    chunks = gateway.client.chat.completions.create(**body)  # type: ignore[call-overload]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "You said: one two"
    slow.join()


def test_a_failure_before_the_first_token_is_a_status_however_long_it_takes(gateway: Gateway) -> None:
    body = {"model": "status-429", "stream": True, "messages": [{"role": "user", "content": "x"}]}
    with pytest.raises(openai.RateLimitError):
        gateway.client.chat.completions.create(**body)  # type: ignore[call-overload]


def test_deltas_of_tools_reasoning_and_several_choices_come_as_they_were_sent(model: Scripted) -> None:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}

    def choice(index: int, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}

    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "add", "arguments": ""}}
    sent = [
        {**head, "choices": [choice(0, {"role": "assistant", "reasoning_content": "Hm"})], "system_fingerprint": "fp"},
        {**head, "choices": [choice(1, {"content": "B"})], "service_tier": "default"},
        {**head, "choices": [choice(0, {"tool_calls": [call]})]},
        {**head, "choices": [choice(0, {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]})]},
        {**head, "choices": [choice(1, {}, "stop"), choice(0, {}, "tool_calls")]},
    ]
    model.upstream.script = Script(chunks=sent)
    answer = model.post(CHAT, {**ASK, "stream": True, "n": 2})
    assert chunks_of(answer.text) == sent
    assert answer.text.endswith("\n\ndata: [DONE]\n\n")


@pytest.mark.parametrize("stream", [False, True])
def test_id_object_created_and_model_are_filled_in_where_the_upstream_leaves_them_out(
    model: Scripted, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = {"index": 0, "logprobs": None, "finish_reason": "stop"}
    model.upstream.script = Script(
        chunks=[
            {"choices": [{**choice, "delta": {"role": "assistant", "content": "He"}, "finish_reason": None}]},
            {"choices": [{**choice, "delta": {"content": "llo"}}], "created": None},
        ]
    )
    monkeypatch.setattr("tests.gateway.scripted.HEAD", {})
    answer = model.post(
        CHAT, {**ASK, "stream": stream, **({"stream_options": {"include_usage": True}} if stream else {})}
    )
    parts = chunks_of(answer.text) if stream else [answer.json()]
    heads = {(part["id"], part["model"], part["object"]) for part in parts}
    (head,) = heads
    assert head[0].startswith("chatcmpl-")
    assert head[1:] == ("m", "chat.completion.chunk" if stream else "chat.completion")
    assert all(type(part["created"]) is int for part in parts)
    assert len(parts) == (3 if stream else 1)


# --- fields -----------------------------------------------------------------------------------------------------


FORMS: list[Any] = ["Hi", [{"type": "text", "text": "Hi"}]]
MESSAGES = [(role, content) for role in ROLES for content in FORMS] + [("assistant", None)]


@pytest.mark.parametrize(("role", "content"), MESSAGES)
def test_every_role_and_form_of_content_goes_up_as_it_came(model: Scripted, role: str, content: Any) -> None:
    message = {"role": role, "content": content, "name": "n", "tool_call_id": "c1"}
    messages = [{"role": "user", "content": "x"}, message]
    assert model.post(CHAT, {"model": "m", "messages": messages}).status_code == 200
    assert model.sent["messages"] == messages


# --- HTTP -------------------------------------------------------------------------------------------------------


def test_headers_of_the_upstreams_own_transfer_are_not_handed_on(gateway: Gateway) -> None:
    answer = gateway.post({"model": "echo-without-usage", "messages": [{"role": "user", "content": "Hi"}]})
    assert answer.json()["usage"]["completion_tokens"] > 0, "the body was rewritten"
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert "content-encoding" not in answer.headers
    assert answer.headers["content-type"] == "application/json"
    sent = gateway.upstream.headers[-1]
    assert sent["x-request-id"] == answer.headers["x-request-id"]
    assert "accept-language" not in sent


def test_headers_that_a_clients_retries_go_by_are_handed_back(gateway: Gateway) -> None:
    answer = gateway.post({"model": "status-503-for-good", "messages": [{"role": "user", "content": "Hi"}]})
    assert answer.status_code == 503
    assert (answer.headers["retry-after-ms"], answer.headers["x-should-retry"]) == ("1500", "false")


def test_a_stream_says_what_it_is_and_that_nobody_should_buffer_it(model: Scripted) -> None:
    answer = model.post(CHAT, {**ASK, "stream": True}, accept_encoding="gzip, br, zstd")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["cache-control"].startswith("no-")
    assert "content-encoding" not in answer.headers


def test_a_body_in_chunks_of_any_content_type_is_read(model: Scripted) -> None:
    def pieces() -> Iterator[bytes]:
        raw = orjson.dumps(ASK)
        yield from (raw[:7], raw[7:])

    for headers in ({}, {"content-type": "application/x-www-form-urlencoded"}, {"content-type": "text/plain"}):
        answer = httpx.post(model.url + CHAT, content=pieces(), headers=headers, timeout=20, verify=False)
        assert answer.status_code == 200, answer.text
        assert answer.request.headers["transfer-encoding"] == "chunked"


ALLOWED = {
    CHAT: "POST",
    "/v1/models": "GET",
    "/v1/responses/resp_1": "DELETE, GET",
    "/api/conversations": "GET",
    "/api/experiments/ab": "GET, PATCH",
}


@pytest.mark.parametrize(("path", "allowed"), ALLOWED.items())
@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT"])
def test_other_methods_are_told_which_ones_are_meant(model: Scripted, method: str, path: str, allowed: str) -> None:
    answer = httpx.request(method, model.url + path, timeout=20, verify=False)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert answer.headers["x-request-id"]
    assert method == "HEAD" or answer.json()["error"]["code"] == "method_not_allowed"


def connected(url: str) -> socket.socket:
    place = urlsplit(url)
    return socket.create_connection((place.hostname or "", place.port or 0), timeout=20)


def read_until(connection: socket.socket, wanted: bytes, times: int = 1) -> bytes:
    seen = b""
    while seen.count(wanted) < times:
        read = connection.recv(65536)
        assert read, f"closed after {seen!r}"
        seen += read
    return seen


def request(body: bytes, *lines: str) -> bytes:
    head = [f"POST {CHAT} HTTP/1.1", "host: 127.0.0.1", f"content-length: {len(body)}", *lines]
    return "\r\n".join([*head, "", ""]).encode() + body


def test_a_client_that_asks_before_it_sends_its_body_is_told_to_go_on(model: Scripted) -> None:
    body = orjson.dumps(ASK)
    whole = request(body, "expect: 100-continue")
    with connected(model.url) as connection:
        connection.sendall(whole[: -len(body)])
        assert read_until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 100")
        connection.sendall(body)
        assert read_until(connection, b'"usage"').startswith(b"HTTP/1.1 200")


def test_two_requests_sent_at_once_on_one_connection_are_answered_in_order(model: Scripted) -> None:
    first, second = (request(orjson.dumps({**ASK, "stream": stream})) for stream in (True, False))
    with connected(model.url) as connection:
        connection.sendall(first + second)
        seen = read_until(connection, b"HTTP/1.1 200", 2)
        if b'"usage"' not in seen.split(b"HTTP/1.1 200")[2]:
            seen += read_until(connection, b'"usage"')
    assert seen.index(b"[DONE]") < seen.index(b"application/json")


def test_a_name_that_nobody_has_mints_no_series(model: Scripted) -> None:
    assert model.post(CHAT, {**ASK, "model": "made-up-by-a-client"}).status_code == 404
    assert "made-up-by-a-client" not in model.get("/metrics").text


def test_every_test_that_the_page_names_is_there() -> None:
    page = (ROOT / "docs/compatibility.md").read_text()
    there = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE)
    }
    named = set(re.findall(r"`(test_\w+)`", page))
    assert len(named) > 40
    assert named - there == set()
