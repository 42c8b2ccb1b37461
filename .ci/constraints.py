"""Write pip's resolution report as constraints: `python .ci/constraints.py REPORT.json > constraints.txt`.

Local version labels (`+cpu`) are cut off, so that the same file serves a machine with other builds.
"""

import json
import sys
from pathlib import Path


def constraints(report: dict[str, list[dict[str, dict[str, str]]]]) -> list[str]:
    """Sorted `name==version` lines of everything that pip would install, this project left out."""
    packages = [item["metadata"] for item in report["install"]]
    pins = {p["name"].lower().replace("_", "-"): p["version"].split("+")[0] for p in packages}
    return [f"{name}=={version}" for name, version in sorted(pins.items()) if name != "gattway"]


if __name__ == "__main__":
    print("# Every version that set-up installs. Made by `make constraints`; do not edit by hand.")
    print("\n".join(constraints(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
