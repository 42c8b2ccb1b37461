"""Sampled dialogues become rows that hold the instruction in turn 1 only, and a rerun gives the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gatt import synthesize
from gatt.journal import Journal
from gatt.miniature import scripts
from gatt.samplers.base import Draw, Failure, Keep, Message, Request
from gatt.samplers.local import LocalSampler
from gatt.script import Script

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

HOW = synthesize.Sampling(candidates=2, minimum_score=0.0, max_new_tokens=6, shard_dialogues=2)


class Scripted:
    """A sampler that answers by a rule and remembers what it was asked; `fails` names rows that it cannot answer."""

    def __init__(self, answer: Callable[[Request, int], str], batches: bool = False, fails: str = "nothing") -> None:
        self.answer, self.batches, self.fails = answer, batches, fails
        self.asked: list[Request] = []

    def draw(self, requests: Sequence[Request], how: Draw, keep: Keep) -> list[Failure]:
        failures = []
        for at, request in enumerate(requests):
            self.asked.append(request)
            if self.fails in request.row:
                failures.append(Failure(request.row, "status 500: no"))
            else:
                keep(at, [self.answer(request, number) for number in range(how.candidates)])
        return failures


def some(n: int = 4, turns: int = 3) -> list[Script]:
    return scripts.draw("tuned", n, turns, ("greeting",), "test")


def told(request: Request, number: int) -> str:
    return f"{number}: {request.messages[-1]['content'][:20]}"


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_row_holds_its_instruction_at_the_head_and_nowhere_else() -> None:
    dialogues = [synthesize.Dialogue(one, ["r1", "r2", "r3"], [[1.0]] * 3) for one in some()]
    made = synthesize.rows(dialogues, HOW)
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


def test_rows_after_a_change_are_of_a_kind_of_their_own() -> None:
    for change in ("cancelled", "replaced"):
        (script,) = scripts.draw("tuned", 1, 5, ("greeting",), "test", change)
        at = script.changes[0].turn
        made = synthesize.rows([synthesize.Dialogue(script, ["r"] * 5, [[1.0]] * 5)], HOW)
        assert [row["kind"] for row in made[at:]] == [change] * (5 - at)
        assert change not in [row["kind"] for row in made[:at]]
        new = script.changes[0].instruction
        said = [message["content"] for message in made[-1]["prompt"] if message["role"] == "user"]
        assert [bool(new) and new in text for text in said] == [turn == at and bool(new) for turn in range(5)]


def test_a_dialogue_ends_where_no_candidate_is_right(tmp_path: Path) -> None:
    sampler = Scripted(lambda request, number: "no")
    (dialogue,) = synthesize.synthesize(sampler, some(1), synthesize.Sampling(candidates=2), tmp_path, "0")
    assert dialogue.replies == []
    assert dialogue.scores == [[0.0, 0.0]]
    assert not dialogue.alive
    assert len(sampler.asked) == 1


def test_the_best_candidate_goes_into_the_history_and_the_instruction_into_every_turn(tmp_path: Path) -> None:
    script = some(1, turns=2)[0]
    facts = [turn.fact["text"] for turn in script.turns if turn.fact]
    right = [f"{check.get('text', '')} {fact}" for fact in facts for check in script.checks[:1]]
    sampler = Scripted(lambda request, number: right[len(request.messages) // 2] if number else "no")
    how = synthesize.Sampling(candidates=2, minimum_score=0.5)
    (dialogue,) = synthesize.synthesize(sampler, [script], how, tmp_path, "0")
    assert dialogue.replies == right
    assert [len(scores) for scores in dialogue.scores] == [2, 2]
    second = sampler.asked[1].messages
    assert second[1] == {"role": "assistant", "content": right[0]}
    assert all(
        script.instruction and message["content"].endswith(script.instruction)
        for message in second
        if message["role"] == "user"
    )


def test_the_history_holds_original_answers_when_the_switch_says_so(tmp_path: Path) -> None:
    script = some(1, turns=3)[0]
    sampler = Scripted(told)
    how = replace(HOW, history="original", placed=True)
    dialogues = synthesize.synthesize(sampler, [script], how, tmp_path, "0")
    originals = [turn.answer for turn in script.turns]

    def answers(messages: Sequence[Message]) -> list[str]:
        return [message["content"] for message in messages if message["role"] == "assistant"]

    assert [answers(request.messages) for request in sampler.asked] == [[], originals[:1], originals[:2]]
    last = synthesize.rows(dialogues, how)[-1]
    assert answers(last["prompt"]) == answers(last["placed"]) == originals[:2]
    assert last["completion"][0]["content"] not in originals
    bare = replace(script, turns=tuple(replace(turn, answer=None) for turn in script.turns))
    with pytest.raises(ValueError, match="original"):
        synthesize.synthesize(sampler, [bare], how, tmp_path / "bare", "0")


def test_contrast_asks_for_each_instructed_row_without_repetition(tmp_path: Path) -> None:
    told_scripts = [*some(2), *scripts.draw("plain", 1, 3, (), "test")]
    how = replace(HOW, contrast=True)
    sampler = Scripted(told)
    made = synthesize.rows(synthesize.synthesize(sampler, told_scripts, how, tmp_path, "0"), how)
    sampler.asked.clear()
    contrasted = synthesize.contrast(sampler, made, told_scripts, how, tmp_path, "0")
    assert [list(request.messages) for request in sampler.asked] == [r["prompt"] for r in made if r["kind"] != "plain"]
    assert all(("rejected" in row) == (row["kind"] != "plain") for row in contrasted)
    synthesize.contrast(sampler, made, told_scripts, how, tmp_path, "0")
    assert len(sampler.asked) == 6


@pytest.mark.slow
def test_an_interrupted_run_repeats_nothing_and_gives_the_same_bytes(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    class Interrupted(LocalSampler):
        left = 99
        batches_drawn = 0

        def draw(self, requests: Sequence[Request], how: Draw, keep: Keep) -> list[Failure]:
            if self.left == self.batches_drawn:
                raise KeyboardInterrupt
            self.batches_drawn += 1
            return super().draw(requests, how, keep)

    def sample(folder: Path, stop_after: int = 99) -> int:
        sampler = Interrupted(model, tokenizer)
        sampler.left = stop_after
        synthesize.synthesize(sampler, some(), HOW, folder, "7")
        return sampler.batches_drawn

    assert sample(tmp_path / "whole") == 6
    with pytest.raises(KeyboardInterrupt):
        sample(tmp_path / "cut", stop_after=4)
    assert sample(tmp_path / "cut") == 2
    assert files_in(tmp_path / "cut") == files_in(tmp_path / "whole")


def test_rows_that_fail_are_named_and_asked_again_alone_in_the_next_run(tmp_path: Path) -> None:
    whole = Scripted(told)
    synthesize.synthesize(whole, some(), HOW, tmp_path / "whole", "0")
    failing = Scripted(told, fails=f"{some()[1].id}, turn 2")
    with pytest.raises(synthesize.SynthesisError, match=rf"1 rows .*{some()[1].id}, turn 2: status 500"):
        synthesize.synthesize(failing, some(), HOW, tmp_path / "cut", "0")
    mended = Scripted(told)
    synthesize.synthesize(mended, some(), HOW, tmp_path / "cut", "0")
    assert [request.row for request in mended.asked] == [f"{some()[1].id}, turn {turn}" for turn in (2, 3)]
    assert files_in(tmp_path / "cut") == files_in(tmp_path / "whole")


def test_a_journal_drops_the_line_that_a_crash_cut_short(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.jsonl") as journal:
        journal.add([{"n": 1}, {"n": 2}])
    with (tmp_path / "j.jsonl").open("a") as file:
        file.write('{"n": 3')
    with Journal(tmp_path / "j.jsonl") as journal:
        assert journal.rows == [{"n": 1}, {"n": 2}]
        journal.add([{"n": 4}])
    with Journal(tmp_path / "j.jsonl") as journal:
        assert journal.rows == [{"n": 1}, {"n": 2}, {"n": 4}]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"candidates": 0}, "candidates must be at least 1, not 0"),
        ({"history": "both"}, "resampled, original"),
        ({"scorer": "taste"}, "checks, reward, both"),
        ({"scorer": "both"}, "minimum_score = 1.0 is never reached"),
        ({"temperature": -1.0}, "temperature must be 0"),
        ({"max_new_tokens": 0}, "must be at least 1"),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        synthesize.Sampling(**wrong)  # type: ignore[arg-type]
