"""The checks that ship with the embedded models are those of the miniature world."""

from __future__ import annotations

import tomllib
from pathlib import Path

from adherence import Finder
from gatt import script
from gatt.miniature import rules

ROOT = Path(__file__).parents[3]


def test_the_shipped_file_is_in_step_with_the_families() -> None:
    shipped = (ROOT / "gateway/embedded/checks.toml").read_text(encoding="utf-8")
    assert shipped == rules.toml(), "run: python -m gatt.miniature.rules > gateway/embedded/checks.toml"
    assert tomllib.loads(shipped)["checks"] == rules.rules()


def test_the_rules_find_the_checks_of_every_benchmark_script() -> None:
    finder = Finder(rules.rules(), detect=False)
    for one in script.read(ROOT / "benchmarks/scripts/miniature.jsonl"):
        if one.instruction is not None:
            found = finder.specs(one.instruction)
            assert sorted(map(str, found)) == sorted(map(str, one.checks)), one.instruction
