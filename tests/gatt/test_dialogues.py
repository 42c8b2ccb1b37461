"""Dialogues of every shape are read alike, and what is wrong with a file is said with its line."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

import pytest

from gatt.dialogues import DialogueError, read

OPENAI = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]}
SHAREGPT = {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."}]}


def written(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_openai_sharegpt_and_user_turns_are_read_alike(tmp_path: Path) -> None:
    path = written(tmp_path / "d.jsonl", OPENAI, SHAREGPT, {"turns": ["Hi", "And you?"], "id": "mine"})
    first, second, third = read(path)
    assert first.messages == second.messages
    assert (third.id, third.user_turns, third.answers) == ("mine", ["Hi", "And you?"], [])
    assert first.place == f"{path}:1"


def test_lines_end_where_the_file_says_and_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    text = '{"turns": ["one\u2028two"]}\r\n{"turns": ["three"], "risky": true}'
    (tmp_path / "d.jsonl").write_bytes(codecs.BOM_UTF8 + text.encode())
    first, second = read(tmp_path / "d.jsonl")
    assert first.user_turns == ["one\u2028two"]
    assert (first.risky, second.risky) == (False, True)


def test_a_json_list_and_datasets_folders_are_read(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    (tmp_path / "d.json").write_text(json.dumps([SHAREGPT]), encoding="utf-8")
    assert read(tmp_path / "d.json")[0].answers == ["Hello."]
    Dataset.from_list([OPENAI, OPENAI]).save_to_disk(tmp_path / "set")
    assert len(read(tmp_path / "set")) == 2
    DatasetDict({"train": Dataset.from_list([OPENAI])}).save_to_disk(tmp_path / "sets")
    assert read(Path(f"{tmp_path}/sets#train"))[0].place.endswith("row 0")
    with pytest.raises(DialogueError, match=r"name one of its splits: .*sets#train"):
        read(tmp_path / "sets")


def test_a_system_message_is_the_instruction_and_parts_of_text_are_joined(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "Hi"}, {"type": "text", "text": "there"}]
    row = {"messages": [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}]}
    (one,) = read(written(tmp_path / "d.jsonl", row))
    assert (one.instruction, one.user_turns) == ("Be brief.", ["Hi\n\nthere"])


def user(text: Any = "Hi") -> dict[str, Any]:
    return {"role": "user", "content": text}


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ({"messages": [{"content": "Hi"}]}, "message 1 has no role"),
        ({"messages": [{"role": "tool", "content": "Hi"}]}, "role 'tool'"),
        ({"messages": [user(), user()]}, "message 2: two user messages in a row"),
        ({"messages": [user(), {"role": "assistant", "content": " "}]}, "message 2 is empty"),
        ({"messages": [user(None)]}, "message 1 is empty"),
        ({"messages": [{"role": "assistant", "content": "Hi"}]}, "the user says nothing"),
        ({"messages": [{"role": "assistant", "content": "Hi"}, user()]}, "message 1: an answer without a question"),
        ({"messages": [{"role": "system", "content": "S"}] * 2 + [user()]}, "second system message"),
        ({"messages": [{"role": "system", "content": "S"}]}, "the user says nothing"),
        ({"messages": [user([{"type": "image_url", "image_url": {}}])]}, "no text"),
        ({"messages": []}, "messages must be a list"),
        ({"conversations": [{"value": "Hi"}]}, "message 1 has no 'from'"),
        ({"conversations": [{"from": "bystander", "value": "Hi"}]}, "from 'bystander'"),
        ({"turns": ["Hi", ""]}, "turn 2 is empty"),
        ({"text": "Hi"}, "no dialogue here"),
        ({"turns": ["Hi"], "risky": "yes"}, "risky must be true or false"),
    ],
)
def test_a_faulty_dialogue_is_named_by_file_and_line(row: dict[str, Any], named: str, tmp_path: Path) -> None:
    path = written(tmp_path / "d.jsonl", OPENAI, row)
    with pytest.raises(DialogueError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert named in str(caught.value)


def test_all_faults_are_told_at_once_the_rest_counted(tmp_path: Path) -> None:
    path = written(tmp_path / "d.jsonl", *[{"turns": [""]}] * 13)
    with pytest.raises(DialogueError) as caught:
        read(path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 11
    assert lines[-1] == "and 3 more such lines"


def test_files_that_hold_no_dialogues_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text("{\n")
    (tmp_path / "gap.jsonl").write_text('{"turns": ["a"]}\n\n{"turns": ["b"]}\n')
    (tmp_path / "latin.jsonl").write_bytes('{"turns": ["café"]}\n'.encode("latin-1"))
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "map.json").write_text("{}")
    (tmp_path / "folder").mkdir()
    twins = written(tmp_path / "twins.jsonl", {"turns": ["a"], "id": "x"}, {"turns": ["b"], "id": "x"})
    for path, named in (
        (tmp_path / "bad.jsonl", r"bad\.jsonl:1: not JSON"),
        (tmp_path / "gap.jsonl", r"gap\.jsonl:2: the line is empty"),
        (tmp_path / "latin.jsonl", r"latin\.jsonl:1: not UTF-8"),
        (tmp_path / "empty.jsonl", "holds no dialogue"),
        (tmp_path / "map.json", "list of dialogues"),
        (tmp_path / "missing.jsonl", "cannot be read"),
        (tmp_path / "folder", "no Hugging Face datasets"),
        (twins, r"id 'x' is also that of .*twins\.jsonl:1"),
    ):
        with pytest.raises(DialogueError, match=named):
            read(path)
