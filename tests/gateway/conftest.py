"""A gateway before a fake upstream, both on sockets of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from gateway.app import create_app
from gateway.build import build
from gateway.settings import load
from tests.gateway.postgres import Postgres, running_postgres
from tests.gateway.scripted import Script, Scripted, scripted
from tests.gateway.servers import FakeUpstream, serving

CONFIG = """
[ledger]
path = "{ledger}"

[retries]
attempts = 1
[timeouts]
first_token_s = 20
between_tokens_s = 20

[upstreams.fake]
kind = "openai"
base_url = "{upstream}/v1"
api_key_env = "FAKE_UPSTREAM_KEY"

{models}

[models.gpt-4o]
upstream = "fake"
name = "echo"

[models.priced]
upstream = "fake"
name = "echo"
context_window = 1000
price = {{ input = 1.0, cached = 0.1, output = 4.0 }}

[experiments.ab.arms.once]
strategy = "once"
model = "priced"

[experiments.ab.arms.repeat]
strategy = "every-turn"
model = "priced"
"""
BEHAVIOURS = [
    *("echo", "echo-without-usage", "echo-without-done", "cut", "error-in-stream", "garbage"),
    *("slow", "silent", "overflow", "html", "status-429", "status-500", "status-401", "status-503-for-good"),
]
KEY = "sk-secret-of-the-upstream"


@dataclass
class Gateway:
    """A running gateway with everything that a test wants to look at.

    Requests do not `verify`: loading certificates that are not used takes longer than the request.
    """

    url: str
    upstream: FakeUpstream
    client: openai.OpenAI

    def post(self, body: Any, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(body, bytes | str):
            return httpx.post(f"{self.url}/v1/chat/completions", content=body, headers=named, timeout=20, verify=False)
        return httpx.post(f"{self.url}/v1/chat/completions", json=body, headers=named, timeout=20, verify=False)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=20, verify=False)

    def rows(self, conversation_id: str) -> list[dict[str, Any]]:
        answer = self.get(f"/api/conversations/{conversation_id}")
        return answer.json()["turns"] if answer.status_code == 200 else []


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Where the gateway's config is; `{upstream}` is filled in by `gateway`."""
    return tmp_path / "gattway.toml"


@pytest.fixture
def gateway(tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """A gateway whose models are the fake upstream's behaviours, with the experiment `ab`."""
    monkeypatch.setenv("FAKE_UPSTREAM_KEY", KEY)
    fake = FakeUpstream()
    models = "\n".join(f'[models.{name}]\nupstream = "fake"' for name in BEHAVIOURS)
    with serving(fake.app) as upstream:
        config.write_text(CONFIG.format(ledger=tmp_path / "ledger.db", upstream=upstream, models=models))
        settings = load(config)
        with (
            serving(create_app(settings, build(settings))) as url,
            openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0, timeout=20) as client,
        ):
            yield Gateway(url, fake, client)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    """A gateway before a scripted upstream, one for all tests of a module."""
    with scripted(tmp_path_factory.mktemp("scripted")) as gateway:
        yield gateway


@pytest.fixture
def model(running: Scripted) -> Scripted:
    """The gateway before a scripted upstream, with a fresh script."""
    running.upstream.script = Script()
    return running


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One PostgreSQL for the whole run; every test takes a database of its own from it."""
    with running_postgres() as server:
        yield server
