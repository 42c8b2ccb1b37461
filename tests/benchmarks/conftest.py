"""Scripts for the benchmarks' tests: a marker word to say, and turns whose answers echo the question."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


def script_line(number: int, split: str = "unseen_attributes", turns: int = 48, **changes: Any) -> dict[str, Any]:
    line = {
        "id": f"{split}-{number:03}",
        "split": split,
        "families": ["marker"],
        "instruction": f"Say word{number}",
        "checks": [{"kind": "contains", "text": f"word{number}"}],
        "turns": [
            {"user": f"question {turn}", "fact": {"kind": "contains", "text": f"question {turn}"}}
            for turn in range(1, turns + 1)
        ],
    }
    return line | changes


def write_scripts(folder: Path) -> Path:
    """Four scripts of unseen attributes, two of an unseen family, one plain."""
    lines = [script_line(n) for n in range(4)]
    lines += [script_line(n, split="unseen_families", families=["pirate"]) for n in range(2)]
    lines += [script_line(0, split="plain", families=[], instruction=None, checks=[])]
    path = folder / "scripts.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """The file that `write_scripts` writes."""
    return write_scripts(tmp_path)
