"""`GET /api/conversations/{id}/content`: what was said comes back as it was, for those who may read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.app import create_app
from gateway.build import build
from gateway.settings import load
from tests.gateway.conftest import Gateway
from tests.gateway.keyed import bearer, keyed
from tests.gateway.servers import serving

LEDGER_KEY = "0123456789abcdef0123456789abcdef"
INSTRUCTION = "Answer as a pirate 🏴."


@pytest.fixture
def keeping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATTWAY_LEDGER__STORE_CONTENT", "true")
    monkeypatch.setenv("GATTWAY_LEDGER_KEY", LEDGER_KEY)


def talk(gateway: Gateway, name: str, turns: int) -> list[list[dict[str, Any]]]:
    """A conversation in the arm that repeats; the messages of each request."""
    asked, messages = [], [{"role": "system", "content": INSTRUCTION}]
    for turn in range(turns):
        messages = [*messages, {"role": "user", "content": f"Question {turn} 🦜"}]
        asked.append(messages)
        answer = gateway.post({"model": "ab:repeat", "messages": messages}, x_gattway_conversation_id=name)
        messages = [*messages, answer.json()["choices"][0]["message"]]
    return asked


def plain(messages: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(one["role"], one["content"]) for one in messages]


def error(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_every_turn_comes_back_as_it_was_said_and_as_it_was_sent(keeping: None, gateway: Gateway) -> None:
    asked = talk(gateway, "said", 3)
    answer = gateway.get("/api/conversations/said/content")
    assert answer.headers["cache-control"] == "no-store"
    turns = answer.json()["data"]
    assert [turn["turn"] for turn in turns] == [1, 2, 3]
    for turn, messages, body in zip(turns, asked, gateway.upstream.bodies, strict=True):
        assert plain(turn["messages"]) == plain(messages)
        assert plain(turn["sent"]) == plain(body["messages"])
        assert turn["answer"]["content"] == f"You said: {body['messages'][-1]['content']}"
        assert turn["new_messages"] == (2 if turn["turn"] == 1 else 1)
        texts = [turn["sent"][one["message"]]["content"][one["start"] : one["end"]] for one in turn["placed"]]
        assert [text.strip() for text in texts] == [INSTRUCTION] * turn["turn"]
        assert {(one["unit"], one["whole_message"]) for one in turn["placed"]} == {("character", False)}
    assert gateway.get("/api/conversations/said").json()["content_turns"] == 3


def test_what_is_placed_into_a_list_of_parts_is_counted_in_parts(keeping: None, gateway: Gateway) -> None:
    parts = [{"type": "text", "text": "Ahoy?"}]
    messages = [{"role": "system", "content": INSTRUCTION}, {"role": "user", "content": parts}]
    gateway.post({"model": "ab:repeat", "messages": messages}, x_gattway_conversation_id="parts")
    (turn,) = gateway.get("/api/conversations/parts/content").json()["data"]
    (placed,) = turn["placed"]
    assert placed["unit"] == "part"
    inserted = turn["sent"][placed["message"]]["content"][placed["start"] : placed["end"]]
    assert [part["text"].strip() for part in inserted] == [INSTRUCTION]


def test_it_comes_in_pages_that_join_without_a_gap(keeping: None, gateway: Gateway) -> None:
    talk(gateway, "long", 5)
    whole = gateway.get("/api/conversations/long/content").json()
    assert whole["has_more"] is False
    pages, after = [], ""
    while True:
        page = gateway.get(f"/api/conversations/long/content?limit=2{after}").json()
        assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])
        pages.append(page["data"])
        if not page["has_more"]:
            break
        after = f"&after={page['last_id']}"
    assert [len(page) for page in pages] == [2, 2, 1]
    assert [turn for page in pages for turn in page] == whole["data"]
    assert error(gateway.get("/api/conversations/long/content?after=req_nowhere")) == (404, "not_found")
    assert gateway.get("/api/conversations/long/content?limit=0").status_code == 400


def test_ids_with_slashes_are_found_and_one_that_ends_like_the_route_is_itself(keeping: None, gateway: Gateway) -> None:
    talk(gateway, "a/b", 1)
    talk(gateway, "a/content", 1)
    assert len(gateway.get("/api/conversations/a%2Fb/content").json()["data"]) == 1
    assert len(gateway.get("/api/conversations/a%2Fcontent/content").json()["data"]) == 1
    assert gateway.get("/api/conversations/a%2Fcontent").json()["turn_count"] == 1


def test_where_nothing_is_kept_the_refusal_names_the_setting(gateway: Gateway) -> None:
    talk(gateway, "unsaid", 1)
    refused = gateway.get("/api/conversations/unsaid/content")
    assert error(refused) == (404, "content_not_stored")
    assert "[ledger] store_content = true" in refused.json()["error"]["message"]
    assert gateway.get("/api/conversations/unsaid").json()["content_turns"] == 0
    assert error(gateway.get("/api/conversations/nobody/content")) == (404, "not_found")


@pytest.fixture
def again(gateway: Gateway, config: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Starts a second gateway over the same ledger, under another key or none."""

    def started(key: str | None, name: str) -> httpx.Response:
        monkeypatch.delenv("GATTWAY_LEDGER_KEY")
        if key:
            monkeypatch.setenv("GATTWAY_LEDGER_KEY", key)
        monkeypatch.setenv("GATTWAY_LEDGER__STORE_CONTENT", "true" if key else "false")
        settings = load(config)
        with serving(create_app(settings, build(settings))) as url:
            return httpx.get(f"{url}/api/conversations/{name}/content", timeout=20)

    return started


