"""Retries, fallbacks and rest, at the wire and by a clock of our own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.answering.attempts import retry_after_s
from gateway.answering.breaker import Breaker
from gateway.app import create_app
from gateway.build import build
from gateway.settings import BreakerSettings, load
from tests.gateway.servers import FakeUpstream, serving

CONFIG = """
[ledger]
path = "{ledger}"
[retries]
attempts = 3
first_wait_s = 0.01
max_wait_s = 0.5
[breaker]
failures = 4
rest_s = 2
[upstreams.fake]
kind = "openai"
base_url = "{upstream}/v1"
[models.echo]
upstream = "fake"
[models.flaky-2]
upstream = "fake"
[models.flaky-5]
upstream = "fake"
[models.flaky-9]
upstream = "fake"
[models.status-429]
upstream = "fake"
[models.status-400]
upstream = "fake"
[models.cut]
upstream = "fake"
[experiments.safe.arms.a]
strategy = "every-turn"
model = "flaky-9"
fallbacks = ["status-429", "echo"]
[experiments.refused.arms.a]
strategy = "once"
model = "status-400"
fallbacks = ["echo"]
"""


@pytest.fixture
def upstream() -> FakeUpstream:
    return FakeUpstream()


@pytest.fixture
def url(tmp_path: Path, upstream: FakeUpstream) -> Iterator[str]:
    with serving(upstream.app) as behind:
        path = tmp_path / "gattway.toml"
        path.write_text(CONFIG.format(ledger=tmp_path / "ledger.db", upstream=behind))
        settings = load(path)
        with serving(create_app(settings, build(settings))) as front:
            yield front


def ask(url: str, model: str, stream: bool = False, **headers: str) -> httpx.Response:
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "system", "content": "Shout."}, {"role": "user", "content": "one two three"}],
        "stream": stream,
    }
    named = {"x-gattway-conversation-id": "c", **headers}
    return httpx.post(f"{url}/v1/chat/completions", json=body, headers=named, timeout=20)


def row(url: str) -> dict[str, Any]:
    rows: list[dict[str, Any]] = httpx.get(f"{url}/api/conversations/c").json()["turns"]
    return rows[-1]


@pytest.mark.parametrize("stream", [False, True])
def test_a_failure_before_the_first_byte_is_tried_again(url: str, upstream: FakeUpstream, stream: bool) -> None:
    assert ask(url, "flaky-2", stream).status_code == 200
    assert len(upstream.bodies) == 3
    assert (row(url)["status"], row(url)["attempts"]) == ("ok", 3)


def test_a_client_that_retries_by_itself_is_not_retried_for(url: str, upstream: FakeUpstream) -> None:
    refused = ask(url, "flaky-2", **{"x-stainless-retry-count": "0"})
    assert refused.status_code == 503
    assert len(upstream.bodies) == 1


def test_a_wait_that_the_upstream_asks_for_beyond_the_limit_is_left_to_the_client(
    url: str, upstream: FakeUpstream
) -> None:
    refused = ask(url, "status-429")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "7")
    assert len(upstream.bodies) == 1


def test_after_the_first_byte_there_is_no_second_try(url: str, upstream: FakeUpstream) -> None:
    assert "error" in ask(url, "cut", stream=True).text
    assert len(upstream.bodies) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_fallback_answers_with_the_arms_placement_and_the_row_says_so(
    url: str, upstream: FakeUpstream, stream: bool
) -> None:
    answer = ask(url, "safe", stream)
    assert answer.status_code == 200
    assert answer.headers["x-gattway-arm"] == "a"
    assert upstream.bodies[-1]["model"] == "echo"
    assert upstream.bodies[-1]["messages"] == [{"role": "user", "content": "one two three\n\nShout."}]
    written = row(url)
    assert (written["status"], written["model"], written["fallback_for"]) == ("ok", "echo", "flaky-9")
    assert written["attempts"] == 5  # three times the model, once the first fallback, once the second


def test_a_request_that_the_model_refuses_is_not_sent_to_another(url: str, upstream: FakeUpstream) -> None:
    assert ask(url, "refused").status_code == 400
    assert [body["model"] for body in upstream.bodies] == ["status-400"]
    assert row(url)["fallback_for"] is None


def test_a_model_that_keeps_failing_rests_and_is_probed(url: str, upstream: FakeUpstream) -> None:
    for _ in range(2):
        assert ask(url, "flaky-5").status_code == 503
    asked = len(upstream.bodies)
    assert asked == 4  # the fourth failure sent it to rest
    resting = ask(url, "flaky-5")
    assert (resting.status_code, resting.json()["error"]["code"]) == (503, "model_resting")
    assert int(resting.headers["retry-after"]) >= 1
    assert len(upstream.bodies) == asked
    deadline = time.monotonic() + 30
    while ask(url, "flaky-5").status_code != 200:  # each probe that fails is a rest more
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert ask(url, "flaky-5").status_code == 200


def test_while_one_request_probes_the_others_wait_and_a_probe_that_nobody_awaits_frees_the_place() -> None:
    now = 0.0
    breaker = Breaker(BreakerSettings(failures=2, rest_s=10), clock=lambda: now)
    breaker.failed("m")
    assert breaker.rests_for("m") == 0
    breaker.failed("m")
    assert breaker.rests_for("m") == 10
    now = 11.0
    assert breaker.rests_for("m") == 0
    assert breaker.rests_for("m") > 0
    breaker.given_up("m")
    assert breaker.rests_for("m") == 0
    breaker.failed("m")
    assert breaker.rests_for("m") == 10
    now = 22.0
    assert breaker.rests_for("m") == 0
    breaker.succeeded("m")
    assert breaker.rests_for("m") == breaker.rests_for("m") == 0


def test_milliseconds_beat_seconds_and_dates_are_no_number() -> None:
    assert retry_after_s({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    assert retry_after_s({"retry-after": "9"}) == 9
    assert retry_after_s({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}) is None
    assert retry_after_s({}) is None
