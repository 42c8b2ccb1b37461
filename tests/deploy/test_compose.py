"""The compose files are such, what they mount and ask for is there, and the balancer hands streams on as they come."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.deploy.prometheus import ROOT
from tests.gateway.servers import FakeUpstream, serving

DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "compose.yaml"
VARIANTS = sorted(DEPLOY.glob("compose.*.yaml"))
PROVISIONING = DEPLOY / "grafana" / "provisioning"
HAPROXY = DEPLOY / "haproxy" / "haproxy.cfg"


@pytest.mark.parametrize("path", [COMPOSE, *VARIANTS], ids=lambda path: path.stem)
def test_each_compose_file_is_valid_by_composes_own_schema(path: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_services_mount_and_need_is_there_and_nothing_is_open_to_other_machines() -> None:
    base = _read(COMPOSE)
    for path in (COMPOSE, *VARIANTS):
        compose = _read(path)
        services = base["services"] | compose["services"]
        for name, service in compose["services"].items():
            for mount in service.get("volumes", []):
                source = mount.split(":")[0]
                assert source in compose["volumes"] or (DEPLOY / source).exists(), f"{name}: {mount}"
            assert set(service.get("depends_on", [])) <= set(services)
            assert set(service.get("secrets", [])) <= set(compose.get("secrets", {}))
            assert set(service.get("networks", [])) <= set(base["networks"])
            assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        for config in compose.get("configs", {}).values():
            assert (DEPLOY / config["file"]).exists()


def test_two_gateways_stand_behind_the_balancer_each_with_a_file_of_its_own() -> None:
    services = _read(COMPOSE)["services"]
    gateways = {name: service for name, service in services.items() if name.startswith("gateway-")}
    assert set(gateways) == {"gateway-1", "gateway-2"}
    assert len({gateway["volumes"][0].split(":")[0] for gateway in gateways.values()}) == 2
    assert set(re.findall(r"^\s+server (\S+) ", HAPROXY.read_text(), re.MULTILINE)) == set(gateways)
    for gateway in gateways.values():
        assert gateway["depends_on"]["migrations"]["condition"] == "service_completed_successfully"
        assert gateway["read_only"]
        assert gateway["cap_drop"] == ["ALL"]
    for path in VARIANTS:
        assert set(gateways) | {"migrations"} <= set(_read(path)["services"])


def test_every_variable_is_in_the_example_and_each_there_is_used() -> None:
    used = {name for path in (COMPOSE, *VARIANTS) for name in re.findall(r"\$\{([A-Z_]+)", path.read_text())}
    used |= {one["environment"] for path in (COMPOSE, *VARIANTS) for one in _read(path).get("secrets", {}).values()}
    example = (DEPLOY / ".env.example").read_text()
    assert set(re.findall(r"^([A-Z_]+)=", example, re.MULTILINE)) == used
    defaults = dict(re.findall(r"^([A-Z_]+)=(.+)$", example, re.MULTILINE))
    for path in (COMPOSE, *VARIANTS):
        for name, default in re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", path.read_text()):
            assert defaults.get(name, "") == default, f"{path.name}: {name}"


@pytest.mark.parametrize("config", sorted((DEPLOY / "config").glob("*.toml")), ids=lambda path: path.stem)
def test_gattway_check_passes_each_config_with_the_variables_of_its_compose_file(config: Path) -> None:
    defaults = dict(re.findall(r"^([A-Z_]+)=(.+)$", (DEPLOY / ".env.example").read_text(), re.MULTILINE))
    given = _read(DEPLOY / f"compose.{config.stem}.yaml")["x-gateway"]["environment"]
    given = {
        name: re.sub(r"\$\{([A-Z_]+)[^}]*\}", lambda found: defaults[found[1]], text) for name, text in given.items()
    }
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "check", "--json", "--config", str(config)],
        cwd=ROOT,
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)


def test_grafana_finds_prometheus_and_the_dashboards_where_compose_puts_them() -> None:
    services = _read(COMPOSE)["services"]
    (source,) = _read(PROVISIONING / "datasources/prometheus.yaml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = _read(PROVISIONING / "dashboards/gattway.yaml")["providers"]
    mounts = dict(mount.split(":")[:2][::-1] for mount in services["grafana"]["volumes"])
    assert (DEPLOY / mounts[provider["options"]["path"]]).samefile(DEPLOY / "grafana/dashboards")
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert json.loads((DEPLOY / "grafana/dashboards" / home.rsplit("/", 1)[1]).read_text())["title"]
    (job,) = _read(DEPLOY / "prometheus/prometheus.yml")["scrape_configs"]
    targets = job["static_configs"][0]["targets"]
    assert (job["job_name"], targets) == ("gattway", ["gateway-1:8000", "gateway-2:8000"])


def haproxy() -> str:
    """Where HAProxy is; skips the test without it. Debian has it where only root looks."""
    found = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if found is None:
        pytest.skip("haproxy is not installed (Debian: apt-get install haproxy)")
    return found


@contextmanager
def balanced(folder: Path, *servers: str) -> Iterator[str]:
    """HAProxy with the config of deploy/ before these servers (host:port); yields its base URL."""
    program = haproxy()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    text = HAPROXY.read_text().replace("bind :8000", f"bind 127.0.0.1:{port}")
    for number, server in enumerate(servers, 1):
        text = text.replace(f"gateway-{number}:8000", server)
    config = folder / "haproxy.cfg"
    config.write_text(text)
    command = [program, "-db", "-f", config]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            _wait_for(f"http://127.0.0.1:{port}/balancer/health", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        assert process.poll() is None, process.stderr.read().decode() if process.stderr else ""
        try:
            if httpx.get(url, timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError("haproxy did not become ready")


def test_the_balancer_hands_events_on_as_they_come_and_passes_over_a_server_that_is_away(tmp_path: Path) -> None:
    fake = FakeUpstream()
    fake.app.routes.append(Route("/health/ready", _ready))
    with socket.socket() as nobody, serving(fake.app) as url:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        away = f"127.0.0.1:{nobody.getsockname()[1]}"
        with balanced(tmp_path, away, url.removeprefix("http://")) as balancer:
            body = {"model": "slow", "messages": [{"role": "user", "content": "one two"}], "stream": True}
            with httpx.stream("POST", f"{balancer}/v1/chat/completions", json=body, timeout=20) as answer:
                lines = answer.iter_lines()
                assert "You" in next(lines)  # while the upstream waits with all that follows
                fake.go_on.set()
                assert "data: [DONE]" in list(lines)
            assert httpx.get(f"{balancer}/metrics").status_code == 404


def test_haproxy_finds_no_fault_with_its_config() -> None:
    done = subprocess.run([haproxy(), "-c", "-f", HAPROXY], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


async def _ready(_request: Request) -> Response:
    return Response("ok")


def _read(path: Path) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(path.read_text())
    return read
