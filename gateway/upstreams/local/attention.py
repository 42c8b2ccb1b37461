"""One forward over many sequences at once: tokens of all of them side by side, attention each by itself.

A step's input is `[1, tokens]`: first one token of each sequence that is being decoded, then the chunks of
prompts that are being read. All layers but attention treat tokens alike; attention comes here through
transformers' attention interface (https://huggingface.co/docs/transformers/attention_interface) and is done for
the decoded rows in one batched call and for each chunk in one call, on views of the `Slots`.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.cache_utils import Cache, CacheLayerMixin
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from gateway.upstreams.local.kv import Slots

NAME = "gattway_ragged"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens `start .. start + length` of the sequence in `slot`."""

    slot: int
    start: int
    length: int


class Layout:
    """Where each token of one forward belongs.

    Args:
        decoding: for slots 0, 1, … the position of the one token that each feeds.
        chunks: what follows them in the input.
    """

    def __init__(
        self, decoding: Sequence[int], chunks: Sequence[Chunk], dtype: torch.dtype, device: torch.device
    ) -> None:
        slots = list(range(len(decoding)))
        positions = list(decoding)
        for chunk in chunks:
            slots.extend([chunk.slot] * chunk.length)
            positions.extend(range(chunk.start, chunk.start + chunk.length))
        self.chunks = chunks
        self.decoding = len(decoding)
        self.longest = max(decoding, default=-1) + 1
        self.slots = torch.tensor(slots, device=device)
        self.positions = torch.tensor(positions, device=device)
        self._dtype, self._device = dtype, device
        self._masks: dict[tuple[int, int | None], Tensor] = {}

    def mask(self, part: int, window: int | None) -> Tensor:
        """Additive mask of the decoded rows (`part` -1: `[rows, 1, 1, longest]`) or of a chunk (`[1, 1, q, k]`)."""
        mask = self._masks.get((part, window))
        if mask is None:
            mask = self._masks[part, window] = self._make_mask(part, window)
        return mask

    def _make_mask(self, part: int, window: int | None) -> Tensor:
        if part < 0:
            queries, keys = self.positions[: self.decoding].view(-1, 1, 1, 1), self.longest
        else:
            chunk = self.chunks[part]
            keys = chunk.start + chunk.length
            queries = torch.arange(chunk.start, keys, device=self._device).view(1, 1, -1, 1)
        at = torch.arange(keys, device=self._device)
        hidden = at > queries
        if window is not None:
            hidden |= at <= queries - window
        mask = torch.zeros(hidden.shape, dtype=self._dtype, device=self._device)
        return mask.masked_fill_(hidden, torch.finfo(self._dtype).min)


class _Current(threading.local):
    """The layout of the forward that this thread is in; transformers has no other way in for all models."""

    layout: Layout


_current = _Current()


class SlotCache(Cache):
    """transformers' view of the `Slots`: a layer's update writes in place and hands back the whole tensors."""

    def __init__(self, slots: Slots) -> None:
        super().__init__(layers=[_SlotLayer(slots, layer) for layer in range(len(slots.keys))])


class _SlotLayer(CacheLayerMixin):  # type: ignore[no-untyped-call]
    is_sliding = False

    def __init__(self, slots: Slots, layer: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._slots, self._layer = slots, layer
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """The slots are made before the first forward."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write `[1, heads, tokens, dim]` to where the layout says; returns `[slots, heads, capacity, dim]`."""
        layout = _current.layout
        keys, values = self._slots.keys[self._layer], self._slots.values[self._layer]
        where = (layout.slots, layout.positions)
        keys.transpose(1, 2).index_put_(where, key_states[0].transpose(0, 1))
        values.transpose(1, 2).index_put_(where, value_states[0].transpose(0, 1))
        return keys, values

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Unused by our attention, which masks for itself."""
        return self._slots.capacity, 0

    def get_seq_length(self) -> int:
        """No single length: positions are always given."""
        return 0

    def get_max_length(self) -> int:
        """Tokens that a slot may come to hold."""
        return self._slots.window


def forward(model: Any, tokens: Sequence[int], layout: Layout, cache: SlotCache, wanted: Sequence[int]) -> Tensor:
    """Run one step; returns float32 logits `[len(wanted), vocabulary]` after the tokens at places `wanted`."""
    _current.layout = layout
    device = layout.positions.device
    output = model(
        input_ids=torch.tensor([tokens], device=device),
        position_ids=layout.positions.unsqueeze(0),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=torch.tensor(wanted, device=device),
    )
    logits: Tensor = output.logits[0].float()
    return logits


def ragged_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention of every token over its own sequence.

    Shapes: query `[1, heads, tokens, dim]`; key and value as `SlotCache` gave them; result `[1, tokens, heads, dim]`.
    """
    layout = _current.layout
    attend = _kernel(module, kwargs)
    outputs = []
    if rows := layout.decoding:
        keys, values = key[:rows, :, : layout.longest], value[:rows, :, : layout.longest]
        mask = layout.mask(-1, sliding_window)
        result = attend(module, query[0, :, :rows].transpose(0, 1).unsqueeze(2), keys, values, mask, **kwargs)[0]
        outputs.append(result.transpose(0, 1))
    begin = rows
    for part, chunk in enumerate(layout.chunks):
        end = chunk.start + chunk.length
        here = slice(chunk.slot, chunk.slot + 1)
        queries = query[:, :, begin : begin + chunk.length]
        mask = layout.mask(part, sliding_window)
        outputs.append(attend(module, queries, key[here, :, :end], value[here, :, :end], mask, **kwargs)[0])
        begin += chunk.length
    return (outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)), None


def _kernel(module: torch.nn.Module, kwargs: dict[str, Any]) -> Callable[..., tuple[Tensor, Any]]:
    """SDPA, or the model file's own eager attention for what SDPA cannot do (soft caps, attention sinks)."""
    if kwargs.get("softcap") is None and kwargs.get("s_aux") is None:
        return sdpa_attention_forward
    eager: Callable[..., tuple[Tensor, Any]] = sys.modules[type(module).__module__].__dict__["eager_attention_forward"]
    return eager


AttentionInterface.register(NAME, ragged_attention)
