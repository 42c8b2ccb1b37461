"""The base model: a small Llama that answers questions and follows the instruction of the message at hand.

Trained in phases, short dialogues first (copying arises within some hundred steps on one to three turns, and not at
all when training starts on twenty), with checkpoints from which an interrupted run goes on.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatt.files import write_text
from gatt.miniature.dialogues import Dialogue, Encoded, Encoder, batches, long_dialogue, short_dialogue
from gatt.miniature.families import FAMILIES
from gatt.miniature.tokenizer import CONTEXT_WINDOW, END, train_tokenizer
from gatt.miniature.world import any_instruction, ask

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

DIALOGUES: dict[str, Callable[[random.Random], Dialogue]] = {"short": short_dialogue, "long": long_dialogue}
_EAGER_WIDTH = 160
"""On CPU, eager attention is a third faster than the fused kernel up to about this row length, slower above."""

Progress = Callable[[str, int, int, float], None]
"""Called with (phase, step, steps, smoothed loss)."""


@dataclass(frozen=True)
class Phase:
    """A stretch of training on one kind of dialogue, with a warm-up and a cosine decay of its own.

    The decay runs over `decay_steps`, by default all steps; a phase that another follows may stop before its end.
    """

    dialogues: str
    steps: int
    learning_rate: float
    decay_steps: int = 0


@dataclass(frozen=True)
class Shape:
    """The model's size; the default has 2.7 M parameters, 10.6 MB in float32."""

    vocab_size: int = 2304
    hidden_size: int = 192
    intermediate_size: int = 512
    layers: int = 5
    heads: int = 6


