"""Scripts survive their file, and a line that cannot be read is named."""

from __future__ import annotations

from pathlib import Path

import pytest

import strategies
from gatt import script
from gatt.miniature import scripts


def test_scripts_come_back_as_they_were_written(tmp_path: Path) -> None:
    drawn = scripts.draw("tuned", 5, 3, (), "test") + scripts.draw("plain", 2, 3, (), "test")
    script.write(tmp_path / "scripts.jsonl", drawn)
    assert script.read(tmp_path / "scripts.jsonl") == drawn


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("{", "not JSON"),
        ("[]", "a JSON object is needed"),
        ('{"id": "x"}', "field 'checks' is missing"),
        (
            '{"id": "x", "split": "p", "families": [], "instruction": null, "checks": [{"kind": "?"}], "turns": []}',
            "'?'",
        ),
    ],
)
def test_a_line_that_cannot_be_read_is_named(line: str, named: str, tmp_path: Path) -> None:
    path = tmp_path / "scripts.jsonl"
    script.write(path, scripts.draw("plain", 1, 1, (), "test"))
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ValueError, match=r"scripts\.jsonl:2: ") as caught:
        script.read(path)
    assert named in str(caught.value)


def test_messages_hold_the_instruction_at_the_head_and_the_history() -> None:
    one = scripts.draw("tuned", 1, 3, (), "test")[0]
    messages = one.messages(["A1"])
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert messages[-1]["content"] == one.turns[1].user


def changed(instruction: str | None) -> script.Script:
    turns = tuple(script.Turn(f"Q{number}", {"kind": "contains", "text": "A"}) for number in range(4))
    new = ({"kind": "contains", "text": "new"},)
    change = script.Change(2, instruction, new)
    return script.Script("x", "s", (), (), "Old.", ({"kind": "contains", "text": "old"},), turns, (change,))


def test_a_new_instruction_stands_behind_the_question_of_its_turn_and_nowhere_else() -> None:
    spoken = [message["content"] for message in changed("New.").messages(["A0", "A1", "A2"])]
    assert spoken == ["Old.", "Q0", "A0", "Q1", "A1", "Q2\n\nNew.", "A2", "Q3"]


def test_repetition_repeats_the_instruction_that_holds() -> None:
    strategy = strategies.make("every-turn")
    spoken = [message["content"] for message in changed("New.").repeated(["A0", "A1", "A2"], strategy)]
    assert spoken == ["Q0\n\nOld.", "A0", "Q1\n\nOld.", "A1", "Q2\n\nNew.", "A2", "Q3\n\nNew."]
    cancelled = [message["content"] for message in changed(None).repeated(["A0", "A1"], strategy)]
    assert cancelled == ["Q0\n\nOld.", "A0", "Q1\n\nOld.", "A1", "Q2"]


def test_a_reply_is_held_to_the_instruction_of_its_turn(tmp_path: Path) -> None:
    script.write(tmp_path / "scripts.jsonl", [changed("New.")])
    (one,) = script.read(tmp_path / "scripts.jsonl")
    assert one == changed("New.")
    assert [one.adherent(turn, "old") for turn in range(4)] == [True, True, False, False]
    assert [one.adherent(turn, "new") for turn in range(4)] == [False, False, True, True]
