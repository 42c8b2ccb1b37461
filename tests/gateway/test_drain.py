"""A client that leaves: its upstream is let go within 100 ms, or, with `streaming.drain`, read to its end."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from gateway.app import create_app
from gateway.build import build
from gateway.settings import load
from tests.gateway.servers import serving

CONFIG = """
[ledger]
path = "{ledger}"
[retries]
attempts = 1
[upstreams.fake]
kind = "openai"
base_url = "{upstream}/v1"
[models.m]
upstream = "fake"
price = {{ input = 1.0, output = 4.0 }}
"""
USAGE = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}


class Upstream:
    """Streams or sends a completion, but waits for `go_on` before its first byte or behind it, as its `model` says."""

    def __init__(self) -> None:
        self.asked, self.go_on, self.left = threading.Event(), threading.Event(), threading.Event()
        self.left_at = 0.0
        self.app = Starlette(
            routes=[Route(path, self._answer, methods=["POST"]) for path in ("/v1/chat/completions", "/v1/completions")]
        )

    async def _answer(self, request: Request) -> StreamingResponse:
        body = orjson.loads(await request.body())
        kind = "text/event-stream" if body.get("stream") else "application/json"
        return StreamingResponse(self._written(body, request.url.path.endswith("chat/completions")), media_type=kind)

    async def _written(self, body: dict[str, Any], chat: bool) -> AsyncIterator[bytes]:
        told: dict[str, Any] = {"id": "c", "object": "x", "created": 1, "model": "m"}
        if body["metadata"]["wait"] == "before":
            await self._wait()
        if not body.get("stream"):
            message = {"role": "assistant", "content": "one two three"}
            choice = {"index": 0, "message": message, "text": "one two three", "finish_reason": "stop"}
            yield orjson.dumps({**told, "choices": [choice], "usage": USAGE})
            return
        for index, word in enumerate(("one", " two", " three")):
            said = {"delta": {"role": "assistant", "content": word}} if chat else {"text": word}
            yield _event({**told, "choices": [{"index": 0, **said, "finish_reason": None}]})
            if index == 0 and body["metadata"]["wait"] == "behind":
                await self._wait()
        yield _event({**told, "choices": [{"index": 0, "delta": {}, "text": "", "finish_reason": "stop"}]})
        yield _event({**told, "choices": [], "usage": USAGE}) + b"data: [DONE]\n\n"

    async def _wait(self) -> None:
        self.asked.set()
        try:
            while not self.go_on.is_set():  # noqa: ASYNC110 - set from the test's thread
                await asyncio.sleep(0.005)
        except asyncio.CancelledError:
            self.left_at = time.perf_counter()
            self.left.set()
            raise


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"


@contextmanager
def gateway(folder: Path, more: str) -> Iterator[tuple[str, Upstream]]:
    upstream = Upstream()
    with serving(upstream.app) as upstream_url:
        config = folder / "gattway.toml"
        config.write_text(CONFIG.format(ledger=folder / "ledger.db", upstream=upstream_url) + more)
        settings = load(config)
        with serving(create_app(settings, build(settings))) as url:
            yield url, upstream


@pytest.fixture(scope="module")
def draining(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Upstream]]:
    with gateway(tmp_path_factory.mktemp("drain"), "[streaming]\ndrain = true\n") as both:
        yield both


@pytest.fixture(scope="module")
def letting_go(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Upstream]]:
    with gateway(tmp_path_factory.mktemp("let-go"), "") as both:
        yield both


def ask_and_leave(url: str, upstream: Upstream, name: str, wait: str, route: str, *, stream: bool) -> float:
    """Ask, wait until the upstream waits, leave; when that was (perf_counter s)."""
    upstream.asked.clear()
    upstream.go_on.clear()
    upstream.left.clear()
    body = {"model": "m", "stream": stream, "metadata": {"wait": wait, "conversation_id": name}}
    words = {"messages": [{"role": "user", "content": "x"}]} if route == "chat/completions" else {"prompt": "x"}
    host = httpx.URL(url)

    async def leave() -> float:
        reader, writer = await asyncio.open_connection(host.host, host.port)
        raw = orjson.dumps({**body, **words})
        head = f"POST /v1/{route} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(raw)}\r\n\r\n"
        writer.write(head.encode() + raw)
        await asyncio.to_thread(upstream.asked.wait, 10)
        if wait == "behind":
            await reader.readuntil(b"one")
        writer.close()
        return time.perf_counter()

    return asyncio.run(leave())


def row_of(url: str, name: str) -> dict[str, Any]:
    deadline = time.monotonic() + 10
    while (answer := httpx.get(f"{url}/api/conversations/{name}")).status_code != 200:
        assert time.monotonic() < deadline, "the row was not written"
        time.sleep(0.02)
    (row,) = answer.json()["turns"]
    return dict(row)


CASES = [
    ("chat/completions", "before", True),
    ("chat/completions", "behind", True),
    ("chat/completions", "before", False),
    ("completions", "before", True),
    ("completions", "behind", True),
]


@pytest.mark.parametrize(("route", "wait", "stream"), CASES)
def test_an_answer_is_read_to_its_end_when_its_client_has_left(
    draining: tuple[str, Upstream], route: str, wait: str, stream: bool
) -> None:
    url, upstream = draining
    name = f"{route.replace('/', '-')}-{wait}-{stream}"
    ask_and_leave(url, upstream, name, wait, route, stream=stream)
    assert not upstream.left.wait(0.2)
    assert httpx.get(f"{url}/api/conversations/{name}").status_code == 404  # nothing is booked before the end
    upstream.go_on.set()
    row = row_of(url, name)
    assert (row["status"], row["usage_source"]) == ("aborted", "upstream")
    assert (row["prompt_tokens"], row["completion_tokens"]) == (100, 50)
    assert row["cost_usd"] == pytest.approx(100 * 1e-6 + 50 * 4e-6)
    assert not upstream.left.is_set()


@pytest.mark.parametrize(("route", "wait", "stream"), CASES)
def test_by_default_the_upstream_is_let_go_within_100_ms(
    letting_go: tuple[str, Upstream], route: str, wait: str, stream: bool
) -> None:
    url, upstream = letting_go
    took_s = []
    for attempt in range(5):  # the machine may be busy: the best of some tries counts
        name = f"{route.replace('/', '-')}-{wait}-{stream}-{attempt}"
        left_at = ask_and_leave(url, upstream, name, wait, route, stream=stream)
        assert upstream.left.wait(10)
        took_s.append(upstream.left_at - left_at)
        row = row_of(url, name)
        assert (row["status"], row["usage_source"]) == ("aborted", "partial")
        if took_s[-1] < 0.1:
            break
    assert min(took_s) < 0.1


def test_what_the_client_has_seen_is_what_it_can_go_on_from(draining: tuple[str, Upstream]) -> None:
    url, upstream = draining
    ask_and_leave(url, upstream, "went-on", "behind", "chat/completions", stream=True)
    upstream.go_on.set()
    row = row_of(url, "went-on")
    history = [{"role": "user", "content": content} for content in ("x", "y")]
    history.insert(1, {"role": "assistant", "content": "one"})
    body = {"model": "m", "messages": history, "metadata": {"wait": "no"}}
    later = httpx.post(f"{url}/v1/chat/completions", json=body)
    assert later.headers["x-gattway-conversation-id"] == "went-on"
    rows = httpx.get(f"{url}/api/conversations/went-on").json()["turns"]
    assert rows[-1]["parent_request_id"] == row["request_id"]


def test_reading_on_has_a_limit_and_stopping_waits_for_none(tmp_path: Path) -> None:
    with gateway(tmp_path, "[streaming]\ndrain = true\ndrain_s = 0.3\n") as (url, upstream):
        ask_and_leave(url, upstream, "limited", "behind", "chat/completions", stream=True)
        row = row_of(url, "limited")
        assert (row["status"], row["usage_source"], row["completion_tokens"]) == ("aborted", "partial", 1)
        assert upstream.left.wait(5)
    (tmp_path / "second").mkdir()
    begun = time.monotonic()
    with gateway(tmp_path / "second", "[streaming]\ndrain = true\ndrain_s = 60\n") as (url, upstream):
        ask_and_leave(url, upstream, "stopped", "behind", "chat/completions", stream=True)
    assert time.monotonic() - begun < 30
    assert upstream.left.is_set()
