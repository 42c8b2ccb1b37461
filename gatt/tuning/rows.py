"""Rows for training: the mix, the window, the prefix property, and each objective's columns."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from strategies import templates

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

Row = dict[str, Any]


class PrefixError(ValueError):
    """The chat template renders the history anew once the answer is there, so the loss would fall on other tokens."""


def mix(rows: Sequence[Row], shares: Mapping[str, float], n: int, seed: int, by_turn: bool = False) -> list[Row]:
    """`n` rows in the given shares by kind, each kind gone through in shuffled order, again and again if need be.

    With `by_turn` a turn is drawn first, then one of its rows: short dialogues make most rows, and late turns would
    be seen seldom.

    Raises:
        ValueError: a kind with a share has no rows.
    """
    rng = random.Random(seed)
    mixed: list[Row] = []
    for kind, share in shares.items():
        pool = [row for row in rows if row["kind"] == kind]
        wanted = round(share * n)
        if wanted and not pool:
            raise ValueError(f"the mix asks for {share:.0%} rows of kind {kind!r} and there are none")
        mixed += _evenly(pool, wanted, rng) if by_turn else _in_turn(pool, wanted, rng)
    rng.shuffle(mixed)
    return mixed


def _in_turn(pool: Sequence[Row], wanted: int, rng: random.Random) -> list[Row]:
    drawn: list[Row] = []
    while len(drawn) < wanted:
        drawn += rng.sample(list(pool), min(wanted - len(drawn), len(pool)))
    return drawn


def _evenly(pool: Sequence[Row], wanted: int, rng: random.Random) -> list[Row]:
    by_turn: dict[int, list[Row]] = {}
    for row in pool:
        by_turn.setdefault(row["turn"], []).append(row)
    return [rng.choice(by_turn[rng.choice(list(by_turn))]) for _ in range(wanted)]


def shares_for(rows: Sequence[Row], shares: Mapping[str, float]) -> dict[str, float]:
    """`shares` cut to the kinds that `rows` holds, summing to 1 again."""
    kinds = {row["kind"] for row in rows}
    left = {kind: share for kind, share in shares.items() if kind in kinds}
    if not left:
        raise ValueError(f"no row is of a kind that the mix asks for: {', '.join(shares)}")
    return {kind: share / sum(left.values()) for kind, share in left.items()}


def fitting(rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, max_length: int) -> tuple[list[Row], int]:
    """Rows that fit `max_length` tokens whole, and the number of those that do not; none is ever cut.

    Raises:
        PrefixError: a prompt's tokens are no prefix of the whole row's, with the template named.
    """
    kept = []
    for row in rows:
        longest = max(_whole(tokenizer, row, "completion"), _whole(tokenizer, row, "rejected"))
        if longest <= max_length:
            kept.append(row)
    return kept, len(rows) - len(kept)


def _whole(tokenizer: PreTrainedTokenizerBase, row: Row, answer: str) -> int:
    """Tokens of prompt and answer; 0 where the row has no such answer."""
    if not row.get(answer):
        return 0
    prompt = templates.ids(tokenizer, row["prompt"], add_generation_prompt=True)
    whole = templates.ids(tokenizer, [*row["prompt"], *row[answer]], add_generation_prompt=False)
    if whole[: len(prompt)] != prompt:
        raise PrefixError(
            f"the prompt is no prefix of prompt and answer under {templates.name(tokenizer)}; "
            "give the model a template that renders both alike (chat_template.jinja in its folder)"
        )
    return len(whole)


def last_answers(rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> Dataset:
    """GAtt's own: prompt and completion as TRL reads them, nothing else."""
    from datasets import Dataset

    made = [{"prompt": templates.messages(tokenizer, row["prompt"]), "completion": row["completion"]} for row in rows]
    return Dataset.from_list(made)


def all_answers(rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> Dataset:
    """Token ids with a mask over every answer and its end, for whatever template, by the prefixes of the dialogue.

    Raises:
        PrefixError: the template renders old turns anew, so that no one mask is right.
    """
    from datasets import Dataset

    remembered: dict[str, dict[str, list[int]]] = {}
    made = []
    for row in rows:
        key = f"{row['script']}/{row['turn']}"
        if key not in remembered:
            remembered[key] = _masked([*row["prompt"], *row["completion"]], tokenizer)
        made.append(remembered[key])
    return Dataset.from_list(made)


def _masked(messages: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> dict[str, list[int]]:
    ids = templates.ids(tokenizer, messages, add_generation_prompt=False)
    mask = [0] * len(ids)
    for at, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = templates.ids(tokenizer, messages[:at], add_generation_prompt=True)
        after = templates.ids(tokenizer, messages[: at + 1], add_generation_prompt=False)
        if ids[: len(after)] != after or after[: len(before)] != before:
            raise PrefixError(
                f"{templates.name(tokenizer)} renders old turns anew; "
                "take the objective 'sft-last', whose rows are rendered one by one"
            )
        mask[len(before) : len(after)] = [1] * (len(after) - len(before))
    return {"input_ids": ids, "assistant_masks": mask}


def whole_dialogues(rows: Sequence[Row]) -> list[Row]:
    """The longest row of every dialogue: all its turns."""
    longest: dict[str, Row] = {}
    for row in rows:
        if row["turn"] > longest.get(row["script"], {"turn": 0})["turn"]:
            longest[row["script"]] = row
    return list(longest.values())


def pairs(rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> Dataset:
    """Prompt, the answer sampled with the instruction repeated, and the one sampled without."""
    from datasets import Dataset

    made = [
        {
            "prompt": templates.messages(tokenizer, row["prompt"]),
            "chosen": row["completion"],
            "rejected": row["rejected"],
        }
        for row in rows
    ]
    return Dataset.from_list(made)


def contrasting(rows: Sequence[Row]) -> list[Row]:
    """Rows whose rejected answer is another than the kept one and scored lower.

    Raises:
        ValueError: the rows were sampled without rejected answers.
    """
    if not any("rejected" in row for row in rows):
        raise ValueError("dpo needs rejected answers: set contrast = true in [synthesize] and sample again")
    return [row for row in rows if row.get("rejected") and row["rejected_score"] < max(row["scores"])]


def distilled(rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> Dataset:
    """The prompt told once, and beside it the prompt that the teacher reads.

    Raises:
        ValueError: the rows were sampled without their teacher's prompts.
    """
    from datasets import Dataset

    if not all("placed" in row for row in rows):
        raise ValueError("sdft needs the prompts as they were sampled: set placed = true in [synthesize]")
    made = [
        {
            "prompt": templates.messages(tokenizer, row["prompt"]),
            "privileged_context": templates.messages(tokenizer, row["placed"]),
        }
        for row in rows
    ]
    return Dataset.from_list(made)
