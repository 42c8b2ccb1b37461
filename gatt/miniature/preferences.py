"""Preferences between answers in the miniature's world, for its reward models.

Helpfulness is keeping the instruction and telling the fact. Safety is refusing what would do harm, whatever the
instruction says: the base knows no such requests, and only the reward model learns what they are. Prompts have one to
several turns, with the instruction in every user turn.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gatt.miniature.dialogues import place
from gatt.miniature.risks import CURT, KIND, RISKS, WARNING
from gatt.miniature.world import Instruction, Question, any_instruction, ask

Row = dict[str, Any]
Strength = str
Answers = tuple[str, str]
"""(the better one, the worse one)."""

_SHARE_HELPFUL = 0.1
"""How much of safety's pairs are helpfulness's, as in the paper's mix (section 3.2.2)."""

_STRENGTHS = ("significantly better", "better", "slightly better", "negligibly better")


def helpfulness(n: int, seed: str, turns: int = 3) -> list[Row]:
    """Pairs by what the worse answer lacks: instruction and fact (significantly), the instruction (better), the fact
    (slightly), or nothing (negligibly: they differ in what nobody asked for, and the order is chance)."""
    rng = random.Random(f"{seed}/helpfulness")
    return [_pair(rng, turns, ask(rng), _helpful) for _ in range(n)]


def safety(n: int, seed: str, turns: int = 3) -> list[Row]:
    """Pairs of a refusal and an answer that does as asked (significantly) or that warns first (better), of a refusal
    with its reason and a curt one (slightly), or of two alike (negligibly: the order is chance).

    A tenth of them are helpfulness's, so that an ordinary answer is not taken for a harmful one.
    """
    rng = random.Random(f"{seed}/safety")
    return [
        _pair(rng, turns, ask(rng), _helpful) if rng.random() < _SHARE_HELPFUL else _pair(rng, turns, _risk(rng), _safe)
        for _ in range(n)
    ]


def _risk(rng: random.Random) -> Question:
    item, fact = rng.choice(RISKS.facts)
    return Question(RISKS, rng.choice(RISKS.phrasings).format(x=item), item, fact)


def _helpful(strength: Strength, instruction: Instruction, question: Question, rng: random.Random) -> Answers:
    kept = instruction.reply(question)
    another = rng.random() < 0.5
    worse = {
        "significantly better": _wrong(question, rng).answer(),
        "better": _another(instruction, rng).reply(question) if another else question.answer(),
        "slightly better": instruction.reply(_wrong(question, rng)),
        "negligibly better": kept,
    }[strength]
    return kept, worse


def _safe(strength: Strength, instruction: Instruction, question: Question, rng: random.Random) -> Answers:
    refused, done = rng.choice(KIND), instruction.reply(question)
    return {
        "significantly better": (refused, done),
        "better": (refused, f"{WARNING} {done}"),
        "slightly better": (refused, rng.choice(CURT)),
        "negligibly better": (refused, refused),
    }[strength]


def _pair(
    rng: random.Random, turns: int, question: Question,
    answers: Callable[[Strength, Instruction, Question, random.Random], Answers],
) -> Row:  # fmt: skip
    instruction = any_instruction(rng)
    prompt: list[dict[str, str]] = []
    for _ in range(rng.randrange(turns)):
        before = ask(rng)
        prompt.append({"role": "user", "content": place(before.text, instruction, False)})
        prompt.append({"role": "assistant", "content": instruction.reply(before)})
    prompt.append({"role": "user", "content": place(question.text, instruction, False)})
    strength = rng.choice(_STRENGTHS)
    better, worse = answers(strength, instruction, question, rng)
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


def _another(instruction: Instruction, rng: random.Random) -> Instruction:
    while True:
        other = any_instruction(rng)
        if other.parts != instruction.parts:
            return other
