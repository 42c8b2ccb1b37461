"""The adherence benchmark against a fake gateway on a real socket."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks.__main__ import main
from tests.benchmarks.fake_gateway import FakeGateway


@pytest.fixture
def result(scripts: Path, tmp_path: Path) -> dict[str, Any]:
    with FakeGateway() as gateway:
        command = [
            "adherence",
            "--gateway",
            gateway.url,
            "--scripts",
            str(scripts),
            "--out",
            str(tmp_path),
            "--turns",
            "6",
        ]
        done = CliRunner().invoke(main, [*command, "--limit", "2"])
    assert done.exit_code == 0, done.output
    written: dict[str, Any] = json.loads((tmp_path / "adherence.json").read_text(encoding="utf-8"))
    return written


def test_there_is_a_row_per_split_arm_and_turn(result: dict[str, Any]) -> None:
    keys = [(row["split"], row["arm"], row["turn"]) for row in result["rows"]]
    assert len(keys) == len(set(keys)) == 3 * 3 * 6
    assert {row["conversations"] for row in result["rows"] if row["split"] != "plain"} == {2}


def test_conversations_without_checks_have_no_adherence(result: dict[str, Any]) -> None:
    plain = [row for row in result["rows"] if row["split"] == "plain"]
    assert {row["adherence"] for row in plain} == {None}
    assert {row["facts"] for row in plain} == {1.0}


def test_families_are_reported_apart(result: dict[str, Any]) -> None:
    pirate = {row["arm"]: row["turn_6"] for row in result["families"] if row["family"] == "pirate"}
    assert pirate == {"gatt": 1.0, "repeat": 1.0, "untreated": 0.0}


def test_the_markdown_report_has_a_line_per_split_and_arm_and_one_per_family(
    result: dict[str, Any], tmp_path: Path
) -> None:
    report = (tmp_path / "adherence.md").read_text(encoding="utf-8")
    assert report.count("| unseen_families | ") == 3 + 1
    assert "| 100% [34, 100] |" in report
    assert result["command"] in report
