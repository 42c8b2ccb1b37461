"""The `gattway` command, as a person types it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.gateway.servers import FakeUpstream, serving
from tests.gateway.test_settings import GOOD


def gattway(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_check_prints_what_the_config_comes_to(tmp_path: Path) -> None:
    (tmp_path / "gattway.toml").write_text(GOOD.replace("[models.m]", "[models.m]\nname = 'gpt-4o'"))
    done = gattway("check", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (model,) = json.loads(done.stdout)["models"]
    assert (model["model"], model["window"], model["input"], model["price from"]) == ("m", 128000, 2.5, "litellm")
    assert "gpt-4o" in gattway("check", cwd=tmp_path).stdout


def test_check_lists_keys_with_their_models_and_limits_and_nothing_of_the_key_itself(tmp_path: Path) -> None:
    digest = "ab" * 32
    keys = f"""[keys.alice]\nhash = "sha256:{digest}"\nmodels = ["e"]\nrequests_per_minute = 60\nusd_per_day = 2.5
[keys.root]\nhash = "sha256:{digest[::-1]}"\nadmin = true\n"""
    config = GOOD.replace("[models.m]", "[models.m]\nname = 'gpt-4o'")
    (tmp_path / "gattway.toml").write_text(config + keys)
    done = gattway("check", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    alice, root = json.loads(done.stdout)["keys"]
    assert (alice["key"], alice["models"], alice["requests a minute"], alice["USD a day"]) == ("alice", ["e"], 60, 2.5)
    assert (root["models"], root["tokens a minute"], root["admin"]) == ("all", None, True)
    table = gattway("check", cwd=tmp_path, COLUMNS="200").stdout
    assert "alice" in table
    assert "no limit" in table
    for text in (done.stdout, table):
        assert digest not in text
        assert digest[::-1] not in text


@pytest.mark.parametrize("command", ["check", "serve"])
@pytest.mark.parametrize(
    ("config", "line"),
    [
        (GOOD.replace("once", "onec"), "experiments.e.arms.a: unknown strategy 'onec'"),
        (
            GOOD.replace("[models.m]", "[models.m]\nencoding = 'o99'"),
            "models.m.encoding: tiktoken has no encoding 'o99'",
        ),
        (
            GOOD.replace('kind = "openai"\nbase_url = "http://127.0.0.1:1/v1"', 'kind = "local"').replace(
                "[models.m]", "[models.m]\nfolder = 'nowhere'"
            ),
            "nowhere: no such folder",
        ),
    ],
)
def test_a_bad_config_is_one_line_and_exit_code_2(tmp_path: Path, command: str, config: str, line: str) -> None:
    (tmp_path / "gattway.toml").write_text(config)
    port = ("--port", "0") if command == "serve" else ()
    done = gattway(command, *port, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert line in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "gattway.toml").write_text(GOOD)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = gattway("serve", "--port", str(taken.getsockname()[1]), cwd=tmp_path)
    assert done.returncode == 2
    assert "Address already in use); choose another with --host and --port" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_unwritable_ledger_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "gattway.toml").write_text(GOOD)
    done = gattway("serve", "--port", "0", cwd=tmp_path, GATTWAY_LEDGER__PATH="/proc/gattway.db")
    assert done.returncode == 2
    assert "ledger.path: /proc/gattway.db cannot be used as a ledger" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_extra_is_said_with_its_remedy(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('No module named torch')")
    done = gattway("check", cwd=tmp_path, PYTHONPATH=f"{tmp_path}{os.pathsep}{Path(__file__).parents[2]}")
    assert done.returncode == 2
    assert "pip install 'gattway[local]'" in done.stderr
    assert "Traceback" not in done.stderr


@contextmanager
def served(tmp_path: Path, upstream: str, name: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`gattway serve` before an upstream, as (base URL, process)."""
    config = GOOD.replace("http://127.0.0.1:1", upstream).replace("[models.m]", f"[models.m]\nname = '{name}'")
    (tmp_path / "gattway.toml").write_text(config)
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", "serve", "--port", "0"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        url = process.stderr.readline().split("serves on ")[1].split("/v1")[0]
        try:
            with httpx.Client(transport=httpx.HTTPTransport(retries=9)) as client:
                client.get(f"{url}/health/ready")
            yield url, process
        finally:
            process.kill()


def test_serve_answers_writes_its_ledger_and_stops_cleanly(tmp_path: Path) -> None:
    with serving(FakeUpstream().app) as upstream, served(tmp_path, upstream, "echo") as (url, process):
        body = {"model": "e", "messages": [{"role": "user", "content": "x"}]}
        assert httpx.post(f"{url}/v1/chat/completions", json=body).status_code == 200
        assert httpx.get(f"{url}/health/ready").json() == {"status": "ok"}
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert (tmp_path / "gattway.db").exists()


def test_asked_to_stop_it_finishes_running_streams_and_turns_new_requests_away(tmp_path: Path) -> None:
    body = {"model": "e", "messages": [{"role": "user", "content": "one two"}], "stream": True}
    fake = FakeUpstream()
    with serving(fake.app) as upstream, served(tmp_path, upstream, "slow") as (url, process):
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=20) as running:
            reads = running.iter_text()
            text = next(reads)
            process.send_signal(signal.SIGTERM)
            while (ready := httpx.get(f"{url}/health/ready")).status_code == 200:
                pass
            assert ready.json()["reason"] == "the gateway is shutting down"
            refused = httpx.post(f"{url}/v1/chat/completions", json=body)
            assert refused.status_code == 503
            assert refused.headers["retry-after"] == "5"
            fake.go_on.set()
            text += "".join(reads)
        assert text.endswith("data: [DONE]\n\n")
        assert process.wait(20) == 0


def test_starting_without_embedded_models_loads_no_heavy_library(tmp_path: Path) -> None:
    (tmp_path / "gattway.toml").write_text(GOOD)
    code = (
        "import sys; from pathlib import Path; from gateway.app import create_app; from gateway.build import build;"
        "from gateway.settings import load; s = load(Path('gattway.toml')); create_app(s, build(s));"
        "print([m for m in ('torch', 'transformers', 'litellm', 'pandas', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "[]", done.stderr
