"""A gateway with an experiment of the tests' own choosing, before a fake upstream."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

from gateway.app import create_app
from gateway.build import build
from gateway.settings import load
from tests.gateway.servers import FakeUpstream, serving

T = TypeVar("T")

CONFIG = """
[ledger]
path = "{ledger}"
[retries]
attempts = 1
[upstreams.fake]
kind = "openai"
base_url = "{upstream}/v1"
[models.echo]
upstream = "fake"
price = {{ input = 1.0, output = 4.0 }}
[models.other]
upstream = "fake"
name = "echo"
price = {{ input = 2.0, output = 8.0 }}
[models.down]
upstream = "fake"
name = "status-500"
[models.judge]
upstream = "fake"
[models.rubbish-judge]
upstream = "fake"
name = "echo"
{experiments}
"""


@dataclass
class Running:
    """A gateway that runs."""

    url: str
    upstream: FakeUpstream

    def ask(self, messages: list[dict[str, Any]] | str, model: str = "e", **headers: str) -> httpx.Response:
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        body = {"model": model, "messages": messages}
        return httpx.post(f"{self.url}/v1/chat/completions", json=body, headers=named, timeout=20)

    def get(self, path: str) -> Any:
        return httpx.get(f"{self.url}{path}", timeout=20).json()

    def rows(self, conversation_id: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.get(f"/api/conversations/{conversation_id}")["turns"]
        return rows

    def metric(self, line: str) -> float:
        text = httpx.get(f"{self.url}/metrics", timeout=20).text
        found = [one.rsplit(" ", 1)[1] for one in text.splitlines() if one.startswith(line)]
        return sum(map(float, found))


def until(condition: Callable[[], T], within_s: float = 10.0) -> T:
    """What `condition` gives as soon as it is truthy; what happens beside a request has no other end to wait for."""
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return found


@contextmanager
def running(tmp_path: Path, experiments: str, upstream: FakeUpstream | None = None) -> Iterator[Running]:
    """Serve with the given `[experiments…]` tables."""
    fake = upstream or FakeUpstream()
    path = tmp_path / "gattway.toml"
    with serving(fake.app) as address:
        path.write_text(
            CONFIG.format(ledger=tmp_path / "ledger.db", upstream=address, experiments=experiments), encoding="utf-8"
        )
        settings = load(path)
        with serving(create_app(settings, build(settings))) as url:
            yield Running(url, fake)
