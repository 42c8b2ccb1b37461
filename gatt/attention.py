"""Where a model looks: Figure 10 of the Llama 2 paper, for any model, and the instruction's share of attention by turn.

A finished dialogue is read once, in blocks of queries that share a key-value cache, with the model's own eager
attention. A hook takes each layer's weights as they come, reduces them and lets them go, so that memory is

    heads × block × tokens × 4 bytes   for one layer's weights (twice that while their softmax runs)
    (tokens / bin)² × 4 bytes          for the map

and never layers × heads × tokens². The map holds the maximum over layers and heads, neighbouring tokens binned by
their maximum. The instruction's share is the attention mass on its tokens over all mass, both without the first token,
which serves models as a sink (arXiv 2309.17453), summed over the queries that predict an answer, all layers and heads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from strategies import templates

if TYPE_CHECKING:
    import numpy as np
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Message = dict[str, Any]
Span = tuple[int, int]
"""Token positions, end excluded."""

BINS = 128
"""Bins a side of the map, at most."""


class AttentionError(ValueError):
    """A dialogue or a model that no map can be made of; the message says why."""


@dataclass(frozen=True)
class Layout:
    """Where things stand in a dialogue's tokens."""

    ids: tuple[int, ...]
    instruction: tuple[Span, ...]
    users: tuple[Span, ...]
    answers: tuple[Span, ...]


@dataclass(frozen=True)
class Map:
    """What one model looks at: `peaks` is (bins, bins), queries down, keys across; the rest by turn, in 0..1."""

    peaks: np.ndarray
    bin_tokens: int
    share_by_turn: tuple[float | None, ...]
    peak_by_turn: tuple[float | None, ...]


def layout(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], instruction: str | None = None) -> Layout:
    """Finds instruction, user messages and answers in the dialogue's tokens.

    The instruction is the system message's text, else `instruction` wherever a user message holds it.

    Raises:
        AttentionError: the template leaves out or rewrites a message, or the tokenizer keeps no offsets.
    """
    if not tokenizer.is_fast:
        raise AttentionError("a fast tokenizer is needed: a slow one does not say where its tokens stand in the text")
    text = templates.text(tokenizer, messages, add_generation_prompt=False)
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    offsets: list[Span] = [(start, end) for start, end in encoded["offset_mapping"]]
    spans: dict[str, list[Span]] = {"user": [], "assistant": []}
    cursor = 0
    for message in messages:
        if message["role"] in spans:
            found = _find(text, str(message["content"]).strip(), cursor)
            cursor = found[1]
            spans[message["role"]].append(_tokens(offsets, found))
    said = str(messages[0]["content"]).strip() if messages[0]["role"] == "system" else instruction
    places = [_tokens(offsets, place) for place in _all(text, said.strip())] if said else []
    if said and not places:
        raise AttentionError(f"the instruction {said[:60]!r} stands nowhere in the dialogue as the model reads it")
    return Layout(tuple(encoded["input_ids"]), tuple(places), tuple(spans["user"]), tuple(spans["assistant"]))


def _find(text: str, part: str, start: int) -> Span:
    at = text.find(part, start)
    if at < 0:
        raise AttentionError(f"the chat template leaves out or rewrites the message {part[:60]!r}")
    return at, at + len(part)


def _all(text: str, part: str) -> Iterator[Span]:
    at = text.find(part)
    while at >= 0:
        yield at, at + len(part)
        at = text.find(part, at + len(part))


def _tokens(offsets: Sequence[Span], place: Span) -> Span:
    inside = [number for number, (start, end) in enumerate(offsets) if start < place[1] and end > place[0]]
    if not inside:  # an empty message
        after = next((number for number, (_, end) in enumerate(offsets) if end > place[0]), len(offsets))
        return after, after
    return inside[0], inside[-1] + 1


def measure(model: PreTrainedModel, where: Layout, block: int = 256, bins: int = BINS) -> Map:
    """Reads the dialogue with `model`, `block` queries at a time.

    Raises:
        AttentionError: the dialogue is longer than the window, or the model gives no attention weights.
    """
    import torch

    tokens, window = len(where.ids), getattr(model.config, "max_position_embeddings", None)
    if window and tokens > window:
        raise AttentionError(f"the dialogue has {tokens} tokens and the model's window {window}; give fewer turns")
    width = max(1, math.ceil(tokens / bins))
    seen = _Seen(where, width)
    ids = torch.tensor([where.ids], device=model.device)
    with torch.inference_mode(), _watched(model, seen):
        _read(model, ids, max(width, block - block % width), seen)
    if not seen.layers:
        raise AttentionError(f"{type(model).__name__} gives no attention weights under eager attention")
    return seen.result()


