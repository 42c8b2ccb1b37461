"""Files in the formats of published benchmarks become scripts; others are named with what is wrong."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks import datasets
from benchmarks.__main__ import main
from benchmarks.journal import Journal
from tests.benchmarks.fake_gateway import FakeGateway

USER = json.dumps({"role": "user", "content": "Write."})


def multi_if(path: Path, **changes: str) -> Path:
    row = {
        "key": "7",
        "language": "English",
        "turn_1_prompt": USER,
        "turn_1_instruction_id_list": '["punctuation:no_comma"]',
        "turn_1_kwargs": '["{}"]',
        "turn_2_prompt": USER,
        "turn_2_instruction_id_list": '["punctuation:no_comma", "detectable_format:number_bullet_lists"]',
        "turn_2_kwargs": json.dumps(["{}", json.dumps({"num_bullets": 1, "relation": None})]),
        "turn_3_prompt": "None",
    } | changes
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerow(row)
    return path


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_multi_if_is_judged_turn_by_turn(tmp_path: Path) -> None:
    (one,) = datasets.load(multi_if(tmp_path / "m.csv"))
    assert (one.id, one.split, one.length(20)) == ("multi-if-7", "multi-if-English", 2)
    assert one.adherent("a b", 1) is True
    assert one.adherent("a, b", 1) is False
    assert one.adherent("a b", 2) is False
    assert one.adherent("* a b", 2) is True


def test_multichallenge_goes_on_from_its_conversation_and_needs_a_judge(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    said = [("user", "No nuts."), ("assistant", "Noted."), ("user", "A recipe?")]
    row = {
        "QUESTION_ID": "q1",
        "AXIS": "INSTRUCTION_RETENTION",
        "CONVERSATION": [{"role": role, "content": text} for role, text in said],
        "TARGET_QUESTION": "Is it free of nuts?",
        "PASS_CRITERIA": "YES",
    }
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    (one,) = datasets.load(path)
    assert [message["content"] for message in one.history] == ["No nuts.", "Noted."]
    assert one.turn(1).user == "A recipe?"
    assert "Is it free of nuts?" in (one.turn(1).criterion or "")
    assert one.adherent("Walnuts!") is None


def test_sysbench_and_persona_lists_are_read(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    messages = [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]
    infos = [{"criteria": {"1": {"criteria_content": "Stays short."}}}]
    path.write_text(json.dumps([{"system_id": 3, "messages": messages, "prompt_infos": infos}]), encoding="utf-8")
    (one,) = datasets.load(path)
    assert (one.instruction, one.turn(1).criterion) == ("S", "Stays short.")
    check = {"kind": "contains", "text": "Ada"}
    path.write_text(json.dumps([{"prompt": "You are Ada.", "probe": "Who?", "check": check}]), encoding="utf-8")
    (one,) = datasets.load(path)
    assert (one.instruction, one.length(20)) == ("You are Ada.", 20)
    assert one.adherent("I am Ada", 5) is True


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("m.csv", "a,b\n1,2\n", "not Multi-IF: the columns turn_1_instruction_id_list, turn_1_kwargs"),
        ("m.csv", None, "m.csv:2: turn_1: a list of arguments is needed"),
        ("m.jsonl", "{", "m.jsonl:1: not a script"),
        ("m.jsonl", '{"CONVERSATION"', "m.jsonl:1: no JSON"),
        ("m.jsonl", '{"CONVERSATION": []}\n', "CONVERSATION must end with the user message"),
        ("m.jsonl", '{"CONVERSATION": "hi"}\n', "a list of messages with 'role' and 'content' is needed"),
        ("m.json", "{}", "neither SysBench nor a list of prompts and probes"),
        ("m.json", '[{"messages": []}]', "m.json[0]: not SysBench"),
        ("m.json", '[{"probe": "x", "prompt": "y"}]', "m.json[0]: 'check' is missing"),
        ("m.json", '[{"probe": "x", "prompt": "y", "check": {"kind": "?"}}]', "m.json[0]: unknown check kind"),
        ("m.json", '[{"probe": "x", "prompt": "y", "check": {"kind": "json"}, "chat": "Hi"}]', "'chat' must be a list"),
    ],
)
def test_a_file_in_the_wrong_format_is_named_with_its_place(
    tmp_path: Path, name: str, content: str | None, words: str
) -> None:
    path = tmp_path / name
    if content is None:
        multi_if(path, turn_1_kwargs="[]")
    else:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(words)):
        datasets.load(path)
    done = CliRunner().invoke(main, ["adherence", "--gateway", "http://127.0.0.1:1", "--scripts", str(path)])
    assert done.exit_code == 2
    assert words in done.output.replace("\n", " ")


def test_probes_are_asked_on_forks_that_the_conversation_never_hears_of(tmp_path: Path) -> None:
    path = tmp_path / "probes.json"
    check = {"kind": "starts_with", "text": "Ada"}
    chat = ["How are you?", "And now?", "Bye."]
    path.write_text(json.dumps([{"prompt": "Say Ada", "probe": "Who are you?", "check": check, "chat": chat}]))
    with FakeGateway() as gateway:
        command = ["adherence", "--gateway", gateway.url, "--scripts", str(path), "--out", str(tmp_path)]
        done = CliRunner().invoke(main, [*command, "--arm", "gatt-vs-repeat:gatt", "--arm", "gatt-vs-repeat:untreated"])
    assert done.exit_code == 0, done.output
    sent = [
        [message["content"] for message in request["messages"] if message["role"] == "user"]
        for request in gateway.requests
        if request["model"] == "gatt-vs-repeat:gatt"
    ]
    forks = [said for said in sent if said[-1] == "Who are you?"]
    assert forks == [[*chat[:turn], "Who are you?"] for turn in (1, 2, 3)]
    assert [said for said in sent if said not in forks] == [chat[:turn] for turn in (1, 2, 3)]
    result = json.loads((tmp_path / "adherence.json").read_text(encoding="utf-8"))
    adherence = {(row["arm"], row["turn"]): row["adherence"] for row in result["rows"] if row["answers"]}
    assert adherence == {**{("gatt", t): 1 for t in (1, 2, 3)}, **{("untreated", t): 0 for t in (1, 2, 3)}}


def test_any_arms_are_compared_and_an_interrupted_run_goes_on(scripts: Path, tmp_path: Path) -> None:
    with FakeGateway() as gateway:
        command = ["adherence", "--gateway", gateway.url, "--scripts", str(scripts), "--out", str(tmp_path)]
        command += ["--turns", "2", "--limit", "1", "--arm", "gatt-vs-repeat:gatt", "--arm", "gatt-vs-repeat:untreated"]
        assert CliRunner().invoke(main, command).exit_code == 0
        first = len(gateway.requests)
        assert not (tmp_path / "adherence.journal.jsonl").exists()
        gateway.fail_at_turn = 2
        assert CliRunner().invoke(main, command).exit_code == 1
        gateway.fail_at_turn = None
        journal = (tmp_path / "adherence.journal.jsonl").read_text(encoding="utf-8").splitlines()
        assert len(journal) == 1  # nothing was whole
        assert CliRunner().invoke(main, command).exit_code == 0
    assert first == 3 * 2 * 2
    result: dict[str, Any] = json.loads((tmp_path / "adherence.json").read_text(encoding="utf-8"))
    assert {row["arm"] for row in result["rows"]} == {"gatt", "untreated"}
    assert (tmp_path / "adherence.png").stat().st_size > 0


def test_the_journal_knows_what_was_held_in_the_same_run_only(scripts: Path, tmp_path: Path) -> None:
    from benchmarks.client import Answer, Conversation

    (one, *_) = datasets.load(scripts)
    path = tmp_path / "journal.jsonl"
    Journal(path, ["run"]).add(
        Conversation("c", one, "e:a", "a", [Answer(1, "hi", True, None, 1.0)], rows=[{"turn": 1}])
    )
    path.write_text(path.read_text(encoding="utf-8") + '{"script": "cut o', encoding="utf-8")
    again = Journal(path, ["run"]).get(one, "e:a")
    assert again is not None
    assert (again.arm, again.answers[0].adherent, again.rows) == ("a", True, [{"turn": 1}])
    assert Journal(path, ["another"]).get(one, "e:a") is None