@pytest.mark.parametrize(("key", "words"), [(None, "without the ledger's key"), ("f" * 32, "put the former key")])
def test_without_the_key_that_sealed_it_the_refusal_says_which_is_missing(
    keeping: None, gateway: Gateway, again: Any, key: str | None, words: str
) -> None:
    talk(gateway, "sealed", 1)
    refused = again(key, "sealed")
    assert error(refused) == (409, "content_key_missing")
    assert words in refused.json()["error"]["message"]
    assert "pirate" not in refused.text


def test_turns_before_content_was_kept_are_there_and_say_that_they_are_not_stored(
    gateway: Gateway, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = talk(gateway, "later", 1)
    monkeypatch.setenv("GATTWAY_LEDGER__STORE_CONTENT", "true")
    monkeypatch.setenv("GATTWAY_LEDGER_KEY", LEDGER_KEY)
    settings = load(config)
    with serving(create_app(settings, build(settings))) as url:
        second = Gateway(url, gateway.upstream, gateway.client)
        history = [*first, {"role": "assistant", "content": "Arr."}, {"role": "user", "content": "More."}]
        second.post({"model": "ab:repeat", "messages": history}, x_gattway_conversation_id="later")
        before, after = second.get("/api/conversations/later/content").json()["data"]
    assert (before["stored"], before["messages"], before["sent"]) == (False, None, None)
    assert after["stored"] is True
    assert plain(after["messages"]) == plain(history)


def test_only_an_admin_key_reads_what_was_said(keeping: None, tmp_path: Path) -> None:
    with keyed(tmp_path, {"boss": "admin = true", "alice": "", "bob": ""}) as (gateway, secrets):
        body = {"model": "ab:repeat", "messages": [{"role": "user", "content": "Where is the treasure?"}]}
        for name in ("alice", "bob"):
            gateway.post(body, x_gattway_conversation_id="one-id", **bearer(secrets[name]))
        path = f"{gateway.url}/api/conversations/one-id/content"
        nobody = httpx.get(path)
        owner = httpx.get(path, headers=bearer(secrets["alice"]))
        assert error(nobody) == (401, "invalid_api_key")
        assert error(owner) == (403, "admin_key_required")
        assert "treasure" not in nobody.text + owner.text
        assert httpx.get(path, headers=bearer(secrets["boss"])).status_code == 400
        (turn,) = httpx.get(f"{path}?key=alice", headers=bearer(secrets["boss"])).json()["data"]
        assert turn["messages"][0]["content"] == "Where is the treasure?"


def test_the_route_is_in_the_schema(gateway: Gateway) -> None:
    schema = gateway.get("/openapi.json").json()
    route = schema["paths"]["/api/conversations/{conversation_id}/content"]["get"]
    assert {one["name"] for one in route["parameters"]} == {"conversation_id", "limit", "after", "key"}
    assert route["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith("ConversationContent")
