"""Keys and values of running sequences, and the store of those that may be asked for again.

`Slots` holds one row a sequence in static tensors of `[slots, kv_heads, capacity, head_dim]` a layer, so that a
step writes in place and attention reads views. `BlockStore` keeps whole blocks of 16 tokens of finished prompts
and answers under chained hashes, as vLLM's automatic prefix caching does
(https://docs.vllm.ai/en/latest/design/prefix_caching.html), least recently used out first.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import torch
from torch import Tensor

BLOCK = 16
_FIRST_CAPACITY = 2048


@dataclass(frozen=True, slots=True)
class LayerShape:
    """One layer's cache: heads, and the width of a key and of a value (they differ in some architectures)."""

    heads: int
    key_dim: int
    value_dim: int


class Slots:
    """Static key and value tensors for `count` sequences, grown by doubling up to `window` tokens each."""

    def __init__(
        self, shapes: Sequence[LayerShape], count: int, window: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.window = window
        self.capacity = min(window, _FIRST_CAPACITY)
        # Zeros, since attention multiplies what it masks by nought, and stray memory may hold a NaN.
        self.keys = [
            torch.zeros(count, shape.heads, self.capacity, shape.key_dim, dtype=dtype, device=device)
            for shape in shapes
        ]
        self.values = [
            torch.zeros(count, shape.heads, self.capacity, shape.value_dim, dtype=dtype, device=device)
            for shape in shapes
        ]

    def reserve(self, length: int) -> None:
        """Make room for `length` tokens a slot; what is held stays. Doubling keeps the copying rare."""
        if length <= self.capacity:
            return
        wanted = self.capacity
        while wanted < length:
            wanted *= 2
        wanted = min(wanted, self.window)
        for tensors in (self.keys, self.values):
            for layer, old in enumerate(tensors):
                grown = old.new_zeros(old.shape[0], old.shape[1], wanted, old.shape[3])
                grown[:, :, : self.capacity] = old
                tensors[layer] = grown
        self.capacity = wanted

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens of slot `source` over slot `target`."""
        for tensor in (*self.keys, *self.values):
            tensor[target, :, :length] = tensor[source, :, :length]

    def swap(self, one: int, other: int, length: int) -> None:
        """Exchange the first `length` tokens of two slots."""
        for tensor in (*self.keys, *self.values):
            held = tensor[one, :, :length].clone()
            tensor[one, :, :length] = tensor[other, :, :length]
            tensor[other, :, :length] = held


def digests(tokens: Sequence[int], known: list[bytes]) -> list[bytes]:
    """Chained hashes of the whole blocks of `tokens`; `known` holds those of its first blocks already."""
    chain = list(known)
    for start in range(len(chain) * BLOCK, len(tokens) - BLOCK + 1, BLOCK):
        block = array("I", tokens[start : start + BLOCK]).tobytes()
        chain.append(blake2b(block, key=chain[-1] if chain else b"", digest_size=16).digest())
    return chain


class BlockStore:
    """Blocks of 16 tokens' keys and values, bounded by `budget` bytes."""

    def __init__(self, slots: Slots, budget: int) -> None:
        tensors = (*slots.keys, *slots.values)
        per_block = sum(tensor.shape[1] * tensor.shape[3] * tensor.element_size() for tensor in tensors) * BLOCK
        self._slots = slots
        self.count = budget // per_block
        # Memory that was never written is not resident on CPU, so a large budget costs nothing until it is used.
        self._pools = [tensor.new_empty(self.count, tensor.shape[1], BLOCK, tensor.shape[3]) for tensor in tensors]
        self._held: OrderedDict[bytes, int] = OrderedDict()
        self._free = list(range(self.count - 1, -1, -1))

    def __len__(self) -> int:
        return len(self._held)

    def clear(self) -> None:
        """Forget every block."""
        self._held.clear()
        self._free = list(range(self.count - 1, -1, -1))

    def load(self, chain: Sequence[bytes], slot: int) -> int:
        """Copy the longest held prefix of `chain` into `slot`; returns its length in tokens."""
        found: list[int] = []
        for digest in chain:
            block = self._held.get(digest)
            if block is None:
                break
            found.append(block)
        if not found:
            return 0
        self._touch(chain[: len(found)])
        ids = torch.tensor(found, device=self._pools[0].device)
        for pool, tensor in zip(self._pools, (*self._slots.keys, *self._slots.values), strict=True):
            _blocks(tensor, slot, len(found)).copy_(pool.index_select(0, ids).transpose(0, 1))
        return len(found) * BLOCK

    def save(self, chain: Sequence[bytes], slot: int) -> None:
        """Keep the blocks of `slot` that `chain` names and that are not held yet."""
        chain = chain[: self.count]
        self._touch(chain)
        fresh = [index for index, digest in enumerate(chain) if digest not in self._held]
        if not fresh:
            return
        places = [self._place(chain[index]) for index in fresh]
        device = self._pools[0].device
        ids, source = torch.tensor(places, device=device), torch.tensor(fresh, device=device)
        for pool, tensor in zip(self._pools, (*self._slots.keys, *self._slots.values), strict=True):
            pool.index_copy_(0, ids, _blocks(tensor, slot, len(chain)).index_select(1, source).transpose(0, 1))
        self._touch(chain)

    def _touch(self, chain: Sequence[bytes]) -> None:
        # Last block first: a prefix is then always younger than what hangs on it, and leaves last.
        for digest in reversed(chain):
            if digest in self._held:
                self._held.move_to_end(digest)

    def _place(self, digest: bytes) -> int:
        place = self._free.pop() if self._free else self._held.popitem(last=False)[1]
        self._held[digest] = place
        return place


def _blocks(tensor: Tensor, slot: int, count: int) -> Tensor:
    """A view `[heads, count, BLOCK, dim]` of the first blocks in `slot`."""
    part = tensor[slot, :, : count * BLOCK]
    return part.view(part.shape[0], count, BLOCK, part.shape[2])
