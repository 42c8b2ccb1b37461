"""The study runs its cells once each, pools seeds, and writes tables with intervals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from gatt.__main__ import main
from gatt.study import report
from gatt.study.settings import load

SHIPPED = Path(__file__).parents[2] / "gatt" / "recipes" / "study.toml"

STUDY = """
name = "tiny"
work = "{work}"
base = "{base}"
seeds = [0, 1]
unseen_families = ["greeting", "brackets"]
dialogues = [{{ turns = 3, instructed = 4, plain = 2, cancelled = 2, replaced = 2 }}]
conversations = 2
turns = 2

[synthesize]
candidates = 1
minimum_score = 0.0
max_new_tokens = 4

[train]
rounds = [{{ steps = 1 }}]
rows_per_step = 2
shares = {{ later = 1.0 }}

[[weights]]
name = "q and k"
modules = ["q_proj", "k_proj"]

[[weights]]
name = "LoRA"
lora = {{ r = 2 }}

[[cell]]
group = "variants"
name = "base"
strategy = "every-turn"

[[cell]]
group = "variants"
name = "gatt"
objective = "sft-last"

[grid]
families = [2]
weights = ["LoRA"]
"""


def test_the_shipped_study_holds_every_question_and_can_be_cut() -> None:
    study = load(SHIPPED)
    objectives = {cell.objective for cell in study.cells}
    assert objectives == {None, "sft-last", "sft-all", "dpo", "sdft"}
    assert {cell.history for cell in study.cells} == {"resampled", "original"}
    assert len(study.seeds) >= 3
    assert {cell.families for cell in study.chosen(["families/*"])} == {2, 6, 12, 24, 35}
    small = study.scaled(0.1)
    assert small.work != study.work
    assert small.tuning(small.cells[2]).steps == 90
    assert small.conversations == 40


@pytest.mark.slow
def test_a_study_runs_cell_by_cell_and_writes_its_tables(model_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "tiny.toml"
    path.write_text(STUDY.format(work=tmp_path / "work", base=model_folder))

    def gatt(*more: str) -> str:
        done = CliRunner().invoke(main, ["study", str(path), *more])
        assert done.exit_code == 0, done.output
        return done.output

    assert "variants/gatt" in gatt("--list")
    first = gatt("--only", "variants/*", "--seeds", "1")
    assert "### Variants" in first
    assert "### Families" not in first
    second = gatt("--out", str(tmp_path / "docs"))
    assert second.count("done before, skipped") == 3
    told = json.loads((tmp_path / "docs" / "study.json").read_text())
    assert told["cells"]["families/2-families-LoRA"]["seeds"] == 2
    assert told["cells"]["variants/gatt"]["by_turn"]["unseen_attributes"][0]["n"] == 4
    assert (tmp_path / "docs" / "study-variants.png").exists()
    assert (tmp_path / "work" / "cells" / "variants" / "gatt" / "seed-1" / "model" / "model.safetensors").exists()
    rows = (tmp_path / "work" / "data" / "resampled-2" / "seed-0" / "rows.jsonl").read_text().splitlines()
    assert {family for row in rows for family in json.loads(row)["families"]} <= {"figure", "hobby"}


@pytest.mark.parametrize(
    ("right", "wrong", "named"),
    [
        ('weights = ["LoRA"]', 'weights = ["none"]', "weights are q and k, LoRA"),
        ("families = [2]", "families = [99]", "families must lie between"),
        ('objective = "sft-last"', 'objective = "ppo"', "objective must be one of"),
        ('name = "gatt"', 'name = "base"', "two cells"),
        ('"brackets"', '"hats"', "no family 'hats'"),
        ("conversations = 2", "conversation = 2", "conversation"),
    ],
)
def test_a_study_that_cannot_run_is_bad_usage(right: str, wrong: str, named: str, tmp_path: Path) -> None:
    path = tmp_path / "tiny.toml"
    path.write_text(STUDY.format(work="w", base="b").replace(right, wrong))
    done = CliRunner().invoke(main, ["study", str(path)])
    assert done.exit_code == 2
    assert named in done.output
    assert CliRunner().invoke(main, ["study", str(path), "--only", "x"]).exit_code == 2


def test_seeds_are_pooled_by_their_conversations() -> None:
    def seed(share: float, n: int) -> dict[str, dict[str, list[float]]]:
        return {"plain": {"adherence_by_turn": [share], "n_by_turn": [n]}}

    rate = report.at_turn([seed(1.0, 10), seed(0.5, 20)], "plain", 1)
    assert (rate.held, rate.n) == (20, 30)
    assert report.shown(rate) == "66.7% [49, 81]"
    assert report.shown(report.at_turn([seed(1.0, 10)], "plain", 2)) == "–"
