"""The world agrees with its own checks: the reply that it teaches is the reply that they accept."""

from __future__ import annotations

import random

import pytest

from adherence import all_hold, parse
from gatt.miniature.families import FAMILIES, Family
from gatt.miniature.world import any_instruction, ask, is_plain, word


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_accepts_its_own_reply_and_no_plain_one(family: Family) -> None:
    rng = random.Random(family.name)
    for value in family.values:
        instruction, question = word([(family.name, value)], rng), ask(rng)
        reply = instruction.reply(question)
        assert all_hold(instruction.checks, reply)
        assert not all_hold(instruction.checks, question.answer())
        assert parse(question.fact_check)(reply)
        assert not is_plain(reply)


def test_pairs_of_instructions_both_show_in_the_reply() -> None:
    rng = random.Random(0)
    pairs = [instruction for instruction in (any_instruction(rng) for _ in range(2000)) if len(instruction.parts) == 2]
    assert len(pairs) > 200
    for instruction in pairs:
        question = ask(rng)
        reply = instruction.reply(question)
        assert all_hold(instruction.checks, reply)
        assert parse(question.fact_check)(reply)


def test_plain_answers_are_plain_and_right() -> None:
    rng = random.Random(0)
    for _ in range(2000):
        question = ask(rng)
        assert is_plain(question.answer())
        assert parse(question.fact_check)(question.answer())
        assert not parse(question.fact_check)(question.answer().replace(question.fact, "nothing"))
