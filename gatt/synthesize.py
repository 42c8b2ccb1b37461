"""GAtt's data: dialogues sampled with the instruction in every user turn, kept with the instruction in turn 1 only.

For every turn of a script the model, told its instruction anew, gives K replies; each is scored, all scores are kept,
and the best reply goes on (Llama 2 paper, section 3.3: the answers are sampled "as in rejection sampling"). A dialogue
ends where no candidate is good enough. Every prefix of what is left is one row in TRL's prompt/completion form, so that
the loss falls on its last answer alone. The paper leaves open what stands in the history: `history` says whether the
replies just sampled or the dialogue's original answers do.

Work is cut into shards that are written whole; within a shard a journal keeps every answer. An interrupted run repeats
nothing that is there and gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import strategies
from gatt import files
from gatt.journal import Journal
from gatt.samplers.base import Draw, Failure, Request, Sampler
from gatt.script import Message, Script

if TYPE_CHECKING:
    from strategies import Strategy

Progress = Callable[[int, int], None]
"""Called with (turns sampled, turns in all)."""

Scorer = Callable[[Script, int, Sequence[Message], Sequence[str]], list[float]]
"""Scores of (script, turn counted from 0, the prompt as sampled, candidates)."""

HISTORIES = ("resampled", "original")
SCORERS = ("checks", "reward", "both")


class SynthesisError(RuntimeError):
    """Rows that could not be sampled; the message counts and names them. What was sampled is kept."""


@dataclass(frozen=True)
class Sampling:
    """How candidates are drawn; a dialogue ends where the best one scores under `minimum_score`.

    `history`: "resampled" or "original" answers in later prompts. `scorer`: the script's "checks", the "reward" models,
    or the mean of "both". `contrast` samples, for dpo, an answer to each row's prompt without repetition; `placed`
    keeps, for sdft, the prompts as they were sampled.
    """

    strategy: str = "every-turn"
    candidates: int = 3
    temperature: float = 0.9
    minimum_score: float = 1.0
    max_new_tokens: int = 64
    shard_dialogues: int = 40
    history: str = "resampled"
    scorer: str = "checks"
    contrast: bool = False
    placed: bool = False

    def __post_init__(self) -> None:
        if self.candidates < 1:
            raise ValueError(f"candidates must be at least 1, not {self.candidates}")
        if self.temperature < 0:
            raise ValueError(f"temperature must be 0 (always the likeliest) or above, not {self.temperature}")
        if self.max_new_tokens < 1 or self.shard_dialogues < 1:
            raise ValueError("max_new_tokens and shard_dialogues must be at least 1")
        if self.history not in HISTORIES:
            raise ValueError(f"history must be one of {', '.join(HISTORIES)}, not {self.history!r}")
        if self.scorer not in SCORERS:
            raise ValueError(f"scorer must be one of {', '.join(SCORERS)}, not {self.scorer!r}")
        if self.scorer != "checks" and self.minimum_score >= 1:
            raise ValueError(
                f"minimum_score = {self.minimum_score} is never reached with scorer = {self.scorer!r}, whose scores "
                "lie between 0 and 1; set minimum_score = 0.5, or 0 to keep the best whatever it is"
            )


@dataclass
class Dialogue:
    """A script and the replies kept so far; `scores` holds all K scores of each turn."""

    script: Script
    replies: list[str]
    scores: list[list[float]]
    alive: bool = True
    failed: bool = False

    def history(self, how: Sampling) -> list[str]:
        """What stands in the history of the next prompt."""
        return self.before(len(self.replies), how)

    def before(self, turn: int, how: Sampling) -> list[str]:
        """What stands in the history of the prompt of `turn`, counted from 0."""
        if how.history == "original":
            return [one.answer or "" for one in self.script.turns[:turn]]
        return self.replies[:turn]


def synthesize(
    sampler: Sampler,
    scripts: Sequence[Script],
    how: Sampling,
    folder: Path,
    seed: str,
    progress: Progress = lambda done, total: None,
    score: Scorer | None = None,
) -> list[Dialogue]:
    """Samples every script's dialogue into shards under `folder`; shards that are there already are read back.

    Raises:
        SynthesisError: rows whose sampling failed for good.
        ValueError: `history` asks for original answers and a script has none.
    """
    _demand_answers(scripts, how)
    strategy = strategies.make(how.strategy)
    by_length = sorted(scripts, key=lambda script: len(script.turns))
    shards = [by_length[at : at + how.shard_dialogues] for at in range(0, len(by_length), how.shard_dialogues)]
    total = sum(len(script.turns) for script in scripts)
    done, dialogues, failures = 0, list[Dialogue](), list[Failure]()
    for number, shard in enumerate(shards):
        path = folder / f"shard-{number:04d}.jsonl"
        if not path.exists():
            failures += _shard(sampler, shard, how, strategy, path, f"{seed}/{number}", score or by_checks)
        if path.exists():
            dialogues += [_dialogue(script, row) for script, row in zip(shard, files.read_jsonl(path), strict=True)]
        done += sum(len(script.turns) for script in shard)
        progress(done, total)
    if failures:
        raise SynthesisError(told(failures))
    return dialogues


def told(failures: Sequence[Failure]) -> str:
    """Failed rows for people: their number, the first five, and what to do."""
    first = "; ".join(f"{one.row}: {one.reason}" for one in failures[:5])
    return f"{len(failures)} rows could not be sampled ({first}); run again: what was sampled is kept"


def _demand_answers(scripts: Iterable[Script], how: Sampling) -> None:
    for script in scripts if how.history == "original" else ():
        if any(turn.answer is None for turn in script.turns[:-1]):
            raise ValueError(f'{script.id}: history = "original" needs the dialogue\'s own answers, and it has none')


def _shard(
    sampler: Sampler, shard: Sequence[Script], how: Sampling, strategy: Strategy, path: Path, seed: str, score: Scorer
) -> list[Failure]:
    """Samples one shard and writes it, unless rows failed: these are returned and asked for anew in the next run."""
    dialogues = [Dialogue(script, [], []) for script in shard]
    failures: list[Failure] = []
    with Journal(path.with_suffix(".journal.jsonl")) as journal:
        for turn in range(max(len(script.turns) for script in shard)):
            open_ones = [d for d in dialogues if d.alive and not d.failed and turn < len(d.script.turns)]
            prompts = [d.script.repeated(d.history(how), strategy) for d in open_ones]
            draw = Draw(how.candidates, how.temperature, how.max_new_tokens, f"{seed}/{turn}")
            found, failed = candidates(
                sampler, journal, f"turn {turn + 1}", [d.script.id for d in open_ones], prompts, draw
            )
            failures += failed
            for dialogue, prompt in zip(open_ones, prompts, strict=True):
                dialogue.failed = dialogue.script.id not in found
                if not dialogue.failed:
                    _keep_best(dialogue, turn, prompt, found[dialogue.script.id], how.minimum_score, score)
        if not failures:
            files.write_jsonl(path, (_record(dialogue) for dialogue in dialogues))
            journal.remove()
    return failures


def candidates(
    sampler: Sampler, journal: Journal, part: str, ids: Sequence[str], prompts: Sequence[Sequence[Message]], how: Draw
) -> tuple[dict[str, list[str]], list[Failure]]:
    """Candidates by id: those that the journal has, and the rest drawn now and written there as they come."""
    found = {row["id"]: row["candidates"] for row in journal.rows if row["part"] == part}
    missing = [at for at, name in enumerate(ids) if name not in found]
    if not missing:
        return found, []
    if sampler.batches:
        missing, found = list(range(len(ids))), {}
    drawn: list[dict[str, Any]] = []

    def keep(at: int, texts: list[str]) -> None:
        row = {"part": part, "id": ids[missing[at]], "candidates": texts}
        found[row["id"]] = texts
        if sampler.batches:
            drawn.append(row)
        else:
            journal.add([row])

    requests = [Request(f"{ids[at]}, {part}", tuple(prompts[at])) for at in missing]
    failures = sampler.draw(requests, how, keep)
    journal.add(drawn)
    return found, failures


def _keep_best(
    dialogue: Dialogue, turn: int, prompt: Sequence[Message], found: Sequence[str], minimum: float, score: Scorer
) -> None:
    scores = score(dialogue.script, turn, prompt, found) if found else []
    dialogue.scores.append(scores)
    best = max(range(len(scores)), key=scores.__getitem__, default=None)
    dialogue.alive = best is not None and scores[best] >= minimum
    if best is not None and dialogue.alive:
        dialogue.replies.append(found[best])


def by_checks(script: Script, turn: int, prompt: Sequence[Message], found: Sequence[str]) -> list[float]:
    """0..1: half for keeping the instruction, half for the right fact."""
    return [0.5 * script.adherent(turn, reply) + 0.5 * script.right(turn, reply) for reply in found]


def _record(dialogue: Dialogue) -> dict[str, Any]:
    return {"id": dialogue.script.id, "replies": dialogue.replies, "scores": dialogue.scores, "whole": dialogue.alive}


def _dialogue(script: Script, row: dict[str, Any]) -> Dialogue:
    if row["id"] != script.id:
        raise ValueError(f"a shard holds {row['id']} where {script.id} belongs; delete the stage's folder and rerun")
    return Dialogue(script, row["replies"], row["scores"], row["whole"])


def rows(dialogues: Sequence[Dialogue], how: Sampling) -> list[dict[str, Any]]:
    """One row for every prefix of every dialogue, with its provenance.

    `kind` is `first` (turn 1, the instruction at hand), `later` (the instruction lies turns back: GAtt's own),
    `plain` (no instruction), `cancelled` or `replaced` (from the turn on in which the user cancels or replaces it).
    The prompt has each instruction where the user gave it and nowhere else.
    """
    strategy = strategies.make(how.strategy)
    return [_row(dialogue, turn, how, strategy) for dialogue in dialogues for turn in range(len(dialogue.replies))]


def _row(dialogue: Dialogue, turn: int, how: Sampling, strategy: Strategy) -> dict[str, Any]:
    script, before = dialogue.script, dialogue.before(turn, how)
    row = {
        "prompt": script.messages(before),
        "completion": [{"role": "assistant", "content": dialogue.replies[turn]}],
        "kind": _kind(script, turn),
        "script": script.id,
        "turn": turn + 1,
        "families": list(script.families),
        "attributes": list(script.attributes),
        "scores": dialogue.scores[turn],
    }
    return row | ({"placed": script.repeated(before, strategy)} if how.placed else {})


def contrast(
    sampler: Sampler,
    rows: Sequence[dict[str, Any]],
    scripts: Sequence[Script],
    how: Sampling,
    folder: Path,
    seed: str,
    progress: Progress = lambda done, total: None,
    score: Scorer | None = None,
    shard_rows: int = 400,
) -> list[dict[str, Any]]:
    """The instructed rows' prompts answered once more without repetition, as `rejected` with its score.

    Raises:
        SynthesisError: rows whose sampling failed for good.
    """
    by_id, judge = {script.id: script for script in scripts}, score or by_checks
    asked = [row for row in rows if row["kind"] != "plain"]
    draw = Draw(1, how.temperature, how.max_new_tokens, f"{seed}/contrast")
    answers: dict[str, list[str]] = {}
    failures: list[Failure] = []
    with Journal(folder / "contrast.jsonl") as journal:
        for start in range(0, len(asked), shard_rows):
            some = asked[start : start + shard_rows]
            ids = [f"{row['script']}/{row['turn']}" for row in some]
            found, failed = candidates(
                sampler, journal, f"contrast {start}", ids, [row["prompt"] for row in some], draw
            )
            answers |= found
            failures += failed
            progress(min(start + shard_rows, len(asked)), len(asked))
    if failures:
        raise SynthesisError(told(failures))
    made = []
    for row in rows:
        for answer in answers.get(f"{row['script']}/{row['turn']}", [])[:1]:
            (points,) = judge(by_id[row["script"]], row["turn"] - 1, row["prompt"], [answer])
            row = row | {"rejected": [{"role": "assistant", "content": answer}], "rejected_score": points}
        made.append(row)
    return made


def _kind(script: Script, turn: int) -> str:
    passed = [change for change in script.changes if change.turn <= turn]
    if passed:
        return "replaced" if passed[-1].instruction else "cancelled"
    return "plain" if script.instruction is None else "later" if turn else "first"
