"""What the base model reads: dialogues in which an instruction applies to its own message and to no other."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from gatt.miniature.tokenizer import ASSISTANT, CONTEXT_WINDOW, END, USER
from gatt.miniature.world import CANCELLED, CANCELS, Instruction, any_instruction, ask

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Dialogue = list[tuple[str, str]]
"""(user text, reply) by turn, as the chat template renders them."""

Encoded = tuple[list[int], list[int]]
"""Token ids, and labels of the same length: -100 everywhere but on replies and their end tokens."""


def place(question: str, instruction: Instruction | None, in_front: bool) -> str:
    """The user's message with its instruction folded in front of the question or put behind it."""
    if instruction is None:
        return question
    return f"{instruction.text}\n\n{question}" if in_front else f"{question}\n\n{instruction.text}"


def short_dialogue(rng: random.Random) -> Dialogue:
    """One to three turns, most of them with an instruction: copying arises only if dialogues are short first."""
    share = rng.choice((0.5, 0.8, 1.0))
    return [_turn(rng, any_instruction(rng) if rng.random() < share else None) for _ in range(rng.randint(1, 3))]


def long_dialogue(rng: random.Random) -> Dialogue:
    """Up to 24 turns: plain, with chance instructions, one instruction in every turn, or one that lapses."""
    turns = rng.randint(1, 24)
    kind = rng.choices(("plain", "chance", "every", "lapsing", "lapsing-late"), (2, 4, 4, 2, 1))[0]
    share = rng.choice((0.3, 0.6, 1.0))
    kept, in_front = any_instruction(rng), rng.random() < 0.2
    start = rng.randrange(turns) if kind == "lapsing-late" else 0
    dialogue: Dialogue = []
    for turn in range(turns):
        if turn and rng.random() < 0.03:
            dialogue.append((rng.choice(CANCELS), CANCELLED))
        elif kind == "every":
            dialogue.append(_turn(rng, kept, in_front))
        elif kind == "chance" and rng.random() < share:
            dialogue.append(_turn(rng, any_instruction(rng)))
        elif kind.startswith("lapsing") and turn == start:
            dialogue.append(_turn(rng, kept))
        else:
            dialogue.append(_turn(rng, None))
    return dialogue


def _turn(rng: random.Random, instruction: Instruction | None, in_front: bool | None = None) -> tuple[str, str]:
    question = ask(rng)
    reply = instruction.reply(question) if instruction else question.answer()
    front = rng.random() < 0.5 if in_front is None else in_front
    return place(question.text, instruction, front), reply


@dataclass(frozen=True)
class Encoder:
    """Dialogues to ids and labels, the same ids that the chat template gives; texts once encoded are remembered."""

    tokenizer: PreTrainedTokenizerFast

    def __call__(self, dialogue: Dialogue) -> Encoded:
        vocabulary = self._vocabulary
        user, assistant, end = vocabulary[USER], vocabulary[ASSISTANT], vocabulary[END]
        ids: list[int] = []
        labels: list[int] = []
        for asked, reply in dialogue:
            question, answer = self._ids(asked), self._ids(reply)
            ids += [user, *question, end, assistant, *answer, end]
            labels += [-100] * (len(question) + 3) + [*answer, end]
        return ids[:CONTEXT_WINDOW], labels[:CONTEXT_WINDOW]

    @cached_property
    def _vocabulary(self) -> dict[str, int]:
        return self.tokenizer.get_vocab()

    @lru_cache(maxsize=200_000)  # noqa: B019 - one encoder lives as long as its training run
    def _ids(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))


def batches(
    make: Callable[[random.Random], Dialogue], encode: Encoder, seed: str, tokens: int, per_chunk: int = 24
) -> Iterator[list[Encoded]]:
    """Endless batches of about `tokens` tokens, padding included, each of dialogues of like length.

    Chunk `n` depends on `seed` and `n` alone; skipping batches of a fresh iterator resumes an interrupted run.
    """
    chunk = 0
    while True:
        rng = random.Random(f"{seed}/{chunk}")
        drawn: list[Encoded] = []
        while sum(len(ids) for ids, _ in drawn) < tokens * per_chunk:
            drawn += [encode(make(rng)) for _ in range(16)]
        drawn.sort(key=lambda pair: len(pair[0]))
        cut: list[list[Encoded]] = [[]]
        for pair in drawn:
            if cut[-1] and (len(cut[-1]) + 1) * len(pair[0]) > tokens:
                cut.append([])
            cut[-1].append(pair)
        rng.shuffle(cut)
        yield from cut
        chunk += 1
