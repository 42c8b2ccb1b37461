"""The adherence benchmark against a fake gateway on a real socket."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks.__main__ import main
from tests.benchmarks.conftest import script_line
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


def judged(tmp_path: Path, verdicts: list[str], *more: str) -> tuple[dict[str, Any], FakeGateway, str]:
    """A run over one script that checks decide, and one that only a judge can."""
    path = tmp_path / "judged.jsonl"
    lines = [script_line(0), script_line(1, split="open", checks=[], instruction="Say word1 nobly")]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    with FakeGateway() as gateway:
        gateway.verdicts = verdicts
        command = ["adherence", "--gateway", gateway.url, "--scripts", str(path), "--out", str(tmp_path)]
        command += ["--turns", "4", "--arm", "gatt-vs-repeat:untreated", "--judge", "judge", *more]
        done = CliRunner().invoke(main, [*command, "--concurrency", "1"])
    assert done.exit_code == 0, done.output
    result: dict[str, Any] = json.loads((tmp_path / "adherence.json").read_text(encoding="utf-8"))
    return result, gateway, done.output


def test_a_judge_decides_what_no_check_does_and_its_agreement_with_the_checks_is_reported(tmp_path: Path) -> None:
    yes, no = '{"adherent": true, "reason": "so"}', 'Well: {"adherent": false}'
    # The untreated arm follows at turn 1 alone; of the checked script's four answers the judge gets the last one wrong.
    result, gateway, output = judged(tmp_path, [yes, no, no, yes, yes, no, no, no], "--judge-sample", "1")
    found = result["judge"]
    assert (found["model"], found["asked"], found["unknown"], found["decided"]) == ("judge", 8, 0, 4)
    agreement = found["agreement_with_checks"]
    assert (agreement["n"], agreement["share"], agreement["kappa"]) == (4, 0.75, pytest.approx(0.5))
    adherence = {(row["split"], row["turn"]): row["adherence"] for row in result["rows"]}
    assert [adherence["unseen_attributes", turn] for turn in (1, 2, 3, 4)] == [1, 0, 0, 0]  # the checks overrule it
    assert [adherence["open", turn] for turn in (1, 2, 3, 4)] == [1, 0, 0, 0]
    asked = json.loads(gateway.judged[4])
    assert asked == {
        "instruction": "Say word1 nobly",
        "user": "question 1",
        "reply": "word1 nobly answer to question 1",
    }
    said = "agrees with the checks on 75% of 4 (κ 0.50)"
    assert said in " ".join(output.split())
    assert said in (tmp_path / "adherence.md").read_text(encoding="utf-8")


def test_a_judge_that_talks_rubbish_is_unknown_and_never_adherent(tmp_path: Path) -> None:
    rubbish = ["Yes!", '{"adherent": "true"}', '{"adherent": true} {"adherent": false}', '{"adherent": null}']
    result, gateway, _ = judged(tmp_path, rubbish, "--judge-sample", "0")
    assert len(gateway.judged) == 4  # the checked script is not in the sample
    assert (result["judge"]["unknown"], result["judge"]["decided"]) == (4, 0)
    assert result["judge"]["agreement_with_checks"]["n"] == 0
    by_split = {row["split"]: row["adherence"] for row in result["rows"] if row["turn"] == 1}
    assert by_split == {"unseen_attributes": 1.0, "open": None}
