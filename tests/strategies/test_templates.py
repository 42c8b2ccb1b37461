"""What chat templates do to an instruction is found out, and GAtt's rows stay right under each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import strategies
from gatt.tuning.objectives import trainer
from gatt.tuning.rows import PrefixError, all_answers, fitting
from gatt.tuning.settings import Round, Tuning
from strategies import templates
from tests.gatt import chat_models

INSTRUCTION = "Act as Oscar Wilde."
TURNS = [("What is it?", "It is a cat."), ("And that?", "That is a dog."), ("Why?", "Nobody knows.")]

FOUND = {
    "llama-2": templates.Template(system="kept", appends=True, prefix=True, speaks_unasked=False),
    "llama-3": templates.Template(system="kept", appends=True, prefix=True, speaks_unasked=False),
    "chatml": templates.Template(system="kept", appends=True, prefix=True, speaks_unasked=False),
    "qwen-2.5": templates.Template(system="kept", appends=True, prefix=True, speaks_unasked=True),
    "qwen-3": templates.Template(system="kept", appends=False, prefix=True, speaks_unasked=False),
    "gemma": templates.Template(system="refused", appends=True, prefix=True, speaks_unasked=False),
    "mistral": templates.Template(system="moved", appends=True, prefix=True, speaks_unasked=False),
}


def messages(turns: int, instruction: str = INSTRUCTION) -> list[dict[str, Any]]:
    """The conversation up to the question of turn `turns`."""
    made = [{"role": "system", "content": instruction}]
    for user, answer in TURNS[: turns - 1]:
        made += [{"role": "user", "content": user}, {"role": "assistant", "content": answer}]
    return [*made, {"role": "user", "content": TURNS[turns - 1][0]}]


def rows() -> list[dict[str, Any]]:
    return [
        {
            "prompt": messages(turn),
            "completion": [{"role": "assistant", "content": TURNS[turn - 1][1]}],
            "kind": "later",
            "script": "one",
            "turn": turn,
        }
        for turn in (1, 2, 3)
    ]


@pytest.mark.parametrize("name", chat_models.KINDS)
def test_what_a_template_does_is_found_out(name: str) -> None:
    assert templates.inspect(chat_models.tokenizer(name)) == FOUND[name]


@pytest.mark.parametrize("name", chat_models.KINDS)
def test_said_once_the_instruction_stays_in_turn_1(name: str) -> None:
    tokenizer = chat_models.tokenizer(name)
    for turn in (1, 2, 3):
        text = templates.text(tokenizer, strategies.make("once").place(messages(turn)), add_generation_prompt=True)
        assert text.count(INSTRUCTION) == 1
        assert INSTRUCTION in text.partition(TURNS[0][1])[0]


@pytest.mark.parametrize("name", chat_models.KINDS)
def test_said_in_every_turn_it_stands_in_every_user_message(name: str) -> None:
    tokenizer = chat_models.tokenizer(name)
    text = templates.text(tokenizer, strategies.make("every-turn").place(messages(3)), add_generation_prompt=True)
    assert text.count(INSTRUCTION) == 3
    for user, _ in TURNS:
        assert f"{user}\n\n{INSTRUCTION}" in text


@pytest.mark.slow
@pytest.mark.parametrize("name", chat_models.KINDS)
def test_the_loss_falls_on_the_last_answer_and_its_end_under_every_template(name: str, tmp_path: Path) -> None:
    tokenizer = chat_models.tokenizer(name)
    kept, too_long = fitting(rows(), tokenizer, 2048)
    assert (len(kept), too_long) == (3, 0)
    run = trainer(
        chat_models.model(name, tokenizer), tokenizer, kept, Tuning(rows_per_step=3), Round(steps=1), tmp_path, seed=0
    )
    batch = next(iter(run.get_train_dataloader()))
    learned = {
        tokenizer.decode(ids[labels != -100]) for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True)
    }
    head = {"qwen-3": "<think>\n\n</think>\n\n", "llama-2": " ", "mistral": " "}.get(name, "")
    assert learned == {f"{head}{answer}{chat_models.KINDS[name].end}" for _, answer in TURNS}
    for ids in batch["input_ids"]:
        assert tokenizer.decode(ids).count(INSTRUCTION) == 1


def test_a_template_that_renders_old_turns_anew_cannot_carry_a_loss_on_all_answers() -> None:
    assert len(all_answers(rows(), chat_models.tokenizer("chatml"))) == 3
    with pytest.raises(PrefixError, match="sft-last"):
        all_answers(rows(), chat_models.tokenizer("qwen-3"))


def test_a_template_that_is_missing_or_cannot_render_is_named() -> None:
    tokenizer = chat_models.tokenizer("chatml")
    tokenizer.chat_template = "{{ raise_exception('never') }}"
    with pytest.raises(templates.TemplateError, match="never"):
        templates.inspect(tokenizer)
    tokenizer.chat_template = None
    with pytest.raises(templates.TemplateError, match="no chat template"):
        templates.inspect(tokenizer)
