"""The objectives, each on the trainer that TRL has for it; `MAKERS` maps their names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatt import processes
from gatt.tuning import rows as columns
from gatt.tuning.settings import Round, Tuning

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainerCallback

Row = dict[str, Any]
Maker = Callable[["PreTrainedModel", "PreTrainedTokenizerBase", Sequence[Row], Tuning, dict[str, Any]], "Trainer"]
"""Builds the trainer for (model, tokenizer, rows, settings, arguments that all trainers share)."""


def trainer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Row],
    how: Tuning,
    round_: Round,
    folder: Path,
    seed: int,
    callbacks: Sequence[TrainerCallback] = (),
) -> Trainer:
    """The trainer of one round on these rows, checkpoints under `folder`."""
    from transformers import PrinterCallback

    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    made = MAKERS[how.objective](model, tokenizer, rows, how, _shared(how, round_, folder, seed))
    for callback in callbacks:
        made.add_callback(callback)
    made.remove_callback(PrinterCallback)
    return made


def _shared(how: Tuning, round_: Round, folder: Path, seed: int) -> dict[str, Any]:
    import torch

    batch, accumulated = how.per_device(processes.count())
    return {
        "output_dir": str(folder),
        "max_steps": round_.steps,
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": accumulated,
        "learning_rate": round_.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": max(1, round(how.warm_up * round_.steps)),
        "weight_decay": how.weight_decay,
        "optim": "adamw_torch",
        "activation_checkpointing": how.gradient_checkpointing,
        "bf16": how.bf16,
        "use_cpu": not torch.cuda.is_available(),
        "seed": seed,
        "data_seed": seed,
        "save_steps": how.checkpoint_every,
        "save_total_limit": 1,
        "logging_steps": 10,
        "report_to": "none",
        "disable_tqdm": True,
    }


def _supervised(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, dataset: Any, shared: dict[str, Any]
) -> Trainer:
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    class Grouped(SFTTrainer):
        """Rows of like length share a step, over all processes: however many there are, they learn the same steps."""

        def _get_train_sampler(self, *given: Any) -> Any:
            sampler: Any = super()._get_train_sampler(*given)
            sampler.batch_size *= self.args.world_size
            return sampler

    config = SFTConfig(**shared, max_length=None, completion_only_loss=None, train_sampling_strategy="group_by_length")
    made: Trainer = Grouped(model=model, args=config, train_dataset=dataset, processing_class=tokenizer)
    return made


def _sft_last(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], how: Tuning, shared: dict[str, Any]
) -> Trainer:
    return _supervised(model, tokenizer, columns.last_answers(rows, tokenizer), shared)


def _sft_all(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], how: Tuning, shared: dict[str, Any]
) -> Trainer:
    return _supervised(model, tokenizer, columns.all_answers(rows, tokenizer), shared)


def _dpo(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], how: Tuning, shared: dict[str, Any]
) -> Trainer:
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    config = DPOConfig(**shared, beta=how.beta, max_length=None)
    made: Trainer = DPOTrainer(
        model=model, args=config, train_dataset=columns.pairs(rows, tokenizer), processing_class=tokenizer
    )
    return made


def _sdft(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], how: Tuning, shared: dict[str, Any]
) -> Trainer:
    """Self-distillation on own answers (arXiv 2601.19897); the teacher is the model that the round began with."""
    from trl.experimental.sdft import SDFTConfig, SDFTTrainer
    from trl.experimental.sdft.sdft_trainer import DemonstrationTeacherContextBuilder

    class Placed(DemonstrationTeacherContextBuilder):
        """The teacher reads the prompt as it was sampled: the instruction in every user turn."""

        def _compose_teacher_prompt(self, prompt: Any, privileged_context: Any) -> Any:
            return list(privileged_context)

    config = SDFTConfig(
        **shared,
        num_generations=1,
        max_prompt_length=None,
        max_completion_length=how.max_new_tokens,
        distillation_mode="full_logits",
    )
    dataset = columns.distilled(rows, tokenizer)
    made: Any = SDFTTrainer(model=model, args=config, train_dataset=dataset, processing_class=tokenizer)
    made.teacher_context_builder = Placed(made)  # type: ignore[no-untyped-call]
    trainer: Trainer = made
    return trainer


MAKERS: dict[str, Maker] = {"sft-last": _sft_last, "sft-all": _sft_all, "dpo": _dpo, "sdft": _sdft}
