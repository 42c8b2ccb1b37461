"""The whole recipe from nothing to shipped folders, in small; what is done is skipped, what was cut off goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from gatt.__main__ import main
from gatt.instructions import mentions
from gatt.miniature.families import BY_NAME
from gatt.miniature.pretrain import Phase, Shape, pretrain

pytestmark = pytest.mark.slow


def gatt(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, list(arguments))
    return done.exit_code, done.output


def test_a_recipe_runs_to_its_end_once_and_ships(recipe_path: Path) -> None:
    code, output = gatt("run", str(recipe_path), "--json")
    assert code == 0, output
    work = recipe_path.parent / "work"
    results = json.loads(output.splitlines()[-1])
    assert set(results["splits"]) == {"unseen_attributes", "unseen_families", "plain", "cancelled", "replaced"}
    assert len(results["splits"]["unseen_attributes"]["adherence_by_turn"]) == 2
    for name in ("base", "tuned"):
        shipped = {path.name for path in (work / "shipped" / name).iterdir()}
        assert {"model.safetensors", "chat_template.jinja", "tokenizer.json", "README.md"} <= shipped
        assert "gatt run gatt/recipes/tiny.toml" in (work / "shipped" / name / "README.md").read_text()
    assert len((work / "shipped" / "scripts.jsonl").read_text().splitlines()) == 4 + 4 + 2
    assert_nothing_held_out_was_tuned_on((work / "synthesize" / "rows.jsonl").read_text())

    before = (work / "train" / "model.safetensors").stat().st_mtime_ns
    code, output = gatt("run", str(recipe_path))
    assert code == 0
    assert output.count("done before, skipped") == 6
    assert (work / "train" / "model.safetensors").stat().st_mtime_ns == before


def assert_nothing_held_out_was_tuned_on(rows: str) -> None:
    """Whatever the model answered, instructions and user turns name nothing that was held out."""
    for line in rows.splitlines():
        row = json.loads(line)
        assert not {"greeting", "brackets"} & set(row["families"])
        said = [message["content"] for message in row["prompt"] if message["role"] != "assistant"]
        unseen = [value for name in ("figure", "hobby", "city", "pet") for value in BY_NAME[name].unseen]
        assert mentions(said, unseen) == {} or row["families"] == []


def test_a_stage_says_what_to_run_first(recipe_path: Path) -> None:
    code, output = gatt("synthesize", str(recipe_path))
    assert code == 1
    assert "run `gatt pretrain` first" in output


def test_a_wrong_recipe_is_bad_usage(tmp_path: Path) -> None:
    code, output = gatt("run", str(tmp_path / "missing.toml"))
    assert code == 2
    assert "missing.toml: cannot be read" in output


def test_pretraining_goes_on_from_its_checkpoint_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phases = [Phase("short", 4, 1e-3), Phase("long", 2, 1e-3)]
    shape = Shape(vocab_size=500, hidden_size=16, intermediate_size=32, layers=1, heads=2)

    def trained(folder: Path, stop_at: int | None = None) -> bytes:
        def progress(phase: str, step: int, steps: int, loss: float) -> None:
            if step == stop_at:
                raise KeyboardInterrupt

        pretrain(folder, phases, shape, 0, 512, 2, 100, progress)
        return (folder / "model.safetensors").read_bytes()

    whole = trained(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "cut", stop_at=3)
    assert not (tmp_path / "cut" / "model.safetensors").exists()
    assert trained(tmp_path / "cut") == whole
