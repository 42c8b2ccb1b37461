"""GAtt's data: dialogues sampled with the instruction in every user turn, kept with the instruction in turn 1 only.

For every turn of a script the model, told its instruction anew, gives K replies; each is scored by the script's checks
and the turn's fact, and the best one goes into the history (Llama 2 paper, section 3.3: the answers are sampled "as in
rejection sampling"). A dialogue ends where no candidate is right. Every prefix of what is left is one row in
TRL's prompt/completion form, so that the loss falls on its last answer alone.

Work is cut into shards that are written whole; an interrupted run repeats none of them and gives the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import strategies
from gatt import files, sampling
from gatt.script import Message, Script

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from strategies import Strategy

Progress = Callable[[int, int], None]
"""Called with (turns sampled, turns in all)."""


@dataclass(frozen=True)
class Sampling:
    """How candidates are drawn; a dialogue ends where the best one scores under `minimum_score`."""

    strategy: str = "every-turn"
    candidates: int = 3
    temperature: float = 0.9
    minimum_score: float = 1.0
    max_new_tokens: int = 64
    shard_dialogues: int = 40

    def __post_init__(self) -> None:
        if self.candidates < 1:
            raise ValueError(f"candidates must be at least 1, not {self.candidates}")


@dataclass
class Dialogue:
    """A script and the replies kept so far; `scores` holds all K scores of each turn."""

    script: Script
    replies: list[str]
    scores: list[list[float]]
    alive: bool = True


def synthesize(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    scripts: Sequence[Script],
    how: Sampling,
    folder: Path,
    seed: str,
    progress: Progress = lambda done, total: None,
) -> list[Dialogue]:
    """Samples every script's dialogue into shards under `folder`; shards that are there already are read back."""
    strategy = strategies.make(how.strategy)
    by_length = sorted(scripts, key=lambda script: len(script.turns))
    shards = [by_length[at : at + how.shard_dialogues] for at in range(0, len(by_length), how.shard_dialogues)]
    total = sum(len(script.turns) for script in scripts)
    done, dialogues = 0, []
    for number, shard in enumerate(shards):
        path = folder / f"shard-{number:04d}.jsonl"
        if not path.exists():
            _seed(f"{seed}/{number}")
            sampled = _sample(model, tokenizer, shard, how, strategy)
            files.write_jsonl(path, (_record(dialogue) for dialogue in sampled))
        dialogues += [_dialogue(script, row) for script, row in zip(shard, files.read_jsonl(path), strict=True)]
        done += sum(len(script.turns) for script in shard)
        progress(done, total)
    return dialogues


def _seed(text: str) -> None:
    import torch

    torch.manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big"))


def _sample(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    shard: Sequence[Script],
    how: Sampling,
    strategy: Strategy,
) -> list[Dialogue]:
    dialogues = [Dialogue(script, [], []) for script in shard]
    for turn in range(max(len(script.turns) for script in shard)):
        open_ones = [d for d in dialogues if d.alive and turn < len(d.script.turns)]
        if not open_ones:
            break
        prompts = [sampling.prompt_ids(tokenizer, strategy.place(d.script.messages(d.replies))) for d in open_ones]
        fits = [len(prompt) + how.max_new_tokens <= sampling.window(model) for prompt in prompts]
        drawn = sampling.replies(
            model,
            tokenizer,
            [prompt for prompt, fit in zip(prompts, fits, strict=True) if fit],
            how.max_new_tokens,
            how.temperature,
            how.candidates,
        )
        left = iter(drawn)
        for dialogue, fit in zip(open_ones, fits, strict=True):
            _keep_best(dialogue, next(left) if fit else [], how.minimum_score)
    return dialogues


def _keep_best(dialogue: Dialogue, candidates: Sequence[str], minimum: float) -> None:
    scores = [score(dialogue.script, len(dialogue.replies), candidate) for candidate in candidates]
    dialogue.scores.append(scores)
    best = max(range(len(scores)), key=scores.__getitem__, default=None)
    dialogue.alive = best is not None and scores[best] >= minimum
    if best is not None and dialogue.alive:
        dialogue.replies.append(candidates[best])


def score(script: Script, turn: int, reply: str) -> float:
    """0..1: half for keeping the instruction, half for the right fact."""
    return 0.5 * script.adherent(reply) + 0.5 * script.right(turn, reply)


def _record(dialogue: Dialogue) -> dict[str, Any]:
    return {"id": dialogue.script.id, "replies": dialogue.replies, "scores": dialogue.scores, "whole": dialogue.alive}


def _dialogue(script: Script, row: dict[str, Any]) -> Dialogue:
    if row["id"] != script.id:
        raise ValueError(f"a shard holds {row['id']} where {script.id} belongs; delete the stage's folder and rerun")
    return Dialogue(script, row["replies"], row["scores"], row["whole"])


def rows(dialogues: Sequence[Dialogue]) -> list[dict[str, Any]]:
    """One row for every prefix of every dialogue, with its provenance.

    `kind` is `first` (turn 1, the instruction at hand), `later` (the instruction lies turns back: GAtt's own) or
    `plain` (no instruction). The prompt has the instruction at its head and nowhere else.
    """
    made = []
    for dialogue in dialogues:
        script = dialogue.script
        for turn, reply in enumerate(dialogue.replies):
            kind = "plain" if script.instruction is None else "later" if turn else "first"
            completion: list[Message] = [{"role": "assistant", "content": reply}]
            made.append(
                {
                    "prompt": script.messages(dialogue.replies[:turn]),
                    "completion": completion,
                    "kind": kind,
                    "script": script.id,
                    "turn": turn + 1,
                    "families": list(script.families),
                    "attributes": list(script.attributes),
                    "scores": dialogue.scores[turn],
                }
            )
    return made
