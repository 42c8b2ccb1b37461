"""A recipe that cannot be read is refused with file, key and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatt.recipe import RecipeError, load

SHIPPED = Path(__file__).parents[2] / "gatt" / "recipes" / "miniature.toml"


def test_the_shipped_recipe_is_read() -> None:
    assert load(SHIPPED).name == "miniature"


@pytest.mark.parametrize(
    ("right", "wrong", "named"),
    [
        ("candidates = 3", "candidats = 3", "synthesize.candidats"),
        ("candidates = 3", "candidates = 0", "candidates must be at least 1"),
        ("steps = 850", 'steps = "many"', "train.rounds.0.steps"),
        ("seed = 0", "sed = 0", "sed"),
        ("later = 0.63", "later = 0.5", "shares must sum to 1"),
        ('work = "runs/miniature"', "", "work"),
        ("hidden_size = 192", "hidden = 192", "pretrain.shape.hidden"),
    ],
)
def test_a_wrong_key_is_named_with_its_file(right: str, wrong: str, named: str, tmp_path: Path) -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    assert right in text
    path = tmp_path / "wrong.toml"
    path.write_text(text.replace(right, wrong), encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert named in str(caught.value)


def test_what_is_no_toml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text("name = ", encoding="utf-8")
    with pytest.raises(RecipeError, match="not TOML"):
        load(path)
    with pytest.raises(RecipeError, match="cannot be read"):
        load(tmp_path / "missing.toml")