def build_tokenizer(seed: int, vocab_size: int, samples: int) -> PreTrainedTokenizerFast:
    """The tokenizer of the world: merges learned from `samples` instructed and plain turns.

    Every attribute is added so often that it becomes a single token: copying a word spelled in pieces is learned
    later than copying one token, and a rare word's pieces collide with other words ("cow" in "cowboy").
    """
    rng = random.Random(f"{seed}/tokenizer")
    corpus: list[str] = []
    for _ in range(samples):
        instruction, question = any_instruction(rng), ask(rng)
        corpus += [f"{question.text}\n\n{instruction.text}", f"{instruction.text}\n\n{question.text}"]
        corpus += [instruction.reply(question), question.answer()]
    corpus += [f" {value}" for family in FAMILIES for value in family.tuned + family.unseen] * (samples // 100)
    return train_tokenizer(corpus, vocab_size)


def build_model(shape: Shape, tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """A freshly initialised Llama with tied embeddings and a window of 1,024 tokens."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    end = tokenizer.convert_tokens_to_ids(END)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=CONTEXT_WINDOW,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=end,
        bos_token_id=None,
    )
    return LlamaForCausalLM(config)


def pretrain(
    folder: Path,
    phases: Sequence[Phase],
    shape: Shape,
    seed: int,
    tokens_per_step: int = 4096,
    checkpoint_every: int = 100,
    tokenizer_samples: int = 12_000,
    progress: Progress = lambda phase, step, steps, loss: None,
) -> dict[str, Any]:
    """Trains tokenizer and model into `folder`; goes on from the checkpoint where one lies there.

    Returns the figures for the model card: parameters, steps, tokens, seconds and the last smoothed loss of each phase.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer(seed, shape.vocab_size, tokenizer_samples)
    model = build_model(shape, tokenizer, seed)
    run = _Run(model, Encoder(tokenizer), folder / "checkpoint.pt", seed, tokens_per_step)
    run.load()
    for number in range(run.phase, len(phases)):
        run.train(number, phases[number], checkpoint_every, progress)
    model.set_attn_implementation("sdpa")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    figures = {"parameters": model.num_parameters(), "phases": run.done}
    write_text(folder / "pretraining.json", json.dumps(figures, indent=2) + "\n")
    run.checkpoint.unlink(missing_ok=True)
    return figures


class _Run:
    """One training run: model, optimizer and place in the data."""

    def __init__(self, model: LlamaForCausalLM, encode: Encoder, checkpoint: Path, seed: int, tokens: int) -> None:
        self.model, self.encode, self.checkpoint, self.seed, self.tokens = model, encode, checkpoint, seed, tokens
        self.phase, self.step, self.seen_tokens, self.seconds, self.loss = 0, 0, 0, 0.0, 0.0
        self.done: list[dict[str, Any]] = []
        self._start_optimizer()

    def _start_optimizer(self) -> None:
        import torch

        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=0.0, betas=(0.9, 0.95), weight_decay=0.05, fused=True
        )

    def load(self) -> None:
        """Takes up the checkpoint, if there is one."""
        import torch

        if not self.checkpoint.exists():
            return
        state = torch.load(self.checkpoint, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        for name in ("phase", "step", "seen_tokens", "seconds", "loss", "done"):
            setattr(self, name, state[name])

    def save(self) -> None:
        """Writes the checkpoint beside the old one, then renames it."""
        import torch

        names = ("phase", "step", "seen_tokens", "seconds", "loss", "done")
        state = {name: getattr(self, name) for name in names}
        beside = self.checkpoint.with_suffix(".new")
        torch.save(state | {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}, beside)
        beside.replace(self.checkpoint)

    def train(self, number: int, phase: Phase, checkpoint_every: int, progress: Progress) -> None:
        """Runs one phase to its end."""
        data = batches(DIALOGUES[phase.dialogues], self.encode, f"{self.seed}/{number}", self.tokens)
        started = time.perf_counter() - self.seconds
        for batch in itertools.islice(data, self.step, phase.steps):
            self._learn(batch, _learning_rate(phase, self.step))
            self.step += 1
            self.seconds = time.perf_counter() - started
            if self.step % checkpoint_every == 0:
                self.save()
            progress(f"{number + 1} {phase.dialogues}", self.step, phase.steps, self.loss)
        self.done.append(
            {
                "dialogues": phase.dialogues,
                "steps": phase.steps,
                "learning_rate": phase.learning_rate,
                "tokens": self.seen_tokens,
                "seconds": round(self.seconds, 1),
                "loss": round(self.loss, 4),
            }
        )
        self.phase, self.step, self.seen_tokens, self.seconds, self.loss = number + 1, 0, 0, 0.0, 0.0
        self._start_optimizer()
        self.save()

    def _learn(self, batch: list[Encoded], learning_rate: float) -> None:
        import torch

        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        ids, labels = pad(batch, self.model.config.pad_token_id or 0)
        self.model.train()
        self.model.set_attn_implementation("eager" if ids.shape[1] <= _EAGER_WIDTH else "sdpa")
        with torch.autocast("cpu", torch.bfloat16):
            loss = reply_loss(self.model, ids, labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.loss = 0.95 * self.loss + 0.05 * loss.item() if self.loss else loss.item()
        self.seen_tokens += ids.numel()


def _learning_rate(phase: Phase, step: int, warm_up: int = 50) -> float:
    cosine = 0.5 * (1 + math.cos(math.pi * step / (phase.decay_steps or phase.steps)))
    return phase.learning_rate * min(1.0, (step + 1) / warm_up) * (0.05 + 0.95 * cosine)


def pad(batch: list[Encoded], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and labels of a batch as tensors (rows, longest row), padded on the right."""
    import torch

    width = max(len(ids) for ids, _ in batch)
    ids = torch.tensor([row + [pad_id] * (width - len(row)) for row, _ in batch])
    labels = torch.tensor([row + [-100] * (width - len(row)) for _, row in batch])
    return ids, labels


def reply_loss(model: LlamaForCausalLM, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy over the labelled tokens; logits are computed for those alone.

    Rows are padded on the right and attention is causal, so no mask is needed and the fast kernel runs.
    """
    import torch

    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    targets = labels[:, 1:]
    learned = targets != -100
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[learned]).float(), targets[learned])
