"""Licences of what is in an environment, as Markdown and JSON: `make licences`. Exit 1 where one is not allowed.

pip-licenses reads them from the packages' own metadata. A package under several licences is listed with all of them,
and every one must be allowed, whether the package offers a choice or not.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

ALLOWED = frozenset(
    """
    0BSD; Apache 2.0 License; Apache Software License; Apache-2.0; BSD License; BSD-2-Clause; BSD-3-Clause; CC0-1.0;
    CNRI-Python; ISC; ISC License (ISCL); MIT; MIT License; MPL-2.0; Mozilla Public License 2.0 (MPL 2.0); PSF-2.0;
    Python Software Foundation License; Unlicense; Zlib
    """.replace("\n   ", "")
    .strip()
    .split("; ")
)
"""Licences under which a package may be in the image, in SPDX's words and those of PyPI's classifiers: all of them let
it be used and handed on as it is beside Apache-2.0. MPL-2.0 asks for changes to its own files; there are none."""


def licences_of(text: str) -> list[str]:
    """`"MPL-2.0 AND (Apache-2.0 OR MIT)"` → each name in it. A licence's whole text is named by its first line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["UNKNOWN"]
    if lines[0] in ALLOWED:
        return [lines[0]]
    parts = re.split(r" AND | OR |; ", lines[0])
    return [part if part in ALLOWED else part.strip("() ") for part in parts]


def read(tools: Path, environment: Path) -> list[dict[str, str]]:
    """What pip-licenses says of each package in `environment`: its Name, Version and License."""
    command = [tools / "bin" / "pip-licenses", "--python", environment / "bin" / "python", "--format", "json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    packages: list[dict[str, str]] = json.loads(done.stdout)
    return packages


def main() -> None:
    parser = argparse.ArgumentParser(description="List the licences of what is in an environment.")
    parser.add_argument("--tools", type=Path, required=True, help="environment with pip-licenses")
    parser.add_argument("--environment", type=Path, required=True, help="environment to list")
    parser.add_argument("--out", type=Path, required=True, help="folder for licences.md and licences.json")
    arguments = parser.parse_args()
    rows = [
        {"name": one["Name"], "version": one["Version"], "licences": licences_of(one["License"])}
        for one in read(arguments.tools, arguments.environment)
        if one["Name"] != "gattway"
    ]
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "licences.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    table = [f"| {row['name']} | {row['version']} | {', '.join(row['licences'])} |" for row in rows]
    (arguments.out / "licences.md").write_text(
        "\n".join(["| package | version | licences |", "|---|---|---|", *table]) + "\n", encoding="utf-8"
    )
    refused = [
        f"{row['name']}: {', '.join(row['licences'])}" for row in rows if not ALLOWED.issuperset(row["licences"])
    ]
    if refused:
        named = [f"{row['name']}: {', '.join(row['licences'])}" for row in refused]
        sys.exit("not allowed (.ci/licences.py has the list):\n  " + "\n  ".join(named))
    print(f"{len(rows)} packages, all under licences that are allowed: {arguments.out}/licences.md, licences.json")


if __name__ == "__main__":
    main()
