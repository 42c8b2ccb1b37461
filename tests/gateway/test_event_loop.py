"""A very long request does not hold up the others: no step of the event loop takes long."""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.accounting.tokens import TiktokenCounter
from gateway.app import create_app
from gateway.build import build
from gateway.settings import load
from tests.gateway.scripted import CONFIG, ScriptedUpstream
from tests.gateway.servers import serving

TOKENS = 100_000
LONGEST_STEP_S = 0.005


class Watched:
    """An ASGI app, and the processor time of its loop's thread in each round of the loop while `on` is set.

    Processor time, and not the time on the clock: other processes on the machine are not what is measured.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._probe: asyncio.Task[None] | None = None
        self.on = threading.Event()
        self.steps_s: list[float] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._probe is None and scope["type"] == "http":
            self._probe = asyncio.ensure_future(self._watch())
        await self._app(scope, receive, send)

    async def _watch(self) -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0 if self.on.is_set() else 0.001)
            if self.on.is_set():
                self.steps_s.append(time.thread_time() - before)


KNOWN = ["the", "a", "of", "model", "answer", "instruction", "token", "turn", "window", "cost", "history", "to", "is"]


def words(count: int, seed: int) -> str:
    pick = random.Random(seed)
    return " ".join(pick.choice(KNOWN) if pick.random() < 0.8 else f"w{pick.randrange(10**5)}" for _ in range(count))


def one_message(seed: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": words(76_000, seed)}]


def four_hundred(seed: int) -> list[dict[str, str]]:
    roles = itertools.cycle(["user", "assistant"])
    return [{"role": next(roles), "content": words(195, seed + index)} for index in range(401)]


@pytest.mark.parametrize("messages", [one_message, four_hundred])
def test_a_body_of_100_000_tokens_keeps_no_other_request_waiting(messages: Any, tmp_path: Path) -> None:
    assert TiktokenCounter("m").prompt(messages(1)).tokens > TOKENS
    upstream = ScriptedUpstream()
    with serving(upstream.app) as upstream_url:
        config = tmp_path / "gattway.toml"
        config.write_text(CONFIG.format(ledger=tmp_path / "ledger.db", upstream=upstream_url))
        settings = load(config)
        watched = Watched(create_app(settings, build(settings)))
        with serving(watched) as url:
            head = {"role": "system", "content": "Speak French."}
            small = {"model": "ab:repeat", "messages": [head, {"role": "user", "content": "hello"}]}
            httpx.post(f"{url}/v1/chat/completions", json=small, timeout=60).raise_for_status()
            longest = []
            for seed in (1_000, 2_000, 3_000):
                body = {"model": "ab:repeat", "messages": [head, *messages(seed)]}
                watched.steps_s.clear()
                watched.on.set()
                answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60)
                watched.on.clear()
                assert answer.status_code == 200
                longest.append(max(watched.steps_s))
    assert min(longest) < LONGEST_STEP_S, f"longest steps: {longest} s"
