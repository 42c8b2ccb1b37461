"""The compose file is one, and what it mounts is there."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import yaml

from tests.deploy.prometheus import ROOT

COMPOSE = ROOT / "deploy" / "compose.yaml"
PROVISIONING = ROOT / "deploy" / "grafana" / "provisioning"


def test_the_compose_file_is_valid_by_composes_own_schema() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_services_mount_and_need_is_there_and_nothing_is_open_to_other_machines() -> None:
    compose = _read(COMPOSE)
    assert set(compose["services"]) >= {"gateway", "prometheus", "grafana"}
    for name, service in compose["services"].items():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert source in compose["volumes"] or (COMPOSE.parent / source).exists(), f"{name}: {mount}"
        assert set(service.get("depends_on", [])) <= set(compose["services"])
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name


def test_grafana_finds_prometheus_and_the_dashboards_where_compose_puts_them() -> None:
    services = _read(COMPOSE)["services"]
    (source,) = _read(PROVISIONING / "datasources/prometheus.yaml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = _read(PROVISIONING / "dashboards/gattway.yaml")["providers"]
    mounts = dict(mount.split(":")[:2][::-1] for mount in services["grafana"]["volumes"])
    assert (COMPOSE.parent / mounts[provider["options"]["path"]]).samefile(ROOT / "deploy/grafana/dashboards")
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert json.loads((ROOT / "deploy/grafana/dashboards" / home.rsplit("/", 1)[1]).read_text())["title"]
    (job,) = _read(ROOT / "deploy/prometheus/prometheus.yml")["scrape_configs"]
    assert (job["job_name"], job["static_configs"][0]["targets"]) == ("gattway", ["gateway:8000"])


def _read(path: Any) -> Any:
    return yaml.safe_load(path.read_text())
