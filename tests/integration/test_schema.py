"""The gateway's own `/openapi.json`, held against a running gateway by schemathesis: no 5xx, and no false word."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.access.keys import hash_of, new
from tests.gateway.scripted import Scripted, scripted

pytestmark = pytest.mark.slow

CHECKED = [
    *("--checks", "all"),
    # JSON Schema's integers hold 5.0; OpenAI's API and the gateway refuse it.
    *("--exclude-checks", "positive_data_acceptance"),
    *("--generation-deterministic", "--no-color", "--request-timeout", "10", "--continue-on-failure"),
]


def run(url: str, folder: Path, models: list[str], *options: str, headers: dict[str, str] | None = None) -> str:
    """schemathesis's report on a gateway, whose models it is told, so that it gets beyond "no such model"."""
    schema = httpx.get(f"{url}/openapi.json", headers=headers).json()
    schema["components"]["schemas"]["ModelName"]["enum"] = models
    (folder / "openapi.json").write_text(json.dumps(schema))
    command = [sys.executable, "-m", "schemathesis.cli", "run", "openapi.json", "--url", url, *CHECKED, *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture
def without_keys(tmp_path: Path) -> Any:
    with scripted(tmp_path) as gateway:
        yield gateway


def test_every_route_does_what_the_schema_says(without_keys: Scripted, tmp_path: Path) -> None:
    report = run(without_keys.url, tmp_path, ["m", "ab"], "--phases", "fuzzing,stateful", "--max-examples", "12")
    assert "passed" in report
    assert len(without_keys.upstream.bodies) > 3, "too few requests were good enough to reach the model"


def test_what_the_models_routes_take_and_refuse_is_what_the_schema_says(without_keys: Scripted, tmp_path: Path) -> None:
    only = ("--include-path", "/v1/chat/completions", "--include-path", "/v1/responses")
    run(without_keys.url, tmp_path, ["m", "ab"], "--phases", "coverage", *only)
    assert len(without_keys.upstream.bodies) > 100


def test_the_same_holds_where_keys_are_set_up(tmp_path: Path) -> None:
    secret = new()
    with scripted(tmp_path, f'[keys.ops]\nhash = "{hash_of(secret)}"\nadmin = true\n') as gateway:
        key = {"authorization": f"Bearer {secret}"}
        (tmp_path / "schemathesis.toml").write_text(f'[auth.openapi.key]\nbearer = "{secret}"\n')
        run(gateway.url, tmp_path, ["m", "ab"], "--phases", "fuzzing", "--max-examples", "8", headers=key)
        assert gateway.upstream.bodies


def test_no_page_that_loads_scripts_from_elsewhere_is_served(without_keys: Scripted) -> None:
    assert [without_keys.get(path).status_code for path in ("/docs", "/redoc", "/openapi.json")] == [404, 404, 200]
