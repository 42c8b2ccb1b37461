"""The Helm chart, rendered by Helm itself: Kubernetes takes what comes out, and it means what it should."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.prometheus import ROOT

CHART = ROOT / "deploy" / "helm" / "gattway"
VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
KUBERNETES = ("1.30", "1.34")
"""Releases that manifests are held to: the oldest that the chart takes, and a recent one."""
CUSTOM = ("ServiceMonitor",)
"""Kinds of operators, which Kubernetes's own schemas do not know."""


@pytest.fixture(scope="module")
def helm() -> Any:
    """Helm's own engine, as a library. There is no wheel of it for Linux on ARM."""
    return pytest.importorskip("helm_python", reason="helm-python-sdk is not installed (pip install helm-python-sdk)")


def render(helm: Any, values: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """(kind, name) → manifest, for a release `chat` in the namespace `serving`."""
    with helm.Chart.load(CHART) as chart:
        files = chart.render(values, name="chat", namespace="serving")
    texts = [text for name, text in files.items() if name.endswith(".yaml")]
    objects = [one for text in texts for one in yaml.safe_load_all(text) if one]
    return {(one["kind"], one["metadata"]["name"]): one for one in objects}


def read(name: str) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((CHART / "ci" / f"{name}-values.yaml").read_text())
    return values


def container(workload: dict[str, Any]) -> dict[str, Any]:
    (only,) = workload["spec"]["template"]["spec"]["containers"]
    return dict(only)


@pytest.mark.parametrize("values", [None, *VALUES], ids=lambda path: path.stem if path else "defaults")
def test_what_is_rendered_is_valid_by_kubernetes_own_schemas(values: Path | None, helm: Any) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    objects = render(helm, yaml.safe_load(values.read_text()) if values else {})
    assert len(objects) >= 3
    for (kind, _), manifest in objects.items():
        if kind not in CUSTOM:
            for version in KUBERNETES:
                kubernetes_validate.validate(manifest, version, strict=True)


def test_helm_lint_has_nothing_to_say(helm: Any) -> None:
    for values in VALUES:
        report = helm.lint(CHART, yaml.safe_load(values.read_text()), strict=True, namespace="serving")
        assert [message for message in report["messages"] if message["severity"] >= 2] == []
        assert report["errors"] == []


def test_the_chart_has_the_projects_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    with (ROOT / "pyproject.toml").open("rb") as file:
        version = tomllib.load(file)["project"]["version"]
    assert (chart["version"], chart["appVersion"]) == (version, version)


def test_the_schema_is_in_step_with_the_values_and_describes_each() -> None:
    done = subprocess.run(
        [sys.executable, "deploy/helm/schema.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"replica": 3}, "replica"),
        ({"server": {"worker": 2}}, "worker"),
        ({"replicas": "three"}, "replicas"),
        ({"image": {"digest": "latest"}}, "digest"),
        ({"secretEnv": {"KEY": {"secret": "one"}}}, "key"),
    ],
)
def test_a_slip_in_the_values_is_refused_by_name(values: dict[str, Any], complaint: str, helm: Any) -> None:
    with helm.Chart.load(CHART) as chart, pytest.raises(helm.HelmError, match=complaint):
        chart.validate_schema(values)


def test_every_pod_runs_without_rights_and_writes_to_its_volumes_alone(helm: Any) -> None:
    for path in VALUES:
        for (kind, _), manifest in render(helm, yaml.safe_load(path.read_text())).items():
            if kind not in ("Deployment", "StatefulSet", "Job"):
                continue
            pod = manifest["spec"]["template"]["spec"]
            assert pod["securityContext"]["runAsNonRoot"]
            assert pod["automountServiceAccountToken"] is False
            security = container(manifest)["securityContext"]
            assert security["readOnlyRootFilesystem"]
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert not security["allowPrivilegeEscalation"]
            assert container(manifest)["resources"]["limits"]["memory"]


def test_no_secret_is_in_the_manifests_but_by_name(helm: Any) -> None:
    objects = render(helm, read("fleet"))
    assert not [kind for kind, _ in objects if kind == "Secret"]
    gateway = container(objects["Deployment", "chat-gattway"])
    secrets = {one["name"]: one["valueFrom"]["secretKeyRef"] for one in gateway["env"] if "valueFrom" in one}
    assert secrets == {
        "GATTWAY_LEDGER__URL": {"name": "gattway-database", "key": "url"},
        "OPENAI_API_KEY": {"name": "model-keys", "key": "openai"},
    }
    (endpoint,) = objects["ServiceMonitor", "chat-gattway"]["spec"]["endpoints"]
    assert endpoint["authorization"]["credentials"] == {"name": "gattway-operations", "key": "key"}


@pytest.mark.parametrize("name", ["fleet", "durable"])
def test_the_database_is_upgraded_by_a_hook_that_needs_its_secret_only(name: str, helm: Any) -> None:
    job = render(helm, read(name))["Job", "chat-gattway-migrations"]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    migration = container(job)
    assert migration["args"] == ["db", "upgrade"]
    assert [one["name"] for one in migration["env"]] == ["GATTWAY_LEDGER__URL"]
    assert {volume["name"] for volume in job["spec"]["template"]["spec"]["volumes"]} == {"data", "tmp"}
    assert all("emptyDir" in volume for volume in job["spec"]["template"]["spec"]["volumes"])


def test_it_scales_by_answers_under_way_whatever_kind_of_workload_it_is(helm: Any) -> None:
    for name, kind, also_by_cpu in (("fleet", "Deployment", True), ("durable", "StatefulSet", False)):
        objects = render(helm, read(name))
        scaler = objects["HorizontalPodAutoscaler", "chat-gattway"]["spec"]
        assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": kind, "name": "chat-gattway"}
        assert "replicas" not in objects[kind, "chat-gattway"]["spec"]  # or each upgrade would undo the scaling
        metric, *others = scaler["metrics"]
        assert metric["pods"]["metric"]["name"] in (ROOT / "docs/reference.md").read_text()
        assert bool(others) is also_by_cpu


def test_a_gateway_that_stops_gets_the_time_that_its_answers_get(helm: Any) -> None:
    pod = render(helm, read("durable"))["StatefulSet", "chat-gattway"]["spec"]["template"]["spec"]
    (gateway,) = pod["containers"]
    env = {one["name"]: one.get("value") for one in gateway["env"]}
    wait = gateway["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > wait + float(env["GATTWAY_SERVER__GRACE_S"])


def test_services_monitors_budgets_and_policies_mean_the_gateways_pods(helm: Any) -> None:
    objects = render(helm, read("fleet"))
    labels = objects["Deployment", "chat-gattway"]["spec"]["template"]["metadata"]["labels"].items()
    service = objects["Service", "chat-gattway"]
    monitor = objects["ServiceMonitor", "chat-gattway"]["spec"]
    for selector in (
        service["spec"]["selector"],
        objects["Deployment", "chat-gattway"]["spec"]["selector"]["matchLabels"],
        objects["PodDisruptionBudget", "chat-gattway"]["spec"]["selector"]["matchLabels"],
        objects["NetworkPolicy", "chat-gattway"]["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= labels
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    # A job of migrations is none of them: it is never sent a request.
    job = objects["Job", "chat-gattway-migrations"]["spec"]["template"]["metadata"]["labels"]
    assert not service["spec"]["selector"].items() <= job.items()


def test_the_network_policy_lets_in_whom_it_lists_and_out_what_a_gateway_needs(helm: Any) -> None:
    policy = render(helm, read("fleet"))["NetworkPolicy", "chat-gattway"]["spec"]
    (rule,) = policy["ingress"]
    assert [list(one["namespaceSelector"]["matchLabels"].values()) for one in rule["from"]] == [
        ["ingress-nginx"],
        ["monitoring"],
    ]
    ports = {one["port"] for rule in policy["egress"] for one in rule["ports"]}
    assert ports == {53, 443, 8000, 5432}
    (everybody,) = render(helm, {})["NetworkPolicy", "chat-gattway"]["spec"]["ingress"]
    assert "from" not in everybody


def test_a_new_config_is_a_new_pod(helm: Any) -> None:
    def pod(config: str) -> Any:
        template = render(helm, {"config": config})["Deployment", "chat-gattway"]["spec"]["template"]
        return template["metadata"]["annotations"]

    assert pod("a = 1") != pod("a = 2")


@pytest.mark.parametrize("name", ["fleet", "durable"])
def test_the_config_of_each_example_is_one_that_gattway_check_passes(name: str, helm: Any, tmp_path: Path) -> None:
    config = render(helm, read(name))["ConfigMap", "chat-gattway"]["data"]["gattway.toml"]
    path = tmp_path / "gattway.toml"
    path.write_text(config)
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "check", "--json", "--config", str(path)],
        cwd=ROOT,
        env={**os.environ, "OPENAI_API_KEY": "unused"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
