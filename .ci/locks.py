"""Write deploy/image/locks/, what the image is made of, each file of it by its SHA-256: `make locks`.

`uv pip compile` finds the hashes, of the files for every platform; the versions are those of constraints.txt.
`core.txt` is what the gateway needs, a file named as an extra what that needs besides. `local` has none: which build of
torch is taken depends on the index and the machine.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCKS = ROOT / "deploy" / "image" / "locks"
EXTRAS = ("encryption", "otlp", "parquet", "postgres", "report")
HEAD = "# Every package by version and SHA-256. Made by `make locks`; do not edit by hand.\n"
COMPILE = ["uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--generate-hashes", "--universal"]
OURS = ["--constraint", "constraints.txt"]


def compiled(*arguments: str, requirements: str = "") -> list[str]:
    """`name==version` with its hashes, an entry a package."""
    command = [*COMPILE, "--python-version", "3.11", *arguments]
    done = subprocess.run(command, cwd=ROOT, input=requirements, stdout=subprocess.PIPE, text=True, check=True)
    return re.split(r"\n(?=\S)", done.stdout.strip())


def main() -> None:
    core = compiled(*OURS, "pyproject.toml")
    locks = {extra: compiled(*OURS, "--extra", extra, "pyproject.toml") for extra in EXTRAS}
    locks = {extra: [entry for entry in entries if entry not in core] for extra, entries in locks.items()}
    locks["core"] = core
    locks["build"] = compiled(*OURS, "-", requirements="setuptools")
    locks["tools"] = compiled(str(LOCKS / "tools.in"))
    for name, entries in locks.items():
        (LOCKS / f"{name}.txt").write_text(HEAD + "\n".join(entries) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
