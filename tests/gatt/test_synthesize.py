"""Sampled dialogues become rows that hold the instruction in turn 1 only, and a rerun gives the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gatt import sampling, synthesize
from gatt.miniature import scripts
from gatt.script import Script

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

HOW = synthesize.Sampling(candidates=2, minimum_score=0.0, max_new_tokens=6, shard_dialogues=2)


def some(n: int = 4, turns: int = 3) -> list[Script]:
    return scripts.draw("tuned", n, turns, ("greeting",), "test")


def test_a_row_holds_its_instruction_at_the_head_and_nowhere_else() -> None:
    dialogues = [synthesize.Dialogue(one, ["r1", "r2", "r3"], [[1.0]] * 3) for one in some()]
    made = synthesize.rows(dialogues)
    assert [row["turn"] for row in made[:3]] == [1, 2, 3]
    assert [row["kind"] for row in made[:3]] == ["first", "later", "later"]
    for row in made:
        script = next(one for one in some() if one.id == row["script"])
        assert row["prompt"][0] == {"role": "system", "content": script.instruction}
        assert not any(script.instruction in message["content"] for message in row["prompt"][1:])
        assert [message["role"] for message in row["prompt"][1:]] == ["user", "assistant"] * (row["turn"] - 1) + [
            "user"
        ]
        assert row["completion"] == [{"role": "assistant", "content": f"r{row['turn']}"}]


def test_a_dialogue_ends_where_no_candidate_is_right(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = some(1)[0]
    answers = iter([[["no", "no"]], [["never", "reached"]]])
    monkeypatch.setattr(sampling, "prompt_ids", lambda tokenizer, messages: [0])
    monkeypatch.setattr(sampling, "window", lambda model: 1024)
    monkeypatch.setattr(sampling, "replies", lambda *_: next(answers))
    how = synthesize.Sampling(candidates=2)
    (dialogue,) = synthesize.synthesize(None, None, [script], how, tmp_path, "0")  # type: ignore[arg-type]
    assert dialogue.replies == []
    assert dialogue.scores == [[0.0, 0.0]]
    assert not dialogue.alive


def test_the_best_candidate_goes_into_the_history(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = some(1, turns=2)[0]
    asked: list[Sequence[dict[str, Any]]] = []
    right = [f"{check.get('text', '')} {turn.fact['text']}" for turn in script.turns for check in script.checks[:1]]
    answers = iter([[["no", right[0]]], [[right[1], "no"]]])

    def remember(tokenizer: object, messages: Sequence[dict[str, Any]]) -> list[int]:
        asked.append(messages)
        return [0]

    monkeypatch.setattr(sampling, "prompt_ids", remember)
    monkeypatch.setattr(sampling, "window", lambda model: 1024)
    monkeypatch.setattr(sampling, "replies", lambda *_: next(answers))
    how = synthesize.Sampling(candidates=2, minimum_score=0.5)
    (dialogue,) = synthesize.synthesize(None, None, [script], how, tmp_path, "0")  # type: ignore[arg-type]
    assert dialogue.replies == right
    assert script.instruction is not None
    assert asked[1][1] == {"role": "assistant", "content": right[0]}
    assert all(message["content"].endswith(script.instruction) for message in asked[1] if message["role"] == "user")


@pytest.mark.slow
def test_an_interrupted_run_repeats_nothing_and_gives_the_same_bytes(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    def sample(folder: Path) -> dict[str, bytes]:
        synthesize.synthesize(model, tokenizer, some(), HOW, folder, "7")
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}

    whole = sample(tmp_path / "whole")
    assert len(whole) == 2
    resumed = tmp_path / "resumed"
    sample(resumed)
    (resumed / "shard-0001.jsonl").unlink()
    untouched = (resumed / "shard-0000.jsonl").stat().st_mtime_ns
    assert sample(resumed) == whole
    assert (resumed / "shard-0000.jsonl").stat().st_mtime_ns == untouched


def test_no_candidates_at_all_are_refused() -> None:
    with pytest.raises(ValueError, match="candidates must be at least 1, not 0"):
        synthesize.Sampling(candidates=0)
