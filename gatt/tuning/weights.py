"""Which weights learn, and how what they learned gets into a folder that `transformers` loads."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatt import processes
from gatt.tuning.settings import Lora, Tuning

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer


def prepare(model: PreTrainedModel, how: Tuning) -> tuple[PreTrainedModel, int]:
    """The model with what `how` names free to learn (adapters put on where it asks for them), and how many weights.

    Raises:
        ValueError: no module has such a name.
    """
    if how.lora is None:
        return model, free(model, how.modules)
    adapted = _adapted(model, how.lora)
    return adapted, sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad)


def free(model: PreTrainedModel, modules: Sequence[str]) -> int:
    """Lets the named modules learn, all where none is named, and freezes the rest; returns the number of weights.

    Raises:
        ValueError: no module has such a name.
    """
    learning = 0
    for name, weight in model.named_parameters():
        weight.requires_grad = not modules or any(part in modules for part in name.split("."))
        learning += weight.numel() if weight.requires_grad else 0
    if not learning:
        raise ValueError(f"no weights are named {', '.join(modules)}; see model.named_modules() for what there is")
    return learning


def _adapted(model: PreTrainedModel, lora: Lora) -> PreTrainedModel:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.modules) if lora.modules != ("all-linear",) else "all-linear",
        task_type="CAUSAL_LM",
    )
    adapted: Any = get_peft_model(model, config)
    learner: PreTrainedModel = adapted
    return learner


def save(run: Trainer, start: Path, folder: Path, how: Tuning) -> None:
    """Writes what a round learned into `folder`, beside its place first: a model, or an adapter left unmerged.

    With several processes all take part in gathering the weights and the main one writes.
    """
    beside = folder.with_name(f"{folder.name}.new")
    if processes.is_main():
        shutil.rmtree(beside, ignore_errors=True)
    processes.wait()
    with _put_together(run):
        run.save_model(str(beside))
    if processes.is_main():
        (beside / "training_args.bin").unlink(missing_ok=True)
        if how.lora is not None and how.lora.merge:
            _merge(beside, start)
        if how.lora is None or how.lora.merge:
            _allow_cache(beside)
        beside.replace(folder)
    processes.wait()


@contextmanager
def _put_together(run: Trainer) -> Iterator[None]:
    """Has FSDP gather the shares of all processes: with sharded checkpoints the trainer would write no model at all."""
    plugin = getattr(run.accelerator.state, "fsdp_plugin", None)
    if plugin is None:
        yield
        return
    before = plugin.state_dict_type
    plugin.set_state_dict_type("FULL_STATE_DICT")
    try:
        yield
    finally:
        plugin.set_state_dict_type(before)


def _merge(adapter: Path, start: Path) -> None:
    """Puts the model `start` with its adapter merged in into the adapter's place."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    merged = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(start), adapter).merge_and_unload()
    tokenizer = AutoTokenizer.from_pretrained(adapter)
    shutil.rmtree(adapter)
    merged.save_pretrained(adapter)
    tokenizer.save_pretrained(adapter)


def _allow_cache(folder: Path) -> None:
    """Trainers switch the key-value cache off while they train; whoever loads the result wants it on."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder)
    if config.use_cache is False:
        config.use_cache = True
        config.save_pretrained(folder)


def average(ends: Sequence[Path], folder: Path, dtype: str = "float32") -> None:
    """Writes the mean of the models at `ends` into `folder` as `dtype`, two of them in memory at a time."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    mean = AutoModelForCausalLM.from_pretrained(ends[0])
    state = mean.state_dict()
    for number, end in enumerate(ends[1:], start=2):
        for name, weight in AutoModelForCausalLM.from_pretrained(end).state_dict().items():
            if weight.is_floating_point():
                state[name] += (weight - state[name]) / number
    cast: PreTrainedModel = mean.to(getattr(torch, dtype))
    _write(cast, AutoTokenizer.from_pretrained(ends[0]), folder)


def _write(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    beside = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    model.save_pretrained(beside)
    tokenizer.save_pretrained(beside)
    beside.replace(folder)
