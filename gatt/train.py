"""Tuning: rounds of a trainer over the sampled rows, each from a folder into a folder.

GAtt's own objective is `sft-last`: TRL's SFTTrainer on prompt/completion rows, loss on the last answer alone. With the
query and key projections alone a model can learn where to look, not what to do there, and keeps the skill for
instructions that tuning never showed it.

A round starts from the folder that the one before it left, so that it is the same in a new process, on one device or on
many (`accelerate launch`), and an interrupted one goes on from its checkpoint.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatt import processes, sampling
from gatt.tuning import checkpoints, weights
from gatt.tuning import rows as columns
from gatt.tuning.objectives import trainer
from gatt.tuning.settings import Round, Tuning

if TYPE_CHECKING:
    from transformers import TrainerCallback

Row = dict[str, Any]
Progress = Callable[[int, int, float], None]
"""Called with (step, steps, loss)."""


def train(
    start: Path,
    rows: Sequence[Row],
    how: Tuning,
    folder: Path,
    seed: int,
    progress: Progress = lambda step, steps, loss: None,
    dtype: str = "float32",
) -> dict[str, Any]:
    """Tunes the model at `start` into `folder/tuned`; rounds that are done and checkpoints under `folder` are taken up.

    Returns figures for the model card: rows, rows refused as too long, weights that learned, last loss.
    """
    usable, too_long = _usable(start, rows, how)
    losses: list[float] = []
    begin, learning = start, 0
    with checkpoints.kept_whole(folder):
        for number, one in enumerate(how.rounds):
            end = folder / f"round-{number}" / "model"
            before = sum(earlier.steps for earlier in how.rounds[:number])
            learning = _round(
                begin, usable, how, one, end, seed + number, _report(progress, losses, before, how.steps), dtype
            )
            begin = end
        if processes.is_main():
            _finish(how, folder, dtype)
    processes.wait()
    return {
        "rows": len(rows),
        "rows_used": len(usable),
        "rows_too_long": too_long,
        "weights_learning": learning,
        "processes": processes.count(),
        "loss": losses[-1] if losses else None,
    }


def _usable(start: Path, rows: Sequence[Row], how: Tuning) -> tuple[list[Row], int]:
    """The rows that this objective learns from and that fit the window, and how many do not fit."""
    tokenizer = sampling.load_tokenizer(str(start))
    chosen = {"sft-all": columns.whole_dialogues, "dpo": columns.contrasting}.get(how.objective, list)(rows)
    return columns.fitting(chosen, tokenizer, sampling.window_of(str(start)))


def _round(
    start: Path,
    rows: Sequence[Row],
    how: Tuning,
    one: Round,
    end: Path,
    seed: int,
    report: TrainerCallback,
    dtype: str,
) -> int:
    """One round from the model at `start` to the one at `end`; returns the number of weights that learned."""
    import torch

    # Weights that learn are float32, whatever the arithmetic: in bfloat16 small steps would be lost. Below adapters,
    # whose own weights PEFT keeps in float32, the model stays as it is.
    model, tokenizer = sampling.load(str(start), dtype if how.lora else "float32", on_gpu=False)
    torch.manual_seed(seed)  # fresh adapters begin at random, before the trainer has seeded anything
    learner, learning = weights.prepare(model, how)
    if end.exists():
        return learning
    shares = how.shares if how.objective == "sft-last" else columns.shares_for(rows, how.shares)
    mixed = columns.mix(rows, shares, one.steps * how.rows_per_step, seed, one.by_turn)
    folder = end.parent
    run = trainer(learner, tokenizer, mixed, how, one, folder, seed, [report])
    run.train(resume_from_checkpoint=checkpoints.last(folder))
    weights.save(run, start, end, how)
    return learning


def _finish(how: Tuning, folder: Path, dtype: str) -> None:
    """Puts the last round's end, or the mean of all, into `folder/tuned`, in the type that the model came in."""
    ends = [folder / f"round-{number}" / "model" for number in range(len(how.rounds))]
    shutil.rmtree(folder / "tuned", ignore_errors=True)
    if how.average or (dtype != "float32" and how.lora is None):
        weights.average(ends if how.average else ends[-1:], folder / "tuned", dtype)
    else:
        shutil.copytree(ends[-1], folder / "tuned")


def _report(progress: Progress, losses: list[float], steps_before: int, steps: int) -> TrainerCallback:
    from transformers import TrainerCallback

    class Report(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **rest: Any) -> None:
            if logs and "loss" in logs and processes.is_main():
                losses.append(float(logs["loss"]))
                progress(steps_before + state.global_step, steps, losses[-1])

    return Report()
