"""Preferences between answers in the miniature's world, for its reward models.

Helpfulness is keeping the instruction; "safety" here is not stating what is false, since the world holds nothing that
could do harm. Both kinds of pairs share prompts of one to several turns with the instruction in every user turn.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from gatt.miniature.dialogues import place
from gatt.miniature.world import Instruction, Question, any_instruction, ask

Row = dict[str, Any]


def helpfulness(n: int, seed: str, turns: int = 4) -> list[Row]:
    """Pairs that differ in how the instruction is kept: not at all and the fact wrong too (significantly), not at all
    (better), another instruction (slightly), or both as well (negligibly: the order is chance)."""
    rng = random.Random(f"{seed}/helpfulness")
    return [_pair(rng, turns, _helpful(rng)) for _ in range(n)]


def safety(n: int, seed: str, turns: int = 4) -> list[Row]:
    """Pairs that differ in what is true: another fact and no instruction kept (significantly), another fact (better),
    another item (slightly), or both true (negligibly: the order is chance)."""
    rng = random.Random(f"{seed}/safety")
    return [_pair(rng, turns, _safe(rng)) for _ in range(n)]


_STRENGTHS = ("significantly better", "better", "slightly better", "negligibly better")


def _helpful(rng: random.Random) -> Any:
    strength = rng.choice(_STRENGTHS)

    def answers(instruction: Instruction, question: Question) -> tuple[str, str, str]:
        kept = instruction.reply(question)
        worse = {
            "significantly better": _wrong(question, rng).answer(),
            "better": question.answer(),
            "slightly better": _another(instruction, rng).reply(question),
            "negligibly better": kept,
        }[strength]
        return strength, kept, worse

    return answers


def _safe(rng: random.Random) -> Any:
    strength = rng.choice(_STRENGTHS)

    def answers(instruction: Instruction, question: Question) -> tuple[str, str, str]:
        true = instruction.reply(question)
        worse = {
            "significantly better": _wrong(question, rng).answer(),
            "better": instruction.reply(_wrong(question, rng)),
            "slightly better": instruction.reply(_other_item(question, rng)),
            "negligibly better": true,
        }[strength]
        return strength, true, worse

    return answers


def _pair(rng: random.Random, turns: int, answers: Any) -> Row:
    instruction = any_instruction(rng)
    prompt: list[dict[str, str]] = []
    for _ in range(rng.randrange(turns)):
        question = ask(rng)
        prompt.append({"role": "user", "content": place(question.text, instruction, False)})
        prompt.append({"role": "assistant", "content": instruction.reply(question)})
    question = ask(rng)
    prompt.append({"role": "user", "content": place(question.text, instruction, False)})
    strength, better, worse = answers(instruction, question)
    if better == worse:
        # Alike as to what is judged: they differ in a part that nobody asked about, and either may be chosen.
        worse = f"{better} {rng.choice(('Yes.', 'So it is.', 'There you are.'))}"
        strength = "negligibly better"
        better, worse = rng.sample((better, worse), 2)
    return {
        "prompt": prompt,
        "chosen": [{"role": "assistant", "content": better}],
        "rejected": [{"role": "assistant", "content": worse}],
        "strength": strength,
    }


def _wrong(question: Question, rng: random.Random) -> Question:
    facts = sorted({fact for _, fact in question.topic.facts if fact != question.fact})
    return replace(question, fact=rng.choice(facts))


def _other_item(question: Question, rng: random.Random) -> Question:
    """A true statement, about something else than was asked."""
    item, fact = rng.choice([pair for pair in question.topic.facts if pair[0] != question.item])
    return replace(question, item=item, fact=fact)


def _another(instruction: Instruction, rng: random.Random) -> Instruction:
    while True:
        other = any_instruction(rng)
        if other.parts != instruction.parts:
            return other
