"""What a key may still do, and the bounds of a single request."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.keys import hash_of
from gateway.access.meters import SLICES, InMemoryMeters, Window
from gateway.build import build
from gateway.errors import ConfigError
from gateway.settings import load
from tests.gateway.conftest import Gateway
from tests.gateway.keyed import Secrets, bearer, keyed
from tests.gateway.test_settings import GOOD

KEYS = {
    "three": "requests_per_minute = 3",
    "words": "tokens_per_minute = 30",
    "poor": 'usd_per_day = 0.00003\nmodels = ["priced"]',
    "one": "max_concurrent_streams = 1",
    "root": "admin = true",
}


def body(model: str = "echo", text: str = "one two three", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("limits")


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[tuple[Gateway, Secrets]]:
    with keyed(folder, KEYS) as both:
        yield both


def test_requests_beyond_the_limit_are_told_when_to_come_again(running: tuple[Gateway, Secrets]) -> None:
    gateway, secrets = running
    for left in (2, 1, 0):
        answer = gateway.post(body(stream=left == 1), **bearer(secrets["three"]))
        assert answer.status_code == 200
        assert answer.headers["x-ratelimit-limit-requests"] == "3"
        assert answer.headers["x-ratelimit-remaining-requests"] == str(left)
        assert answer.headers["x-ratelimit-reset-requests"].endswith("s")
        assert "x-ratelimit-limit-tokens" not in answer.headers
    with pytest.raises(openai.RateLimitError) as refused:
        gateway.client.with_options(api_key=secrets["three"]).chat.completions.create(**body())
    assert (refused.value.code, refused.value.type) == ("rate_limit_exceeded", "requests")
    headers = refused.value.response.headers
    assert 50 <= int(headers["retry-after"]) <= 61
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert headers["x-request-id"].startswith("req_")
    assert "x-ratelimit-limit-requests" not in gateway.post(body(), **bearer(secrets["root"])).headers


def test_tokens_are_charged_by_what_was_used_broken_off_answers_too(running: tuple[Gateway, Secrets]) -> None:
    gateway, secrets = running
    with httpx.stream(
        "POST", f"{gateway.url}/v1/chat/completions", json=body("slow", stream=True), headers=bearer(secrets["words"])
    ) as answer:
        reads = answer.iter_raw()  # held, for letting go of it closes the connection
        next(reads)
        assert answer.headers["x-ratelimit-remaining-tokens"] == "30"
    assert gateway.upstream.cancelled.wait(5)
    for _ in range(50):  # the row of a broken-off answer is written beside its request
        left = int(gateway.post(body("status-500"), **bearer(secrets["words"])).headers["x-ratelimit-remaining-tokens"])
        if left < 30:
            break
    assert 15 < left < 30  # the prompt and the one word that came; what an upstream refuses costs nothing
    while left:
        answer = gateway.post(body(), **bearer(secrets["words"]))
        used = answer.json()["usage"]["total_tokens"]
        assert int(answer.headers["x-ratelimit-remaining-tokens"]) == max(0, left - used)
        left = max(0, left - used)
    refused = gateway.post(body(), **bearer(secrets["words"]))
    error = refused.json()["error"]
    assert (refused.status_code, error["type"], error["code"]) == (429, "tokens", "rate_limit_exceeded")
    assert "30 tokens per minute" in error["message"]


def test_the_days_money_is_insufficient_quota_and_survives_a_restart(
    running: tuple[Gateway, Secrets], folder: Path
) -> None:
    gateway, secrets = running
    assert gateway.post(body("priced"), **bearer(secrets["poor"])).status_code == 200
    assert gateway.post(body("priced"), **bearer(secrets["poor"])).status_code == 200
    refused = gateway.post(body("priced"), **bearer(secrets["poor"]))
    error = refused.json()["error"]
    assert (refused.status_code, error["type"], error["code"]) == (429, "insufficient_quota", "insufficient_quota")
    assert refused.headers["x-should-retry"] == "false"
    assert int(refused.headers["retry-after"]) > 80_000
    with keyed(folder, {"poor": KEYS["poor"]}) as (restarted, fresh):
        assert restarted.post(body("priced"), **bearer(fresh["poor"])).status_code == 429


def test_streams_at_the_same_time_are_counted_until_they_end(running: tuple[Gateway, Secrets]) -> None:
    gateway, secrets = running
    headers = bearer(secrets["one"])
    with httpx.stream(
        "POST", f"{gateway.url}/v1/chat/completions", json=body("slow", stream=True), headers=headers
    ) as answer:
        reads = answer.iter_raw()
        next(reads)
        refused = gateway.post(body(stream=True), **headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        assert refused.headers["retry-after"] == "1"
        assert gateway.post(body(), **headers).status_code == 200  # no stream
        assert gateway.post(body(stream=True), **bearer(secrets["root"])).status_code == 200
    for _ in range(100):
        if gateway.post(body(stream=True), **headers).status_code == 200:
            break
    for model in ("status-500", "cut", "echo"):
        gateway.post(body(model, stream=True), **headers)
    assert gateway.post(body(stream=True), **headers).status_code == 200


def test_a_key_with_money_needs_models_with_prices(tmp_path: Path) -> None:
    path = tmp_path / "gattway.toml"
    path.write_text(f'{GOOD}\n[keys.k]\nhash = "{hash_of("x")}"\nusd_per_day = 1\n')
    with pytest.raises(ConfigError, match=r"keys\.k\.usd_per_day: the price of the model 'm' is unknown"):
        build(load(path))


@given(st.lists(st.tuples(st.floats(0, 20), st.floats(0.1, 8)), max_size=60))
def test_no_window_ever_holds_more_than_its_limit(steps: list[tuple[float, float]]) -> None:
    """Whatever comes when: what was let through in any stretch of the window's length is within the limit, and what
    is refused would go through after the wait that is told."""
    now = 0.0
    meters, window = InMemoryMeters(lambda: now), Window(10, 30)
    granted: deque[tuple[float, float]] = deque()

    async def scenario() -> None:
        nonlocal now
        for pause, amount in steps:
            now += pause
            if await meters.take("m", window, amount):
                granted.append((now, amount))
                assert sum(some for at, some in granted if at > now - window.period_s) <= window.limit + 1e-9
            else:
                standing = await meters.standing("m", window, amount)
                assert 0 < standing.wait_s <= window.period_s * (1 + 1 / SLICES) + 1e-9
                now += standing.wait_s + 1e-6
                assert (await meters.standing("m", window, amount)).wait_s == 0

    asyncio.run(scenario())


def test_a_request_beyond_the_bounds_is_refused_by_name(tmp_path: Path) -> None:
    bounds = "[bounds]\nmax_messages = 3\nmax_nesting = 10\nmax_id_chars = 20\nmax_header_bytes = 2048\n"
    with keyed(tmp_path, {}, bounds) as (gateway, _):
        many = gateway.post({"model": "echo", "messages": [{"role": "user", "content": "x"}] * 4})
        assert (many.status_code, many.json()["error"]["param"]) == (400, "messages")
        assert "bounds.max_messages" in many.json()["error"]["message"]
        for depth, status in ((9, 200), (10, 400)):
            nested: Any = 1
            for _ in range(depth):
                nested = [nested]
            assert gateway.post(body(x=nested)).status_code == status
        assert gateway.post(body(), x_session_id="x" * 20).status_code == 200
        long = gateway.post(body(), x_session_id="x" * 21)
        assert (long.status_code, long.json()["error"]["param"]) == (400, "x-session-id")
        big = gateway.post(body(), x_padding="x" * 2048)
        assert (big.status_code, big.json()["error"]["code"]) == (431, "request_headers_too_large")
        assert big.headers["x-request-id"].startswith("req_")
