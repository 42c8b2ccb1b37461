"""The rules for Prometheus are sound, do what they say, and each alert has its paragraph."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
import yaml

from tests.deploy.prometheus import ROOT, RULES, program


def test_promtool_finds_no_fault_with_rules_and_config() -> None:
    for check in (["rules", "recording.yml", "alerts.yml"], ["config", "--syntax-only", "prometheus.yml"]):
        done = subprocess.run(
            [program("promtool"), "check", *check], cwd=RULES, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_each_alert_fires_when_it_should_and_not_otherwise() -> None:
    done = subprocess.run(
        [program("promtool"), "test", "rules", "alerts.test.yml"],
        cwd=RULES,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_tested_and_has_a_paragraph_in_the_runbook() -> None:
    alerts = [rule for group in _read("alerts.yml")["groups"] for rule in group["rules"]]
    tests = [one["alertname"] for test in _read("alerts.test.yml")["tests"] for one in test["alert_rule_test"]]
    headings = re.findall(r"^## (\w+)$", (ROOT / "docs/runbooks.md").read_text(), re.MULTILINE)
    for alert in alerts:
        assert alert["alert"] in tests
        assert alert["annotations"]["runbook_url"] == f"docs/runbooks.md#{alert['alert'].lower()}"
    assert [alert["alert"] for alert in alerts] == headings


def _read(name: str) -> dict[str, Any]:
    return yaml.safe_load((RULES / name).read_text())
