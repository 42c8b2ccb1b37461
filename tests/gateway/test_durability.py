"""What is answered is in the books, whatever happens to the gateway or its disk: real processes, real signals."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from benchmarks import crash
from benchmarks.stub import stub

pytestmark = pytest.mark.slow

BODY = {"model": "ab", "messages": [{"role": "user", "content": "Are you there?"}]}


def test_kill_9_under_load_loses_no_answered_turn_and_closes_what_was_under_way(tmp_path: Path) -> None:
    result = crash.run(tmp_path, rounds=2, seed=1)
    assert result["answered"] > 20
    assert result["lost"] == 0
    assert result["interrupted"] > 0


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_full_disk_is_503_with_its_reason_and_heals_by_itself(tmp_path: Path) -> None:
    with stub() as upstream:
        config = tmp_path / "gattway.toml"
        config.write_text(crash.CONFIG.format(ledger=tmp_path / "ledger.db", upstream=upstream))
        with crash.gateway(config, tmp_path) as (url, process), httpx.Client(base_url=url, timeout=30) as client:
            assert client.post("/v1/chat/completions", json=BODY).status_code == 200
            hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)[1]
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (16 * 1024, hard))  # no file may grow any more
            ended = client.post("/v1/chat/completions", json=BODY)
            assert ended.status_code == 503
            assert ended.json()["error"]["code"] == "ledger_unavailable"
            ready = client.get("/health/ready")
            assert ready.status_code == 503
            assert "the ledger cannot be written" in ready.json()["reason"]
            refused = client.post("/v1/chat/completions", json=BODY)
            assert refused.status_code == 503
            assert "the ledger cannot be written" in refused.json()["error"]["message"]
            assert client.get("/health/live").status_code == 200
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))
            until(lambda: client.get("/health/ready").status_code == 200)
            assert client.post("/v1/chat/completions", json=BODY).status_code == 200
            # The answer that was begun before anybody knew is kept and written; the one that was refused never began.
            assert len(client.get("/api/conversations").json()["data"]) == 3