def _read(model: PreTrainedModel, ids: torch.Tensor, block: int, seen: _Seen) -> None:
    from transformers import DynamicCache

    cache = DynamicCache(config=model.config)
    for start in range(0, ids.shape[1], block):
        seen.start = start
        some = ids[:, start : start + block]
        model.base_model(input_ids=some, past_key_values=cache, use_cache=True)


@contextmanager
def _watched(model: PreTrainedModel, seen: _Seen) -> Iterator[None]:
    """Eager attention with `seen` told of every layer's weights; what the model was is put back."""
    before, training = model.config._attn_implementation, model.training
    model.set_attn_implementation("eager")
    model.eval()  # type: ignore[no-untyped-call]
    hooks = [module.register_forward_hook(seen.hook) for module in model.modules() if _is_attention(module)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        model.set_attn_implementation(before or "eager")
        model.train(training)


def _is_attention(module: torch.nn.Module) -> bool:
    return type(module).__name__.endswith("Attention")


@dataclass
class _Seen:
    """What the hooks have gathered so far; `start` is the current block's first position."""

    where: Layout
    width: int
    start: int = 0
    layers: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        import torch

        tokens = len(self.where.ids)
        side = math.ceil(tokens / self.width)
        self.peaks = torch.zeros(side, side)
        self.query_peaks = torch.zeros(tokens)
        self.mass, self.on_instruction = torch.zeros(tokens), torch.zeros(tokens)
        self.keys = torch.zeros(tokens, dtype=torch.bool)
        for start, end in self.where.instruction:
            self.keys[start:end] = True
        self.keys[0] = False

    def hook(self, module: torch.nn.Module, _inputs: Any, output: Any) -> Any:
        """Takes in (1, heads, queries, keys) and hands the output on without it."""
        if not isinstance(output, tuple) or len(output) < 2 or getattr(output[1], "ndim", 0) != 4:
            return output
        self.layers.add(id(module))
        self._take(output[1][0])
        return (output[0], None, *output[2:])

    def _take(self, weights: torch.Tensor) -> None:
        import torch

        queries = slice(self.start, self.start + weights.shape[1])
        # A sliding-window layer holds the newest keys alone: they end where the block ends.
        keys = slice(queries.stop - weights.shape[2], queries.stop)
        here = self.keys[keys]
        top = weights.amax(0).float().cpu()
        mass = weights.sum(0).float().cpu()
        if keys.start == 0:
            mass[:, 0] = 0.0
        self.mass[queries] += mass.sum(1)
        self.on_instruction[queries] += mass[:, here].sum(1)
        if here.any():
            self.query_peaks[queries] = torch.maximum(self.query_peaks[queries], top[:, here].amax(1))
        self._bin(top, keys.start)

    def _bin(self, top: torch.Tensor, first_key: int) -> None:
        """Adds a block of (queries, keys) to the map; blocks begin at the border of a bin, keys may not."""
        import torch

        width, skipped = self.width, first_key % self.width
        low, right = -top.shape[0] % width, -(top.shape[1] + skipped) % width
        padded = torch.nn.functional.pad(top, (skipped, right, 0, low))
        small = padded.view(padded.shape[0] // width, width, padded.shape[1] // width, width).amax((1, 3))
        row, column = self.start // width, first_key // width
        part = self.peaks[row : row + small.shape[0], column : column + small.shape[1]]
        torch.maximum(part, small, out=part)

    def result(self) -> Map:
        """The map, and the figures by turn over the queries that predict each answer."""
        shares: list[float | None] = []
        peaks: list[float | None] = []
        for start, end in self.where.answers:
            asked = slice(max(0, start - 1), max(start, end - 1))
            mass = float(self.mass[asked].sum())
            known = bool(self.where.instruction) and start < end and mass > 0
            shares.append(float(self.on_instruction[asked].sum()) / mass if known else None)
            peaks.append(float(self.query_peaks[asked].mean()) if known else None)
        return Map(self.peaks.numpy(), self.width, tuple(shares), tuple(peaks))
