"""Every mistake a client can make gets OpenAI's error body, the right status, and words that say what to change."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.gateway.conftest import Gateway

OK = [{"role": "user", "content": "x"}]


@pytest.mark.parametrize(
    ("body", "status", "param", "words"),
    [
        ("{", 400, None, "could not parse the JSON body"),
        (b"\xff\xfe", 400, None, "could not parse the JSON body"),
        ("[]", 400, None, "must be a JSON object, not a list"),
        ({"messages": OK}, 400, "model", "provide a model"),
        ({"model": 7, "messages": OK}, 400, "model", "provide a model"),
        ({"model": "nope", "messages": OK}, 404, "model", "'nope' does not exist. Available: ab"),
        ({"model": "ab:nope", "messages": OK}, 404, "model", "has no arm 'nope'. Its arms are: once, repeat"),
        ({"model": "echo"}, 400, "messages", "must be a list"),
        ({"model": "echo", "messages": []}, 400, "messages", "is empty"),
        ({"model": "echo", "messages": ["x"]}, 400, "messages[0]", "must be an object"),
        ({"model": "echo", "messages": [{"role": "robot", "content": "x"}]}, 400, "messages[0].role", "robot"),
        ({"model": "echo", "messages": [{"role": "user", "content": 5}]}, 400, "messages[0].content", "not an integer"),
        ({"model": "echo", "messages": [{"role": "user"}]}, 400, "messages[0].content", "it is missing"),
        ({"model": "echo", "messages": [{"role": "user", "content": [7]}]}, 400, "messages[0].content[0]", "'type'"),
        (
            {"model": "echo", "messages": [{"role": "user", "content": [{"type": "text"}]}]},
            400,
            "messages[0].content[0].text",
            "must be a string",
        ),
        ({"model": "echo", "messages": OK, "stream": "yes"}, 400, "stream", "true or false"),
        ({"model": "echo", "messages": OK, "temperature": 3}, 400, "temperature", "between 0 and 2"),
        ({"model": "echo", "messages": OK, "temperature": "hot"}, 400, "temperature", "must be a number"),
        ({"model": "echo", "messages": OK, "max_tokens": 0}, 400, "max_tokens", "at least 1"),
        ({"model": "echo", "messages": OK, "stop": [1]}, 400, "stop", "list of strings"),
        ({"model": "echo", "messages": OK, "stream_options": {}}, 200, None, ""),
        (
            {"model": "echo", "messages": OK, "stream_options": {"include_usage": True}},
            400,
            "stream_options",
            "only allowed when 'stream' is true",
        ),
        (
            {"model": "echo", "messages": OK, "metadata": {"session_id": "a\nb: c"}},
            400,
            "metadata.session_id",
            "control",
        ),
        (
            {"model": "echo", "messages": OK, "metadata": {"session_id": "x" * 300}},
            400,
            "metadata.session_id",
            "longer",
        ),
        ({"model": "echo", "messages": OK, "metadata": {"session_id": 7}}, 400, "metadata.session_id", "string"),
        ({"model": "ab", "messages": [{"role": "system", "content": " "}]}, 200, None, ""),
    ],
)
def test_a_mistake_is_named(gateway: Gateway, body: Any, status: int, param: str | None, words: str) -> None:
    answer = gateway.post(body)
    assert answer.status_code == status, answer.text
    assert answer.headers["x-request-id"].startswith("req_")
    if status != 200:
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["type"] == "invalid_request_error"
        assert error["param"] == param
        assert words in error["message"]


def test_a_body_beyond_the_limit_is_413(gateway: Gateway) -> None:
    answer = gateway.post(b" " * (20 * 2**20 + 1))
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "request_too_large"


def test_wrong_routes_and_methods_answer_in_openais_shape(gateway: Gateway) -> None:
    missing = gateway.get("/v1/nothing")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "unknown_url")
    wrong = httpx.delete(f"{gateway.url}/v1/chat/completions")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert wrong.json()["error"]["code"] == "method_not_allowed"
    query = gateway.get("/api/conversations?limit=many")
    assert (query.status_code, query.json()["error"]["param"]) == (400, "limit")
    page = gateway.get("/api/conversations?after=nobody")
    assert (page.status_code, page.json()["error"]["param"]) == (404, "after")
    for answer in (missing, wrong, query, page):
        assert answer.headers["x-request-id"].startswith("req_")


def test_an_id_beyond_ascii_is_kept_in_the_books_and_percent_encoded_in_the_header(gateway: Gateway) -> None:
    answer = gateway.post({"model": "echo", "messages": OK, "metadata": {"session_id": "größe"}})
    assert answer.headers["x-gattway-conversation-id"] == "gr%C3%B6%C3%9Fe"
    assert gateway.rows("größe")[0]["conversation_id"] == "größe"
