"""Reward models for helpfulness and safety, as the Llama 2 paper trains and combines them (sections 3.2.2 and 3.2.3).

Ranking loss −log σ(r_chosen − r_rejected − m) on TRL's RewardTrainer; the margin m grows with how clearly the chosen
answer was preferred (Table 27). Preferences are JSON Lines:

    {"prompt": [messages], "chosen": [{"role": "assistant", …}], "rejected": [{"role": "assistant", …}],
     "strength": "significantly better" | "better" | "slightly better" | "negligibly better"}

Combined, the safety score leads on prompts tagged as risky and wherever it is below 0.15.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatt import files, sampling
from gatt.script import Message, Script
from gatt.synthesize import Scorer, by_checks
from gatt.tuning import checkpoints
from gatt.tuning.settings import Lora
from strategies import templates

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Row = dict[str, Any]
Progress = Callable[[int, int, float], None]

STRENGTHS = ("significantly better", "better", "slightly better", "negligibly better")
MARGINS: dict[str, dict[str, float]] = {
    "none": dict.fromkeys(STRENGTHS, 0.0),
    "small": dict(zip(STRENGTHS, (1.0, 2 / 3, 1 / 3, 0.0), strict=True)),
    "large": dict(zip(STRENGTHS, (3.0, 2.0, 1.0, 0.0), strict=True)),
}
"""Margin table → strength of preference → margin (Llama 2 paper, Table 27)."""

UNSAFE_BELOW = 0.15
"""Safety scores under this lead, whatever the prompt (section 3.2.3)."""


class RewardError(ValueError):
    """Preferences that cannot be used; file, line and remedy are named."""


@dataclass(frozen=True)
class Learning:
    """How one reward model learns. `modules` of adapters are `lora`'s; without it all weights learn."""

    steps: int = 300
    learning_rate: float = 1e-4
    rows_per_step: int = 16
    checkpoint_every: int = 100
    lora: Lora | None = None
    bf16: bool = True


def read(path: Path) -> list[Row]:
    """The preferences of a file.

    Raises:
        RewardError: naming file and line.
    """
    try:
        rows = files.read_jsonl(path)
    except OSError as error:
        raise RewardError(
            f"{path}: cannot be read ({error.strerror}); give a JSON Lines file of preferences"
        ) from error
    for number, row in enumerate(rows, start=1):
        for field in ("prompt", "chosen", "rejected"):
            _check_messages(row.get(field), f"{path}:{number}: {field}", None if field == "prompt" else "assistant")
        if row["chosen"] == row["rejected"]:
            raise RewardError(f"{path}:{number}: chosen and rejected are the same; take the pair out")
        if row.get("strength") not in STRENGTHS:
            raise RewardError(f"{path}:{number}: strength must be one of {', '.join(STRENGTHS)}")
    if len(rows) < 2:
        raise RewardError(f"{path}: holds {len(rows)} preferences; at least two are needed, to learn and to test")
    return rows


def _check_messages(messages: Any, place: str, role: str | None) -> None:
    if not isinstance(messages, list) or not messages:
        raise RewardError(f"{place} must be a list of messages that is not empty")
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise RewardError(f'{place} holds {message!r:.60}; each message is {{"role": …, "content": …}}')
        if not isinstance(message.get("content"), str) or not message["content"].strip():
            raise RewardError(f"{place} holds an empty message; give it text or take the pair out")
        if role is not None and message["role"] != role:
            raise RewardError(f"{place} holds a message of role {message['role']!r}; an answer is {role!r}")


def held_out(rows: Sequence[Row], share: float, seed: str) -> tuple[list[Row], list[Row]]:
    """(to learn from, to test on), drawn at random; both hold at least one."""
    mixed = list(rows)
    random.Random(seed).shuffle(mixed)
    cut = min(len(mixed) - 1, max(1, round(share * len(mixed))))
    return mixed[cut:], mixed[:cut]


