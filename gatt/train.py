"""GAtt tuning on TRL's SFTTrainer: prompt/completion rows, loss on the last answer alone.

Only the weights named by `modules` learn. With the query and key projections alone a model can learn where to look,
not what to do there, and keeps the skill for instructions that tuning never showed it.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
    from trl.trainer.sft_trainer import SFTTrainer

Row = dict[str, Any]
Progress = Callable[[int, int, float], None]
"""Called with (step, steps, loss)."""


@dataclass(frozen=True)
class Round:
    """A run of the trainer with a warm-up and a cosine decay of its own; `by_turn` as in `mix`."""

    steps: int
    learning_rate: float = 1e-3
    by_turn: bool = False


@dataclass(frozen=True)
class Tuning:
    """What learns, in which rounds, and on which mix of rows (`shares` by kind, summing to 1).

    With `average` the result is the mean of the rounds' ends (stochastic weight averaging, arXiv 1803.05407).
    """

    modules: tuple[str, ...] = ("q_proj", "k_proj")
    rounds: tuple[Round, ...] = (Round(steps=500),)
    average: bool = False
    rows_per_step: int = 12
    shares: Mapping[str, float] = field(default_factory=lambda: {"later": 0.63, "first": 0.12, "plain": 0.25})
    warm_up: float = 0.06
    weight_decay: float = 0.0
    checkpoint_every: int = 100

    def __post_init__(self) -> None:
        if not math.isclose(sum(self.shares.values()), 1.0):
            raise ValueError(f"shares must sum to 1, not {sum(self.shares.values()):.3f}")

    @property
    def steps(self) -> int:
        """Steps of all rounds."""
        return sum(one.steps for one in self.rounds)


class PrefixError(ValueError):
    """The chat template renders the history anew once the answer is there, so GAtt's mask would be wrong."""


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


def fitting(rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, max_length: int) -> tuple[list[Row], int]:
    """Rows that fit `max_length` tokens whole, and the number of those that do not; none is ever cut.

    Raises:
        PrefixError: a prompt's tokens are no prefix of the whole row's, with the template's beginning named.
    """
    kept = []
    for row in rows:
        prompt = _ids(tokenizer, row["prompt"], add_generation_prompt=True)
        whole = _ids(tokenizer, [*row["prompt"], *row["completion"]], add_generation_prompt=False)
        if whole[: len(prompt)] != prompt:
            template = str(tokenizer.chat_template)[:80]
            raise PrefixError(f"the prompt is no prefix of prompt and answer under the chat template {template!r}…")
        if len(whole) <= max_length:
            kept.append(row)
    return kept, len(rows) - len(kept)


def _ids(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Mapping[str, Any]], add_generation_prompt: bool
) -> list[int]:
    chat = [dict(message) for message in messages]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=add_generation_prompt)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def free(model: PreTrainedModel, modules: Sequence[str]) -> int:
    """Lets the named modules learn and freezes the rest; returns the number of weights that learn.

    Raises:
        ValueError: no module has such a name.
    """
    learning = 0
    for name, weight in model.named_parameters():
        weight.requires_grad = any(part in modules for part in name.split("."))
        learning += weight.numel() if weight.requires_grad else 0
    if not learning:
        raise ValueError(f"no weights are named {', '.join(modules)}; see model.named_modules() for what there is")
    return learning


def dataset(rows: Sequence[Row]) -> Dataset:
    """The rows as TRL reads them: prompt and completion, nothing else."""
    from datasets import Dataset

    return Dataset.from_list([{"prompt": row["prompt"], "completion": row["completion"]} for row in rows])


def trainer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Row],
    how: Tuning,
    round_: Round,
    folder: Path,
    seed: int,
    callbacks: Sequence[TrainerCallback] = (),
) -> SFTTrainer:
    """The SFTTrainer for one round on these rows, checkpoints under `folder`."""
    import torch
    from transformers import PrinterCallback
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    config = SFTConfig(
        output_dir=str(folder),
        max_steps=round_.steps,
        per_device_train_batch_size=how.rows_per_step,
        learning_rate=round_.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, round(how.warm_up * round_.steps)),
        weight_decay=how.weight_decay,
        optim="adamw_torch",
        max_length=None,
        completion_only_loss=True,
        train_sampling_strategy="group_by_length",
        activation_checkpointing=False,
        bf16=True,
        use_cpu=not torch.cuda.is_available(),
        seed=seed,
        data_seed=seed,
        save_steps=how.checkpoint_every,
        save_total_limit=1,
        logging_steps=10,
        report_to="none",
        disable_tqdm=True,
    )
    made = SFTTrainer(
        model=model,
        args=config,
        train_dataset=dataset(rows),
        processing_class=tokenizer,
        callbacks=list(callbacks),
    )
    made.remove_callback(PrinterCallback)
    return made


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Row],
    how: Tuning,
    folder: Path,
    seed: int,
    progress: Progress = lambda step, steps, loss: None,
) -> dict[str, Any]:
    """Tunes `model` in place; rounds that are done and checkpoints under `folder` are taken up.

    Returns figures for the model card: rows, rows refused as too long, weights that learned, last loss.
    """
    kept, too_long = fitting(rows, tokenizer, int(model.config.max_position_embeddings))
    learning = free(model, how.modules)
    losses: list[float] = []
    for number, one in enumerate(how.rounds):
        steps_before = sum(earlier.steps for earlier in how.rounds[:number])
        report = _report(progress, losses, steps_before, how.steps)
        _round(model, tokenizer, kept, how, one, folder / f"round-{number}", seed + number, report)
    if how.average:
        _average(model, [folder / f"round-{number}" / "done.pt" for number in range(len(how.rounds))])
    model.config.use_cache = True
    return {
        "rows": len(rows),
        "rows_too_long": too_long,
        "weights_learning": learning,
        "loss": losses[-1] if losses else None,
    }


def _round(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Row],
    how: Tuning,
    one: Round,
    folder: Path,
    seed: int,
    report: TrainerCallback,
) -> None:
    """One round; its result lies in `done.pt`, from which a rerun takes it."""
    import torch
    from transformers.trainer_utils import get_last_checkpoint

    done = folder / "done.pt"
    if done.exists():
        model.load_state_dict(torch.load(done, weights_only=True))
        return
    mixed = mix(rows, how.shares, one.steps * how.rows_per_step, seed, one.by_turn)
    # A copy: the trainer wraps what it trains, and the next round must start as it would in a new process.
    learner = copy.deepcopy(model)
    run = trainer(learner, tokenizer, mixed, how, one, folder, seed, [report])
    checkpoint = get_last_checkpoint(str(folder)) if folder.exists() else None  # type: ignore[no-untyped-call]
    run.train(resume_from_checkpoint=checkpoint)
    torch.save(learner.state_dict(), done.with_suffix(".new"))
    done.with_suffix(".new").replace(done)
    model.load_state_dict(learner.state_dict())


def _average(model: PreTrainedModel, ends: Sequence[Path]) -> None:
    """Gives `model` the mean of the weights saved at `ends`."""
    import torch

    states = [torch.load(end, weights_only=True) for end in ends]
    model.load_state_dict({name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]})


def _report(progress: Progress, losses: list[float], steps_before: int, steps: int) -> TrainerCallback:
    from transformers import TrainerCallback

    class Report(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **rest: Any) -> None:
            if logs and "loss" in logs:
                losses.append(float(logs["loss"]))
                progress(steps_before + state.global_step, steps, losses[-1])

    return Report()
