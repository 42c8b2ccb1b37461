"""What tuning sees and what it never sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatt import instructions
from gatt.miniature import scripts
from gatt.miniature.families import BY_NAME, FAMILIES
from gatt.miniature.world import CANCELS_UNSEEN
from gatt.recipe import load

RECIPE = Path(__file__).parents[2] / "gatt" / "recipes" / "miniature.toml"
UNSEEN = load(RECIPE).instructions.unseen_families


def held_out_words() -> list[str]:
    words = [value for family in FAMILIES if family.name not in UNSEEN for value in family.unseen]
    return words + [value for name in UNSEEN for value in BY_NAME[name].values if value]


def test_no_tuned_script_holds_a_held_out_attribute_or_family() -> None:
    tuned = scripts.draw("tuned", 1500, 3, UNSEEN, "test") + scripts.draw("plain", 200, 3, UNSEEN, "test")
    for change in instructions.CHANGED_SPLITS:
        tuned += scripts.draw("tuned", 500, 3, UNSEEN, "test", change)
    assert not {family for script in tuned for family in script.families} & set(UNSEEN)
    texts = [script.instruction for script in tuned if script.instruction]
    texts += [turn.user for script in tuned for turn in script.turns]
    texts += [change.instruction for script in tuned for change in script.changes if change.instruction]
    assert not set(CANCELS_UNSEEN) & set(texts)
    assert instructions.mentions(texts, held_out_words()) == {}


def test_held_out_scripts_hold_nothing_that_was_tuned_on() -> None:
    tuned = scripts.draw("tuned", 1500, 3, UNSEEN, "test")
    for split in (instructions.UNSEEN_ATTRIBUTES, instructions.UNSEEN_FAMILIES, *instructions.CHANGED_SPLITS):
        instructions.assert_disjoint(tuned, scripts.draw(split, 200, 3, UNSEEN, "test"))


def test_a_leak_between_splits_is_named() -> None:
    leaked = scripts.draw("tuned", 1, 1, UNSEEN, "test")
    held = scripts.draw("unseen_families", 1, 1, UNSEEN, "test")
    with pytest.raises(instructions.SplitError, match="greeting"):
        instructions.assert_disjoint(scripts.draw("unseen_families", 1, 1, UNSEEN, "other"), held)
    same = scripts.draw("unseen_attributes", 1, 1, UNSEEN, "test")
    with pytest.raises(instructions.SplitError, match="attribute"):
        instructions.assert_disjoint(leaked + same, same)


def test_the_same_seed_draws_the_same_scripts_and_half_are_shortened() -> None:
    drawn = scripts.draw("tuned", 600, 2, UNSEEN, "seed")
    assert drawn == scripts.draw("tuned", 600, 2, UNSEEN, "seed")
    assert drawn != scripts.draw("tuned", 600, 2, UNSEEN, "another seed")
    short = [script for script in drawn if script.instruction and ": " in script.instruction]
    assert 0.4 < len(short) / len(drawn) < 0.6
    pairs = [script for script in drawn if len(script.families) == 2]
    assert 0.1 < len(pairs) / len(drawn) < 0.3


def test_a_replaced_instruction_leaves_nothing_of_the_old_one_to_hold() -> None:
    drawn = scripts.draw("replaced", 200, 5, UNSEEN, "test")
    assert all(0 < script.changes[0].turn < 4 for script in drawn)
    assert all(script.instruction != script.changes[0].instruction for script in drawn)
    late = [script for script in drawn if script.instruction is None]
    assert 0.15 < len(late) / len(drawn) < 0.5


def test_unseen_families_take_turns() -> None:
    drawn = scripts.draw("unseen_families", 2 * len(UNSEEN), 1, UNSEEN, "test")
    assert [script.families[0] for script in drawn] == [*UNSEEN, *UNSEEN]


def test_the_world_is_as_large_as_promised() -> None:
    from gatt.miniature.world import TOPICS

    assert len(TOPICS) >= 12
    assert all(len(topic.phrasings) >= 3 for topic in TOPICS)
    assert len(FAMILIES) >= 16
    assert len(UNSEEN) >= 3


def test_an_unknown_family_is_named() -> None:
    with pytest.raises(ValueError, match="unknown family 'hats'"):
        scripts.draw("tuned", 1, 1, ["hats"], "test")
