"""Scripts survive their file, and a line that cannot be read is named."""

from __future__ import annotations

from pathlib import Path

import pytest

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
