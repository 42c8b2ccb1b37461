"""The page's server, at the wire: files, sessions, the door to the gateway. The page itself: tests/integration/ui."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from gateway.__main__ import main
from gateway.ui.backend import Remote
from gateway.ui.command import create_app
from gateway.ui.scripts import SCRIPTS, load
from gateway.ui.sessions import LIFETIME_S, MAX_SESSIONS, Sessions
from tests.gateway.conftest import Gateway
from tests.gateway.keyed import keyed
from tests.gateway.servers import serving

ROOT = Path(__file__).parents[2]
HI = {"model": "priced", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
def browser(gateway: Gateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.url, timeout=20) as client:
        yield client


@contextmanager
def page_before(url: str, **options: bool) -> Iterator[httpx.Client]:
    """`gattway ui --gateway url`, and a client of it."""
    with serving(create_app(Remote(url), **options)) as own, httpx.Client(base_url=own, timeout=20) as client:
        yield client


def code(answer: httpx.Response) -> str:
    found: str = answer.json()["error"]["code"]
    return found


def test_the_page_loads_nothing_from_elsewhere_and_runs_nothing_inline(browser: httpx.Client) -> None:
    page = browser.get("/ui/")
    assert page.status_code == 200
    assert "<title>gattway</title>" in page.text
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert browser.get("/ui").headers["location"].endswith("/ui/")


def test_files_that_are_not_there_are_openai_shaped_404s(browser: httpx.Client) -> None:
    answer = browser.get("/ui/../gateway/app.py")
    assert answer.status_code == 404
    assert browser.get("/ui/js/nothing.js").json()["error"]["code"] == "unknown_url"
    assert browser.get("/ui/%2e%2e/app.py").status_code == 404


def test_a_file_that_has_not_changed_is_not_sent_again(browser: httpx.Client) -> None:
    first = browser.get("/ui/style.css")
    again = browser.get("/ui/style.css", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304


def test_the_door_leads_to_the_documented_api_with_its_headers_and_streams(browser: httpx.Client) -> None:
    answer = browser.post(
        "/ui/gateway/v1/chat/completions", json=HI, headers={"x-gattway-conversation-id": "from the page/1"}
    )
    assert answer.json()["choices"][0]["message"]["content"] == "You said: Hi"
    rows = browser.get("/ui/gateway/api/conversations/from%20the%20page%2F1").json()["turns"]
    assert [row["request_id"] for row in rows] == [answer.headers["x-request-id"]]
    with browser.stream("POST", "/ui/gateway/v1/chat/completions", json={**HI, "stream": True}) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert list(stream.iter_lines())[-2] == "data: [DONE]"
    assert "gattway_requests_total" in browser.get("/ui/gateway/metrics").text


@pytest.mark.parametrize("path", ["/ui/", "/docs", "/keys", "/v2/x", ""])
def test_the_door_leads_nowhere_else(browser: httpx.Client, path: str) -> None:
    assert browser.get(f"/ui/gateway{path}").status_code == 404


@pytest.mark.parametrize("headers", [{"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}])
def test_pages_of_other_origins_are_refused_at_the_door(browser: httpx.Client, headers: dict[str, str]) -> None:
    for answer in (
        browser.get("/ui/gateway/api/conversations", headers=headers),
        browser.post("/ui/session", json={"key": "x"}, headers=headers),
        browser.post("/ui/verdict", json={}, headers=headers),
    ):
        assert (answer.status_code, code(answer)) == (403, "origin_not_allowed")


def test_without_keys_the_page_is_open(browser: httpx.Client) -> None:
    assert browser.get("/ui/session").json() == {"needs_key": False, "open": True}


def test_with_keys_only_an_admin_key_opens_the_page_and_the_browser_never_holds_it(tmp_path: Path) -> None:
    with keyed(tmp_path, {"boss": "admin = true", "user": ""}) as (gateway, secrets), httpx.Client() as browser:
        url = f"{gateway.url}/ui"
        assert browser.get(f"{url}/").status_code == 200
        assert browser.get(f"{url}/session").json() == {"needs_key": True, "open": False}
        assert browser.get(f"{url}/gateway/api/conversations").status_code == 401
        assert browser.post(f"{url}/gateway/v1/chat/completions", json=HI).status_code == 401
        assert code(browser.post(f"{url}/session", json={"key": "gw-wrong"})) == "invalid_api_key"
        assert code(browser.post(f"{url}/session", json={"key": secrets["user"]})) == "admin_key_required"
        assert browser.post(f"{url}/session", json={"key": 7}).status_code == 400
        assert browser.post(f"{url}/session", content=b"{").status_code == 400
        assert not browser.cookies

        done = browser.post(f"{url}/session", json={"key": secrets["boss"]})
        assert done.status_code == 204
        cookie = done.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert "Path=/ui/" in cookie
        assert secrets["boss"] not in cookie
        assert browser.get(f"{url}/session").json() == {"needs_key": True, "open": True}
        assert browser.get(f"{url}/gateway/api/conversations").status_code == 200
        assert browser.post(f"{url}/gateway/v1/chat/completions", json=HI).status_code == 200
        assert browser.get(f"{gateway.url}/api/conversations").status_code == 401

        assert browser.delete(f"{url}/session").status_code == 204
        assert browser.get(f"{url}/gateway/api/conversations").status_code == 401


def test_the_page_can_be_switched_off_and_then_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATTWAY_UI__ENABLED", "false")
    with keyed(tmp_path, {"boss": "admin = true"}) as (gateway, _):
        for path in ("/ui/", "/ui/js/main.js"):
            answer = gateway.get(path)
            assert (answer.status_code, code(answer)) == (404, "page_not_served")
            assert "gattway ui --gateway URL" in answer.json()["error"]["message"]


def test_in_a_process_of_its_own_the_page_reaches_the_gateway_over_http(gateway: Gateway) -> None:
    with page_before(gateway.url) as browser:
        assert browser.get("/", follow_redirects=True).text.startswith("<!doctype html>")
        same = {"origin": str(browser.base_url).rstrip("/"), "sec-fetch-site": "same-origin"}
        with browser.stream(
            "POST", "/ui/gateway/v1/chat/completions", json={**HI, "stream": True}, headers=same
        ) as stream:
            assert stream.headers["x-gattway-turn"] == "1"
            assert list(stream.iter_lines())[-2] == "data: [DONE]"
        found = browser.get("/ui/gateway/api/conversations?limit=1").json()
        assert found["data"][0]["turn_count"] == 1
        refused = browser.get("/ui/gateway/api/conversations", headers={"host": "rebound.example"})
        assert code(refused) == "host_not_allowed"


def test_a_browser_that_leaves_the_page_breaks_its_answer_off_in_the_gateway(gateway: Gateway) -> None:
    slow = {**HI, "model": "slow", "stream": True}
    with page_before(gateway.url) as browser:
        with browser.stream("POST", "/ui/gateway/v1/chat/completions", json=slow) as stream:
            next(stream.iter_bytes())
        assert gateway.upstream.cancelled.wait(20)


def test_a_gateway_that_is_away_is_named(gateway: Gateway) -> None:
    with page_before("http://127.0.0.1:9") as browser:
        answer = browser.get("/ui/gateway/v1/models")
        assert (answer.status_code, code(answer)) == (502, "gateway_unreachable")
        assert "http://127.0.0.1:9" in answer.json()["error"]["message"]


def test_where_other_machines_reach_the_page_a_gateway_without_keys_stays_shut(gateway: Gateway) -> None:
    with page_before(gateway.url, only_here=False, only_with_key=True) as browser:
        assert browser.get("/ui/session").json() == {"needs_key": True, "open": False}
        assert browser.get("/ui/gateway/api/conversations").status_code == 401
        refused = browser.post("/ui/session", json={"key": "anything"})
        assert refused.status_code == 403
        assert "--open" in refused.json()["error"]["message"]


def test_ready_made_conversations_are_scripts_of_the_benchmarks_and_their_checks_judge() -> None:
    source = (ROOT / "benchmarks/scripts/miniature.jsonl").read_text(encoding="utf-8")
    whole = {script["id"]: script for script in map(json.loads, source.splitlines())}
    for line in SCRIPTS.read_text(encoding="utf-8").splitlines():
        script = json.loads(line)
        origin = whole[script["id"]]
        assert script["turns"] == [turn["user"] for turn in origin["turns"][:20]]
        assert (script["instruction"], script["checks"]) == (origin["instruction"], origin["checks"])
    first = next(iter(load().values()))
    assert first.adherent("I, Oscar Wilde, say: The capital of Peru is Lima.") is True
    assert first.adherent("The capital of Peru is Lima.") is False


def test_an_answer_is_judged_by_its_script(browser: httpx.Client) -> None:
    name = browser.get("/ui/scripts").json()["data"][0]["id"]
    assert "checks" not in browser.get("/ui/scripts").text
    judged = browser.post("/ui/verdict", json={"script": name, "reply": "Says Oscar Wilde."})
    assert judged.json() == {"adherent": True}
    assert browser.post("/ui/verdict", json={"script": "none", "reply": ""}).status_code == 404
    assert browser.post("/ui/verdict", json={"script": name, "reply": None}).status_code == 400
    assert browser.post("/ui/verdict", content=b"x" * 300_000).status_code == 400


def test_a_session_ends_by_time_by_log_out_and_when_there_are_too_many() -> None:
    now = [0.0]
    sessions = Sessions(clock=lambda: now[0])
    token = sessions.begin("gw-key")
    assert sessions.key(token) == "gw-key"
    assert sessions.key("other") is None
    assert sessions.key(None) is None
    now[0] = LIFETIME_S
    assert sessions.key(token) is None
    kept = [sessions.begin(f"gw-{number}") for number in range(MAX_SESSIONS + 1)]
    assert sessions.key(kept[0]) is None
    assert sessions.key(kept[-1]) == f"gw-{MAX_SESSIONS}"
    sessions.end(kept[-1])
    assert sessions.key(kept[-1]) is None
    assert "gw-1" not in repr(vars(sessions))


def test_gattway_ui_serves_the_page_until_it_is_asked_to_stop(gateway: Gateway) -> None:
    command = [sys.executable, "-m", "gateway", "ui", "--gateway", gateway.url, "--port", "0"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as process:
        assert process.stderr is not None
        greeting = process.stderr.readline()
        try:
            page = httpx.get(greeting.split(" on ")[1].strip(), timeout=20)
            taken = CliRunner().invoke(main, ["ui", "--gateway", gateway.url, "--port", str(page.url.port)])
        finally:
            process.terminate()
            stopped = process.wait(30)
    assert f"gattway shows {gateway.url} on http://127.0.0.1:" in greeting
    assert "<title>gattway</title>" in page.text
    assert (taken.exit_code, stopped) == (2, 0)


def test_gattway_ui_wants_an_address() -> None:
    refused = CliRunner().invoke(main, ["ui", "--gateway", "localhost:8000"])
    assert (refused.exit_code, "http://HOST:PORT" in refused.stderr) == (2, True)
