"""The attention maps that the web page ships: `gatt attention` over some of its ready-made dialogues, made small.

Each map becomes one byte a bin on a logarithmic scale, as the page draws it.
"""

from __future__ import annotations

import base64
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.script import MINIATURE

EMBEDDED = Path("gateway/embedded")
PAGE = Path("gateway/ui")
IDS = ("unseen_attributes-035", "unseen_attributes-059", "unseen_attributes-041", "unseen_families-000")
TURNS = 20

LEAST = 0.005
"""The attention at the lower end of the scale: byte 0; byte 255 is an attention of 1."""


class MapsFailed(Exception):
    """`gatt attention` did not work; the message is what it said."""


def run(out: Path, ids: Sequence[str] = IDS, on_done: Callable[[], None] = lambda: None) -> list[Path]:
    """Measure each dialogue and write `out/ID.json` and `out/index.json`.

    Raises:
        MapsFailed: a dialogue could not be measured.
    """
    out.mkdir(parents=True, exist_ok=True)
    titles = {script["id"]: script for script in _page_scripts()}
    written, index = [], []
    for name in ids:
        with tempfile.TemporaryDirectory(prefix="gattway-maps-") as folder:
            picture = Path(folder) / "map.png"
            _measure(name, picture)
            measured = json.loads(picture.with_suffix(".json").read_text(encoding="utf-8"))
        path = out / f"{name}.json"
        path.write_text(json.dumps(small(measured)) + "\n", encoding="utf-8")
        index.append({"id": name, "title": titles[name]["title"]})
        written.append(path)
        on_done()
    (out / "index.json").write_text(json.dumps({"object": "list", "data": index}) + "\n", encoding="utf-8")
    return written


def small(measured: dict[str, Any]) -> dict[str, Any]:
    """What `gatt attention` wrote, with maps as base64 of one byte a bin, row by row."""
    models = {name: {**one, "map": _packed(one["map"])} for name, one in measured["models"].items()}
    kept = {name: measured[name] for name in ("schema_version", "created_at", "versions", "tokens", "spans")}
    return {**kept, "command": "python -m benchmarks maps", "least": LEAST, "models": models}


def _packed(rows: Sequence[Sequence[float]]) -> dict[str, Any]:
    levels = bytes(_level(value) for row in rows for value in row)
    return {"side": len(rows), "levels": base64.b64encode(levels).decode("ascii")}


def _level(value: float) -> int:
    if value <= LEAST:
        return 0
    return min(255, round(255 * (1 - math.log(value) / math.log(LEAST))))


def _page_scripts() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (PAGE / "scripts.jsonl").read_text(encoding="utf-8").splitlines()]


def _measure(name: str, picture: Path) -> None:
    models = ("--base", EMBEDDED / "mini-base", "--tuned", EMBEDDED / "mini-gatt")
    what = ("--dialogue", MINIATURE, "--id", name, "--turns", str(TURNS), "--out", picture)
    command = [sys.executable, "-m", "gatt", "attention", *map(str, (*models, *what))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MapsFailed(f"{name}: {done.stderr.strip() or done.stdout.strip()}")
