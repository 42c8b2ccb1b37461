"""A real Prometheus that scrapes a gateway every second, with the rules of deploy/."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus"


def program(name: str) -> str:
    """Where a program of Prometheus is; skips the test without it."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: apt-get install prometheus)")
    return found


@contextmanager
def prometheus(folder: Path, *targets: str) -> Iterator[str]:
    """Scrape `targets` (host:port); yields Prometheus's base URL."""
    config = folder / "prometheus.yml"
    config.write_text(
        yaml.safe_dump(
            {
                "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
                "rule_files": [str(RULES / "recording.yml"), str(RULES / "alerts.yml")],
                "scrape_configs": [{"job_name": "gattway", "static_configs": [{"targets": list(targets)}]}],
            }
        )
    )
    port = _free_port()
    options = [
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    with subprocess.Popen([program("prometheus"), *options], stdout=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_ready(url, process)
            yield url
        finally:
            process.terminate()


def query(url: str, promql: str) -> list[dict[str, Any]]:
    """An instant query's samples. Raises AssertionError when Prometheus refuses it."""
    answer = httpx.get(f"{url}/api/v1/query", params={"query": promql}, timeout=20).json()
    assert answer["status"] == "success", f"{promql}\n{answer.get('error')}"
    result: list[dict[str, Any]] = answer["data"]["result"]
    return result


def _wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None, "prometheus ended"
        try:
            if httpx.get(f"{url}/-/ready", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError("prometheus did not become ready")


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
