"""Fills in what the commands of a page print: python docs/transcripts.py

The ```sh blocks of the pages are run in order, in an empty folder, beside a gateway with the embedded models; the
```text block behind one gets what it printed. A ```python block with a title is a file that the commands use.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

# A script's own folder comes first on the path, and docs/strategies/ would pass for the package of that name.
ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

from benchmarks.server import Server, serve

PAGES = ("quickstart.md", "ab-test.md")
ADDRESS = "http://127.0.0.1:8000"
WIDTH = 100
PYTHON = {"gattway": [sys.executable, "-m", "gateway"], "python": [sys.executable]}
_SERVES = ("make ", "gattway serve")  # these go on; the page's gateway is there already
_BLOCK = re.compile(r'```(sh|text|python)(?: title="([^"]*)")?\n(.*?)```', re.DOTALL)


def transcripts(page: str, server: Server, folder: Path) -> Iterator[tuple[str, str]]:
    """What the page shows as printed, and what its commands print now, for each pair of blocks."""
    printed = ""
    for language, title, text in _BLOCK.findall(page):
        if language == "python" and title:
            (folder / title).write_text(text.replace(ADDRESS, server.url), encoding="utf-8")
        elif language == "sh":
            printed = "".join(run(line, server, folder) for line in text.splitlines())
        elif language == "text":
            yield text, printed


def run(line: str, server: Server, folder: Path) -> str:
    """What a command prints; nothing for one that starts a gateway.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    if line.startswith(_SERVES):
        return ""
    program, _, rest = line.partition("#")[0].strip().partition(" ")
    command = " ".join(PYTHON.get(program, [program])) + " " + rest.replace(ADDRESS, server.url)
    shown = {"COLUMNS": str(WIDTH), "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=folder,
        env={**os.environ, **shown, "GATTWAY_LEDGER__PATH": str(server.log and server.log.parent / "ledger.db")},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    lines = [one.rstrip() for one in done.stdout.replace(f"{ROOT}/", "").strip("\n").splitlines()]
    return "".join(f"{one}\n" for one in lines)


def main() -> None:
    """Write the pages anew."""
    for name in PAGES:
        path = ROOT / "docs" / name
        page = path.read_text(encoding="utf-8")
        with serve() as server, tempfile.TemporaryDirectory() as folder:
            for shown, printed in list(transcripts(page, server, Path(folder))):
                page = page.replace(f"```text\n{shown}```", f"```text\n{printed}```", 1)
        path.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