def train(
    start: str, rows: Sequence[Row], margin: str, how: Learning, folder: Path, seed: int,
    progress: Progress = lambda step, steps, loss: None,
) -> int:  # fmt: skip
    """Trains a reward model from the chat model at `start` into `folder/model`, unless it is there already.

    Returns the number of pairs too long for the window: these are left out, never cut.
    """
    tokenizer = sampling.load_tokenizer(start)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    longest = sampling.window_of(start)
    pairs = [_pair(row, margin, tokenizer) for row in rows]
    usable = [pair for pair in pairs if max(len(pair["chosen_ids"]), len(pair["rejected_ids"])) <= longest]
    if not usable:
        raise RewardError(f"all {len(rows)} preferences are longer than the window of {longest} tokens")
    if not (folder / "model").exists():
        with checkpoints.kept_whole(folder):
            run = _trainer(start, tokenizer, usable, how, folder, seed, progress)
            run.train(resume_from_checkpoint=checkpoints.last(folder))
            _save(run, start, folder / "model", how)
    return len(rows) - len(usable)


def _pair(row: Row, margin: str, tokenizer: PreTrainedTokenizerBase) -> Row:
    """Both answers behind their prompt as token ids, and the margin between them."""
    return {
        "chosen_ids": templates.ids(tokenizer, [*row["prompt"], *row["chosen"]], add_generation_prompt=False),
        "rejected_ids": templates.ids(tokenizer, [*row["prompt"], *row["rejected"]], add_generation_prompt=False),
        "margin": MARGINS[margin][row["strength"]],
    }


