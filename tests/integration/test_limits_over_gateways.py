"""Three gateways of their own processes before one PostgreSQL: a key's limits hold over all of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from gateway.access.keys import hash_of
from gateway.ledger.migrate import upgrade_shared
from gateway.ledger.shared import open_shared
from tests.gateway.keyed import bearer
from tests.gateway.postgres import Postgres, running_postgres
from tests.gateway.servers import FakeUpstream, serving

pytestmark = pytest.mark.slow

CONFIG = """
[ledger]
path = "ledger.db"
[upstreams.fake]
kind = "openai"
base_url = "{upstream}/v1"
[models.echo]
upstream = "fake"
price = {{ input = 1000.0, output = 1000.0 }}
[keys.requests]
hash = "{requests}"
requests_per_minute = 60
[keys.tokens]
hash = "{tokens}"
tokens_per_minute = 600
[keys.money]
hash = "{money}"
usd_per_day = 0.6
[keys.outage]
hash = "{outage}"
requests_per_minute = 30
[keys.root]
hash = "{root}"
admin = true
"""
NAMES = ("requests", "tokens", "money", "outage", "root")


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    """A PostgreSQL of this module's own, for it is stopped."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory, database: Postgres) -> Iterator[list[str]]:
    url = database.database()
    engine = open_shared(url)
    upgrade_shared(engine)
    engine.dispose()
    with ExitStack() as stack:
        upstream = stack.enter_context(serving(FakeUpstream().app))
        processes = []
        for index in range(3):
            folder = tmp_path_factory.mktemp(f"gateway{index}")
            (folder / "gattway.toml").write_text(
                CONFIG.format(upstream=upstream, **{name: hash_of(name) for name in NAMES})
            )
            process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "serve", "--port", "0"],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "GATTWAY_LEDGER__URL": url},
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            processes.append(process)
        yield [_url(process) for process in processes]


def _url(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    line = process.stderr.readline()
    found = re.search(r"serves on (http://[^/]+)/v1", line)
    assert found, line
    deadline = time.monotonic() + 60
    while True:
        try:
            if httpx.get(f"{found[1]}/health/ready").status_code == 200:
                return found[1]
        except httpx.ConnectError:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ask(url: str, key: str) -> httpx.Response:
    body = {"model": "echo", "messages": [{"role": "user", "content": "one two three"}]}
    return httpx.post(f"{url}/v1/chat/completions", json=body, headers=bearer(key), timeout=30)


def pressed(gateways: list[str], key: str, tries: int) -> list[httpx.Response]:
    """Answers to `tries` requests at each gateway, two at the same time at each."""
    with ThreadPoolExecutor(6) as threads:
        return list(threads.map(lambda url: ask(url, key), gateways * tries))


def test_requests_a_minute_hold_over_all_within_a_twentieth(gateways: list[str]) -> None:
    answers = pressed(gateways, "requests", 40)
    got = sum(answer.status_code == 200 for answer in answers)
    assert 57 <= got <= 60
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) == 120 - got
    for answer in (ask(url, "requests") for url in gateways):
        assert (answer.status_code, answer.json()["error"]["type"]) == (429, "requests")
        assert answer.headers["x-ratelimit-limit-requests"] == "60"
        assert int(answer.headers["x-ratelimit-remaining-requests"]) <= 3
        assert 1 <= int(answer.headers["retry-after"]) <= 63


def test_tokens_and_money_hold_over_all_within_a_twentieth(gateways: list[str]) -> None:
    for key, kind in (("tokens", "tokens"), ("money", "insufficient_quota")):
        answers = pressed(gateways, key, 30)
        used = sum(answer.json()["usage"]["total_tokens"] for answer in answers if answer.status_code == 200)
        assert 570 <= used <= 600 + 6 * 8  # six were begun together at most, of 8 tokens each
        assert all(answer.json()["error"]["type"] == kind for answer in (ask(url, key) for url in gateways))


def test_while_the_database_is_away_each_holds_its_share_and_nobody_waits(
    gateways: list[str], database: Postgres
) -> None:
    assert [ask(url, "outage").status_code for url in gateways] == [200, 200, 200]
    database.stop()
    begun = time.monotonic()
    answers = pressed(gateways, "outage", 30)
    took_s = [answer.elapsed.total_seconds() for answer in answers]
    got = sum(answer.status_code == 200 for answer in answers)
    assert 15 <= got <= 30
    assert sorted(took_s)[len(took_s) // 2] < 1
    assert time.monotonic() - begun < 30
    for url in gateways:
        assert "gattway_limits_degraded 1.0" in httpx.get(f"{url}/metrics", headers=bearer("root")).text
    database.start()
    deadline = time.monotonic() + 60
    for url in gateways:
        while "gattway_limits_degraded 0.0" not in httpx.get(f"{url}/metrics", headers=bearer("root")).text:
            ask(url, "requests")
            assert time.monotonic() < deadline
            time.sleep(0.2)
