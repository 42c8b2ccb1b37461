"""The dashboards are what their code makes, and every panel shows something of a gateway under traffic."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.deploy.prometheus import ROOT, prometheus, query
from tests.deploy.traffic import under_traffic

DASHBOARDS = sorted((ROOT / "deploy/grafana/dashboards").glob("*.json"))
ROUNDS = 4
VARIABLES = {"$__rate_interval": "1m", "$__range": "1h", "$experiment": ".*", "$arm": ".*", "$model": ".*"}


def panels(path: Path) -> list[dict[str, Any]]:
    return [panel for panel in json.loads(path.read_text())["panels"] if panel["type"] != "row"]


def test_the_dashboards_are_in_step_with_their_code() -> None:
    done = subprocess.run(
        [sys.executable, "deploy/grafana/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [path.stem for path in DASHBOARDS] == ["arms", "cost", "overview", "reliability"]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_each_panel_has_title_description_unit_and_legends_and_takes_its_source_from_the_variable(path: Path) -> None:
    titles = [panel["title"] for panel in panels(path)]
    assert len(titles) == len(set(titles))
    for panel in panels(path):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            assert target["legendFormat"]
            assert target["datasource"]["uid"] == "${datasource}"


@pytest.fixture(scope="module")
def scraping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus that has watched a gateway through several rounds of traffic."""
    folder = tmp_path_factory.mktemp("scraping")
    with under_traffic(folder) as (gateway, traffic), prometheus(folder, gateway.removeprefix("http://")) as url:
        for _ in range(ROUNDS):
            traffic.once_round()
            _wait_for_scrape(url)
        _wait_until(url, "gattway:adherence:ratio_rate1h")
        yield url


@pytest.mark.slow
@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_no_panel_is_empty_before_a_gateway_under_traffic(path: Path, scraping: str) -> None:
    asked = [(panel["title"], _filled_in(target["expr"])) for panel in panels(path) for target in panel["targets"]]
    empty = [one for one in asked if not _has_figures(scraping, one[1])]
    deadline = time.monotonic() + 15  # rules that build on rules take an interval each
    while empty and time.monotonic() < deadline:
        time.sleep(0.5)
        empty = [one for one in empty if not _has_figures(scraping, one[1])]
    assert empty == []


def _filled_in(promql: str) -> str:
    for variable, value in VARIABLES.items():
        promql = promql.replace(variable, value)
    return promql


def _has_figures(url: str, promql: str) -> bool:
    values = [float(sample["value"][1]) for sample in query(url, promql)]
    return any(value == value for value in values)  # a quantile of nothing is NaN


@pytest.mark.slow
def test_every_recording_rule_has_a_result_and_no_rule_fails(scraping: str) -> None:
    groups = httpx.get(f"{scraping}/api/v1/rules", timeout=20).json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert [(rule["name"], rule["lastError"]) for rule in rules if rule["health"] != "ok"] == []
    names = [rule["name"] for rule in rules if rule["type"] == "recording"]
    assert [name for name in names if not query(scraping, name)] == []


def _wait_for_scrape(url: str) -> None:
    """Until Prometheus has seen what happened before the call, twice."""
    now = time.time()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        sample = query(url, 'timestamp(up{job="gattway"} == 1)')
        if sample and float(sample[0]["value"][1]) > now + 0.2:
            return
        time.sleep(0.1)
    raise AssertionError("no scrape")


def _wait_until(url: str, promql: str) -> None:
    deadline = time.monotonic() + 30
    while not query(url, promql):
        assert time.monotonic() < deadline, promql
        time.sleep(0.2)
