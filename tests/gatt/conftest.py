"""A miniature of the miniature: a random model and a tokenizer of the world, made on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

RECIPE = """
name = "tiny"
seed = 1
work = "{work}"

[pretrain]
tokens_per_step = 512
checkpoint_every = 2
tokenizer_samples = 200
phases = [
    {{ dialogues = "short", steps = 3, learning_rate = 1e-3 }},
    {{ dialogues = "long", steps = 2, learning_rate = 1e-3 }},
]

[pretrain.shape]
vocab_size = 600
hidden_size = 32
intermediate_size = 64
layers = 2
heads = 2

[instructions]
unseen_families = ["greeting", "brackets"]
dialogues = [
    {{ turns = 2, instructed = 4, plain = 2 }},
    {{ turns = 3, instructed = 2, plain = 1, cancelled = 1, replaced = 1 }},
]

[instructions.held_out]
unseen_attributes = 4
unseen_families = 4
plain = 2
cancelled = 2
replaced = 2
turns = 4

[synthesize]
candidates = 2
minimum_score = 0.0
max_new_tokens = 6
shard_dialogues = 3

[train]
rounds = [{{ steps = 2 }}, {{ steps = 2, by_turn = true }}]
rows_per_step = 2
checkpoint_every = 2

[evaluate]
turns = 2
conversations = 3
max_new_tokens = 6

[ship]
base = "{work}/shipped/base"
tuned = "{work}/shipped/tuned"
scripts = "{work}/shipped/scripts.jsonl"
"""


@pytest.fixture
def recipe_path(tmp_path: Path) -> Path:
    """A recipe that runs from nothing to the shipped folders within seconds; its models know nothing."""
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE.format(work=tmp_path / "work"), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """The world's tokenizer, from a small sample."""
    from gatt.miniature.pretrain import build_tokenizer

    return build_tokenizer(seed=1, vocab_size=800, samples=400)


@pytest.fixture
def model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A small Llama with random weights."""
    from gatt.miniature.pretrain import Shape, build_model

    return build_model(Shape(hidden_size=32, intermediate_size=64, layers=2, heads=2), tokenizer, seed=1)


@pytest.fixture(scope="session")
def model_folder(tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small Llama with random weights and its tokenizer, as `transformers` saves them."""
    from gatt.miniature.pretrain import Shape, build_model

    folder = tmp_path_factory.mktemp("model")
    build_model(Shape(hidden_size=32, intermediate_size=64, layers=2, heads=2), tokenizer, seed=1).save_pretrained(
        folder
    )
    tokenizer.save_pretrained(folder)
    return folder
