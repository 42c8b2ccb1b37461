"""The models in the repository do what their cards say, on a small sample, and are what the gateway can carry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gatt import sampling, script
from gatt.evaluate import converse, summary

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ROOT = Path(__file__).parents[2]
EMBEDDED = ROOT / "gateway" / "embedded"
SCRIPTS = ROOT / "benchmarks" / "scripts" / "miniature.jsonl"
Loaded = tuple["PreTrainedModel", "PreTrainedTokenizerBase"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def base() -> Loaded:
    return sampling.load(str(EMBEDDED / "mini-base"))


@pytest.fixture(scope="module")
def tuned() -> Loaded:
    return sampling.load(str(EMBEDDED / "mini-gatt"))


def figures(loaded: Loaded, split: str, strategy: str, n: int = 8, turns: int = 20) -> dict[str, Any]:
    chosen = [one for one in script.read(SCRIPTS) if one.split == split][:n]
    return summary(converse(*loaded, chosen, strategy, turns))


def test_told_once_the_tuned_model_keeps_unseen_attributes_to_turn_20(tuned: Loaded) -> None:
    found = figures(tuned, "unseen_attributes", "once")
    assert sum(found["adherence_by_turn"]) / 20 >= 0.95
    assert found["adherence_by_turn"][-1] >= 0.85
    assert found["facts"] >= 0.95


def test_told_once_the_base_model_forgets(base: Loaded) -> None:
    found = figures(base, "unseen_attributes", "once", turns=8)
    assert found["adherence_by_turn"][0] >= 0.85
    assert max(found["adherence_by_turn"][3:]) <= 0.2


def test_told_in_every_turn_the_base_model_keeps_the_instruction(base: Loaded) -> None:
    found = figures(base, "unseen_attributes", "every-turn")
    assert min(share for share in found["adherence_by_turn"][:16]) >= 0.85
    assert found["facts"] >= 0.95


def test_plain_conversations_stay_plain(tuned: Loaded) -> None:
    assert min(figures(tuned, "plain", "once")["adherence_by_turn"]) >= 0.85


@pytest.mark.parametrize("name", ["mini-base", "mini-gatt"])
def test_a_shipped_model_is_small_and_has_its_card(name: str) -> None:
    folder = EMBEDDED / name
    assert (folder / "model.safetensors").stat().st_size <= 12_000_000
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "gatt run gatt/recipes/miniature.toml" in card
    assert "license: apache-2.0" in card
    model, tokenizer = sampling.load(str(folder))
    assert type(model).__name__ == "LlamaForCausalLM"
    assert sampling.window(model) == tokenizer.model_max_length == 1024
    assert model.num_parameters() <= 6_000_000


def test_the_scripts_outlast_the_window() -> None:
    scripts = script.read(SCRIPTS)
    assert {one.split for one in scripts} == {"unseen_attributes", "unseen_families", "plain"}
    assert all(len(one.turns) >= 48 for one in scripts)