def _trainer(
    start: str, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Row], how: Learning, folder: Path, seed: int,
    progress: Progress,
) -> Any:  # fmt: skip
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import PrinterCallback, TrainerCallback
    from trl.trainer.reward_config import RewardConfig
    from trl.trainer.reward_trainer import RewardTrainer

    class Report(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **rest: Any) -> None:
            if logs and "loss" in logs:
                progress(state.global_step, how.steps, float(logs["loss"]))

    config = RewardConfig(
        output_dir=str(folder), max_steps=how.steps, per_device_train_batch_size=how.rows_per_step,
        learning_rate=how.learning_rate, lr_scheduler_type="cosine", warmup_steps=max(1, how.steps // 20),
        optim="adamw_torch", max_length=None, activation_checkpointing=False, bf16=how.bf16,
        use_cpu=not torch.cuda.is_available(), seed=seed, data_seed=seed, save_steps=how.checkpoint_every,
        save_total_limit=1, logging_steps=10, report_to="none", disable_tqdm=True,
    )  # fmt: skip
    adapters = None
    if how.lora is not None:
        adapters = LoraConfig(
            r=how.lora.r, lora_alpha=how.lora.alpha, lora_dropout=how.lora.dropout,
            target_modules=list(how.lora.modules), modules_to_save=["score"], task_type="SEQ_CLS",
        )  # fmt: skip
    made = RewardTrainer(
        model=start, args=config, train_dataset=Dataset.from_list(list(pairs)), processing_class=tokenizer,
        peft_config=adapters, callbacks=[Report()],
    )  # fmt: skip
    made.remove_callback(PrinterCallback)
    return made


def _save(run: Any, start: str, folder: Path, how: Learning) -> None:
    beside = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    if how.lora is None:
        run.save_model(str(beside))
    else:
        run.model.merge_and_unload().save_pretrained(beside)
        run.processing_class.save_pretrained(beside)
    (beside / "training_args.bin").unlink(missing_ok=True)
    beside.replace(folder)


class RewardModel:
    """A trained reward model; `scores` are its linear outputs, one a conversation."""

    def __init__(self, folder: Path, rows: int = 32) -> None:
        import torch
        from transformers import AutoModelForSequenceClassification

        self._tokenizer = sampling.load_tokenizer(str(folder))
        model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
        self._model = sampling.on_accelerator(model)
        self._model.eval()  # type: ignore[no-untyped-call]
        self._rows = rows

    def scores(self, conversations: Sequence[Sequence[Message]]) -> list[float]:
        """The score of each conversation's last answer, before any sigmoid."""
        import torch

        ids = [templates.ids(self._tokenizer, one, add_generation_prompt=False) for one in conversations]
        order = sorted(range(len(ids)), key=lambda at: len(ids[at]))
        found: dict[int, float] = {}
        filler = self._model.config.get_text_config().pad_token_id or 0
        for start in range(0, len(order), self._rows):
            some = order[start : start + self._rows]
            width = max(len(ids[at]) for at in some)
            batch = torch.tensor([ids[at] + [filler] * (width - len(ids[at])) for at in some])
            mask = torch.tensor([[1] * len(ids[at]) + [0] * (width - len(ids[at])) for at in some])
            with torch.inference_mode():
                logits = self._model(
                    input_ids=batch.to(self._model.device), attention_mask=mask.to(self._model.device)
                ).logits
            found |= dict(zip(some, logits[:, 0].float().tolist(), strict=True))
        return [found[at] for at in range(len(ids))]


def accuracy(model: RewardModel, rows: Sequence[Row]) -> dict[str, dict[str, float | int | None]]:
    """Share of held-out pairs whose chosen answer scores higher, by strength and over all ("all")."""
    chosen = model.scores([[*row["prompt"], *row["chosen"]] for row in rows])
    rejected = model.scores([[*row["prompt"], *row["rejected"]] for row in rows])
    right = [better > worse for better, worse in zip(chosen, rejected, strict=True)]
    figures: dict[str, dict[str, float | int | None]] = {}
    for strength in (*STRENGTHS, "all"):
        some = [won for won, row in zip(right, rows, strict=True) if strength in (row["strength"], "all")]
        figures[strength] = {"n": len(some), "accuracy": sum(some) / len(some) if some else None}
    return figures


def combined(helpful: Sequence[float], safe: Sequence[float], tagged: Sequence[bool]) -> list[float]:
    """R_c: the safety model's linear score where the prompt is tagged or its sigmoid is below 0.15, else the
    helpfulness model's. The paper combines sigmoids and takes the logit again; that is the linear score."""
    import math

    def unsafe(score: float) -> bool:
        return 1 / (1 + math.exp(-score)) < UNSAFE_BELOW

    return [s if risky or unsafe(s) else h for h, s, risky in zip(helpful, safe, tagged, strict=True)]


def whitened(scores: Sequence[float]) -> list[float]:
    """Scores with mean 0 and variance 1, as the paper gives them to the policy's training; all 0 where all agree."""
    mean = sum(scores) / len(scores)
    spread = (sum((score - mean) ** 2 for score in scores) / len(scores)) ** 0.5
    return [(score - mean) / spread if spread else 0.0 for score in scores]


def scorer(helpfulness: Path, safety: Path | None, with_checks: bool) -> Scorer:
    """A scorer for `gatt synthesize`: 0..1 by the sigmoid of the combined score, with `with_checks` the mean of that
    and the script's checks. Prompts are tagged turn by turn (`risky`)."""
    import math

    helpful, safe = RewardModel(helpfulness), RewardModel(safety) if safety else None

    def score(script: Script, turn: int, prompt: Sequence[Message], found: Sequence[str]) -> list[float]:
        conversations = [[*prompt, {"role": "assistant", "content": reply}] for reply in found]
        linear = helpful.scores(conversations)
        if safe is not None:
            linear = combined(linear, safe.scores(conversations), [script.turns[turn].risky] * len(found))
        rewards = [1 / (1 + math.exp(-one)) for one in linear]
        if not with_checks:
            return rewards
        return [(one + check) / 2 for one, check in zip(rewards, by_checks(script, turn, prompt, found), strict=True)]

    return score


def markdown(results: Mapping[str, Any]) -> str:
    """Held-out accuracy by margin table and strength, as in the paper's Table 28."""
    from gatt.report import percent, table_markdown

    head = ["", *(f"{strength}" for strength in STRENGTHS), "all", "n"]
    rows = []
    for kind, by_margin in results.items():
        for margin, figures in by_margin.items():
            shown = [percent(figures[strength]["accuracy"]) for strength in (*STRENGTHS, "all")]
            rows.append([f"{kind}, {'no margin' if margin == 'none' else f'margin {margin}'}", *shown])
            rows[-1].append(str(figures["all"]["n"]))
    return table_markdown(head, rows)
