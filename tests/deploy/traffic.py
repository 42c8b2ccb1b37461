"""A gateway under traffic of every kind: streams, errors, aborts, overflows, fallbacks, verdicts …"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from gateway.app import create_app
from gateway.build import build
from gateway.settings import load
from tests.gateway.servers import FakeUpstream, serving

CONFIG = """
[ledger]
path = "{ledger}"
[retries]
attempts = 2
first_wait_s = 0.001
[breaker]
failures = 1000
[upstreams.fake]
kind = "openai"
base_url = "{upstream}/v1"
{models}
[models.priced]
upstream = "fake"
name = "echo"
context_window = 60
price = {{ input = 100.0, cached = 10.0, output = 400.0 }}

[[experiments.ab.checks]]
kind = "contains"
text = "Hi"
[experiments.ab.arms.once]
strategy = "once"
model = "priced"
[experiments.ab.arms.repeat]
strategy = "every-turn"
model = "priced"
[experiments.fallen.arms.only]
strategy = "once"
model = "status-500"
fallbacks = ["priced"]
"""
MODELS = ("echo", "echo-without-usage", "cut", "slow", "overflow", "status-429", "status-500")
INSTRUCTION = {"role": "system", "content": "Be brief."}
TITLE = "### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing the chat history."


class Traffic:
    """Sends rounds of requests; each round counts in every series that the dashboards show."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._round = 0

    def once_round(self) -> None:
        """One request of each kind, and conversations that the experiment deals."""
        self._round += 1
        for number in range(6):
            self._converse(f"{self._round}-{number}")
        for model in ("echo-without-usage", "cut", "overflow", "status-429", "fallen", "nobody"):
            self._ask(model, [_user("Hi")], stream=model == "cut")
        self._ask("priced", [_user(TITLE)])
        for arm in ("once", "repeat"):
            self._ask(f"ab:{arm}", [INSTRUCTION, _user("Hi")], f"changes-{self._round}")
        self._leave()

    def _converse(self, name: str) -> None:
        messages = [INSTRUCTION, _user("Hi")]
        for text in ("And now?", "Well?", "Hi again"):
            answer = self._ask("ab", messages, name, stream=True)
            assert answer.status_code == 200
            messages += [{"role": "assistant", "content": "You said: it"}, _user(text)]

    def _ask(self, model: str, messages: list[dict[str, str]], name: str = "", **fields: Any) -> httpx.Response:
        headers = {"x-session-id": name} if name else {}
        body = {"model": model, "messages": messages, **fields}
        return self._client.post("/v1/chat/completions", json=body, headers=headers)

    def _leave(self) -> None:
        """A client that goes away in mid-stream."""
        body = {"model": "slow", "messages": [_user("one two")], "stream": True}
        with self._client.stream("POST", "/v1/chat/completions", json=body) as answer:
            next(answer.iter_raw())


@contextmanager
def under_traffic(folder: Path) -> Iterator[tuple[str, Traffic]]:
    """A gateway before a fake upstream: its base URL, and its traffic."""
    with serving(FakeUpstream().app) as upstream:
        models = "\n".join(f'[models.{name}]\nupstream = "fake"' for name in MODELS)
        config = folder / "gattway.toml"
        config.write_text(CONFIG.format(ledger=folder / "ledger.db", upstream=upstream, models=models))
        settings = load(config)
        with serving(create_app(settings, build(settings))) as url, httpx.Client(base_url=url, timeout=20) as client:
            yield url, Traffic(client)


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}
