"""Write values.schema.json from the chart's values.yaml: `python deploy/helm/schema.py [--check]`.

Names, types and defaults are those of values.yaml, descriptions its `# --` comments; RULES adds what a default cannot
say. Nothing beyond these names is taken, so that a slip of the pen is an error instead of nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parent / "gattway"
SCHEMA = CHART / "values.schema.json"
TEXT = {"type": "string"}
OBJECTS = {"items": {"type": "object"}}

RULES: dict[str, dict[str, Any]] = {
    "replicas": {"minimum": 0},
    "image.digest": {"pattern": "^(sha256:[0-9a-f]{64})?$"},
    "image.pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
    "image.pullSecrets": {"items": TEXT},
    "secretEnv": {
        "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
        "additionalProperties": {
            "type": "object",
            "properties": {"secret": TEXT, "key": TEXT},
            "required": ["secret", "key"],
            "additionalProperties": False,
        },
    },
    "env": {"additionalProperties": {"type": ["string", "number", "boolean"]}},
    "server.workers": {"minimum": 1, "maximum": 256},
    "server.graceSeconds": {"minimum": 0},
    "server.drainSeconds": {"minimum": 1},
    "outbox.size": {"pattern": "^[0-9]+(Mi|Gi|Ti)$"},
    "service.type": {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
    "service.port": {"minimum": 1, "maximum": 65535},
    "autoscaling.minReplicas": {"minimum": 1},
    "autoscaling.maxReplicas": {"minimum": 1},
    "autoscaling.inFlightPerGateway": {"minimum": 1},
    "autoscaling.cpuPercent": {"minimum": 0},
    "autoscaling.scaleDownAfterSeconds": {"minimum": 0, "maximum": 3600},
    "disruptionBudget.maxUnavailable": {"type": ["integer", "string"]},
    "monitoring.intervalSeconds": {"minimum": 1},
    "networkPolicy.clients": OBJECTS,
    "networkPolicy.prometheus": OBJECTS,
    "networkPolicy.egress": OBJECTS,
    "networkPolicy.modelPorts": {"items": {"type": "integer", "minimum": 1, "maximum": 65535}},
    "networkPolicy.databasePort": {"minimum": 1, "maximum": 65535},
    "tolerations": OBJECTS,
    "extraVolumes": OBJECTS,
    "extraVolumeMounts": OBJECTS,
}
OPEN = ("secretEnv", "env", "resources", "nodeSelector", "affinity", "podAnnotations", "podLabels")
"""Objects whose names are the user's or Kubernetes's; besides them, all that are called annotations or labels."""


def descriptions(text: str) -> dict[str, str]:
    """Dotted name → the `# --` lines above it."""
    found: dict[str, str] = {}
    said: list[str] = []
    parent = ""
    for line in text.splitlines():
        bare = line.strip()
        if bare.startswith("# --"):
            said.append(bare.removeprefix("# --").strip())
        elif ":" in bare and not bare.startswith("#"):
            name = bare.split(":")[0]
            if line[0] != " ":
                parent = name
            path = name if line[0] != " " else f"{parent}.{name}"
            if said:
                found[path] = " ".join(said)
            said = []
    return found


def schema() -> dict[str, Any]:
    """JSON Schema (draft 7, which Helm reads) of the values.

    Raises:
        KeyError: a value has no description.
    """
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    said = descriptions(text)
    top = _object("", yaml.safe_load(text), said)
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of the chart gattway", **top}


def _object(path: str, values: dict[str, Any], said: dict[str, str]) -> dict[str, Any]:
    properties = {}
    for name, value in values.items():
        inner = f"{path}.{name}" if path else name
        closed = isinstance(value, dict) and inner not in OPEN and name not in ("annotations", "labels")
        properties[name] = _object(inner, value, said) if closed else _value(inner, value, said)
    # Helm puts `global` into every chart's values.
    extra = {} if path else {"global": {"type": "object"}}
    return {"type": "object", "properties": {**properties, **extra}, "additionalProperties": False}


def _value(path: str, value: Any, said: dict[str, str]) -> dict[str, Any]:
    types = {bool: "boolean", int: "integer", str: "string", list: "array", dict: "object"}
    return {"description": said[path], "type": types[type(value)], "default": value, **RULES.get(path, {})}


def main() -> None:
    parser = argparse.ArgumentParser(description="Write values.schema.json from values.yaml.")
    parser.add_argument("--check", action="store_true", help="only say whether it is in step")
    text = json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"
    if not parser.parse_args().check:
        SCHEMA.write_text(text, encoding="utf-8")
    elif SCHEMA.read_text(encoding="utf-8") != text:
        sys.exit("values.schema.json is out of step with values.yaml: python deploy/helm/schema.py")


if __name__ == "__main__":
    main()
