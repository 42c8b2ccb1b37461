"""litellm as an upstream: its translation, its errors, in OpenAI's bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from gateway.app import create_app
from gateway.build import build
from gateway.settings import load
from tests.gateway.conftest import KEY, Gateway
from tests.gateway.servers import FakeUpstream, serving

pytestmark = [
    pytest.mark.slow,
    # litellm leaves its HTTP clients to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:litellm.*"),
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning"),
]

CONFIG = """
[ledger]
path = "{ledger}"
[upstreams.provider]
kind = "litellm"
base_url = "{upstream}/v1"
api_key_env = "PROVIDER_KEY"
[models.priced]
upstream = "provider"
name = "openai/echo"
price = {{ input = 1, output = 2 }}
[models.refusing]
upstream = "provider"
name = "openai/status-401"
[models.overflowing]
upstream = "provider"
name = "openai/overflow"
[experiments.ab.arms.repeat]
strategy = "every-turn"
model = "priced"
"""


@pytest.fixture
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    monkeypatch.setenv("PROVIDER_KEY", KEY)
    fake = FakeUpstream()
    with serving(fake.app) as upstream:
        path = tmp_path / "gattway.toml"
        path.write_text(CONFIG.format(ledger=tmp_path / "l.db", upstream=upstream))
        settings = load(path)
        with (
            serving(create_app(settings, build(settings))) as url,
            openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0, timeout=30) as client,
        ):
            yield Gateway(url, fake, client)


def test_a_provider_answers_streamed_and_whole_with_the_strategy_and_the_books(provider: Gateway) -> None:
    messages = [{"role": "system", "content": "Speak French."}, {"role": "user", "content": "Hi"}]
    headers = {"x-gattway-conversation-id": "c"}
    whole = provider.client.chat.completions.create(model="ab", messages=messages, extra_headers=headers)
    assert whole.choices[0].message.content == "You said: Hi\n\nSpeak French."
    assert provider.upstream.bodies[-1]["messages"] == [{"role": "user", "content": "Hi\n\nSpeak French."}]
    assert provider.upstream.headers[-1]["authorization"] == f"Bearer {KEY}"

    chunks = list(
        provider.client.chat.completions.create(model="ab", messages=messages, stream=True, extra_headers=headers)
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "You said: Hi\n\nSpeak French."
    assert chunks[-1].choices[0].finish_reason == "stop"

    rows = provider.rows("c")
    assert [row["status"] for row in rows] == ["ok", "ok"]
    assert [row["usage_source"] for row in rows] == ["upstream", "upstream"]
    assert rows[0]["cost_usd"] > 0


def test_a_providers_refusals_keep_their_status_and_never_show_the_key(provider: Gateway) -> None:
    refused = provider.post({"model": "refusing", "messages": [{"role": "user", "content": "x"}]})
    assert refused.status_code == 401
    assert "Refused with 401." in refused.json()["error"]["message"]
    assert KEY not in refused.text
    overflowing = provider.post({"model": "overflowing", "messages": [{"role": "user", "content": "x"}]})
    assert overflowing.status_code == 400
    assert overflowing.json()["error"]["code"] == "context_length_exceeded"


def test_a_provider_that_cannot_be_reached_is_a_502(provider: Gateway, tmp_path: Path) -> None:
    path = tmp_path / "away.toml"
    path.write_text(CONFIG.format(ledger=tmp_path / "away.db", upstream="http://127.0.0.1:9"))
    settings = load(path)
    with serving(create_app(settings, build(settings))) as url:
        away = Gateway(url, provider.upstream, provider.client)
        answer = away.post({"model": "priced", "messages": [{"role": "user", "content": "x"}]})
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "upstream_unavailable"
