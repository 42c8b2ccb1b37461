"""Continuous batching: one thread steps all running answers together over `model.forward`.

A step feeds one token of each answer that is being decoded and, beside them, chunks of the prompts that wait, so
that a long prompt slows the others' tokens but never stops them. Rows that decode hold slots 0, 1, … without
gaps, which makes their keys and values plain views; a row that leaves is replaced by the last one.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from gateway.errors import UpstreamUnavailable
from gateway.upstreams.local.attention import Chunk, Layout, SlotCache, forward
from gateway.upstreams.local.generation import Generation, Piece
from gateway.upstreams.local.kv import BLOCK, BlockStore, LayerShape, Slots, digests
from gateway.upstreams.local.sampling import Sampling, choose
from gateway.upstreams.local.text import TextStream

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_log = logging.getLogger("gattway.local")

# Tokens of prompts read in one step, when others are being decoded beside them and when none are.
_CHUNK_BESIDE_OTHERS = 256
_CHUNK_ALONE = 512

_CLOSED = "The model has been closed."

News = Piece | UpstreamUnavailable


class Row:
    """One answer as the engine's thread sees it."""

    def __init__(self, prompt: list[int], sampling: Sampling, limit: int, sink: Generation, text: TextStream) -> None:
        self.tokens = prompt  # prompt and answer; the last answer token has no keys and values yet
        self.prompt_length = len(prompt)
        self.sampling = sampling
        self.limit = limit
        self.random = sampling.source()
        self.counts: dict[int, int] = {}
        self.sink = weakref.ref(sink)  # a dropped Generation must be able to notice that it was dropped
        self.loop = sink.loop
        self.text = text
        self.chain: list[bytes] = []
        self.slot = -1
        self.computed = 0  # tokens whose keys and values are in the slot
        self.cached = 0
        self.made = 0
        self.told = 0
        self.cancelled = False


class Engine:
    """Runs one model's answers.

    Args:
        model: a transformers causal LM loaded with `attention.NAME`, in eval mode.
        end_tokens: tokens that end an answer.
        window: the most tokens that prompt and answer may have together.
        threads: torch's threads for one operation.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer,
        shapes: Sequence[LayerShape],
        *,
        end_tokens: Iterable[int],
        window: int,
        max_batch: int,
        cache_bytes: int,
        threads: int,
    ) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._end_tokens = frozenset(end_tokens)
        self._window, self._max_batch, self._threads = window, max_batch, threads
        self.dtype: torch.dtype = model.dtype
        self.device: torch.device = model.device
        self._slots = Slots(shapes, max_batch, window, self.dtype, self.device)
        self._store = BlockStore(self._slots, cache_bytes)
        self._cache = SlotCache(self._slots)
        self._inbox: queue.SimpleQueue[Row | None] = queue.SimpleQueue()
        self._waiting: deque[Row] = deque()
        self._reading: list[Row] = []  # prompts, oldest first
        self._decoding: list[Row] = []  # the row at place i holds slot i
        self._news: dict[asyncio.AbstractEventLoop, list[tuple[weakref.ref[Generation], News]]] = {}
        self._closing = False
        self._door = threading.Lock()  # nothing comes in once closing has begun
        self._thread = threading.Thread(target=self._run, name="gattway-local-model", daemon=True)
        self._thread.start()

    def submit(self, prompt: list[int], sampling: Sampling) -> Generation:
        """Queue an answer to `prompt`, which must leave room for at least one token in the window."""
        room = self._window - len(prompt)
        if not prompt or room < 1:
            raise ValueError(f"a prompt of {len(prompt)} tokens leaves no room in a window of {self._window}")
        limit = room if sampling.max_tokens is None else min(room, sampling.max_tokens)
        generation = Generation(lambda: self._cancel(row))
        row = Row(list(prompt), sampling, limit, generation, TextStream(self._tokenizer, sampling.stop))
        with self._door:
            if self._closing:
                raise UpstreamUnavailable(_CLOSED)
            self._inbox.put(row)
        return generation

    @property
    def active(self) -> int:
        """Answers that hold a slot now."""
        return len(self._reading) + len(self._decoding)

    @property
    def waiting(self) -> int:
        """Answers that wait for a slot."""
        return len(self._waiting) + self._inbox.qsize()

    def close(self) -> None:
        """Stop the thread; answers still running fail with `UpstreamUnavailable`."""
        with self._door:
            self._closing = True
        self._inbox.put(None)
        self._thread.join()

    def _cancel(self, row: Row) -> None:
        row.cancelled = True
        self._inbox.put(row)  # wakes the thread; a row that is known already is only looked at

    # Everything below runs on the engine's thread.

    def _run(self) -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        with torch.inference_mode():
            while not self._closing:
                self._take_in(wait=not (self._waiting or self.active))
                self._turn_or_fail()
                self._send_news()
            self._take_in(wait=False)
            self._fail([*self._waiting, *self._reading, *self._decoding], _CLOSED)
            self._send_news()
        torch.set_num_threads(threads)  # part of the setting is the whole process's

    def _take_in(self, *, wait: bool) -> None:
        while True:
            try:
                row = self._inbox.get(block=wait)
            except queue.Empty:
                return
            wait = False
            if row is not None and not row.cancelled:
                self._waiting.append(row)

    def _turn_or_fail(self) -> None:
        try:
            self._drop_cancelled()
            self._admit()
            if self.active:
                self._step()
        except Exception as error:  # what went wrong fails the rows concerned; the engine goes on with the next ones
            _log.exception("a step of the local model failed")
            rows = [*self._reading, *self._decoding]
            self._reading, self._decoding = [], []
            self._store.clear()
            self._fail(rows, f"The model failed: {type(error).__name__}: {error}")

    def _drop_cancelled(self) -> None:
        self._waiting = deque(row for row in self._waiting if not row.cancelled)
        for row in [row for row in (*self._reading, *self._decoding) if row.cancelled]:
            self._release(row)

    def _admit(self) -> None:
        while self._waiting and self.active < self._max_batch:
            row = self._waiting.popleft()
            taken = {other.slot for other in self._reading}
            row.slot = next(i for i in range(len(self._decoding), self._max_batch) if i not in taken)
            self._reading.append(row)
            self._slots.reserve(row.prompt_length)
            row.chain = digests(row.tokens, [])
            row.cached = row.computed = self._store.load(row.chain[: (row.prompt_length - 1) // BLOCK], row.slot)

    def _step(self) -> None:
        chunks, whole = self._plan()
        tokens = [row.tokens[-1] for row in self._decoding]
        wanted = list(range(len(tokens)))
        for row, chunk in chunks:
            tokens.extend(row.tokens[chunk.start : chunk.start + chunk.length])
            if row in whole:
                wanted.append(len(tokens) - 1)
        positions = [row.computed for row in self._decoding]
        self._slots.reserve(max(positions, default=0) + 1)
        layout = Layout(positions, [chunk for _, chunk in chunks], self.dtype, self.device)
        logits = forward(self._model, tokens, layout, self._cache, wanted or [0])
        for row in self._decoding:
            row.computed += 1
        for row, chunk in chunks:
            row.computed += chunk.length
        for row in whole:
            self._promote(row)
        if self._decoding:
            self._take_tokens(list(self._decoding), choose(logits, self._decoding))

    def _plan(self) -> tuple[list[tuple[Row, Chunk]], list[Row]]:
        """The chunks to read in this step, oldest prompt first, and the rows whose prompts end with them."""
        budget = _CHUNK_BESIDE_OTHERS if self._decoding else _CHUNK_ALONE
        chunks, whole = [], []
        for row in self._reading:
            length = min(budget, row.prompt_length - row.computed)
            if length == 0:
                break
            budget -= length
            chunks.append((row, Chunk(row.slot, row.computed, length)))
            if row.computed + length == row.prompt_length:
                whole.append(row)
        return chunks, whole

    def _promote(self, row: Row) -> None:
        """A prompt has been read: keep its blocks and give it the slot behind those that decode."""
        self._store.save(row.chain, row.slot)
        self._reading.remove(row)
        target = len(self._decoding)
        if row.slot != target:
            other = next((other for other in self._reading if other.slot == target), None)
            if other is None:
                self._slots.copy(row.slot, target, row.computed)
            else:
                self._slots.swap(row.slot, target, max(row.computed, other.computed))
                other.slot = row.slot
        row.slot = target
        self._decoding.append(row)

    def _take_tokens(self, rows: Sequence[Row], tokens: Sequence[int]) -> None:
        for row, token in zip(rows, tokens, strict=True):
            row.made += 1
            text, finish = self._judge(row, token)
            row.tokens.append(token)
            if row.sampling.penalised:
                row.counts[token] = row.counts.get(token, 0) + 1
            if text or finish:
                self._tell(row, Piece(text, row.made - row.told, finish, row.cached))
                row.told = row.made
            if finish:
                self._release(row)

    def _judge(self, row: Row, token: int) -> tuple[str, str | None]:
        """The text that `token` makes certain, and why the answer ends with it, if it does."""
        if token in self._end_tokens and not row.sampling.ignore_end:
            return row.text.flush(), "stop"
        text, stopped = row.text.push(token)
        if stopped:
            return text, "stop"
        if row.made >= row.limit:
            return text + row.text.flush(), "length"
        return text, None

    def _release(self, row: Row) -> None:
        """Give the row's slot back, its whole blocks kept for whoever resends them."""
        self._store.save(digests(row.tokens[: row.computed], row.chain[: row.computed // BLOCK]), row.slot)
        if row in self._reading:
            self._reading.remove(row)
            return
        last = self._decoding.pop()
        if last is not row:
            self._slots.copy(last.slot, row.slot, last.computed)
            self._decoding[row.slot] = last
            last.slot = row.slot

    def _fail(self, rows: Iterable[Row], message: str) -> None:
        for row in rows:
            self._tell(row, UpstreamUnavailable(message))

    def _tell(self, row: Row, news: News) -> None:
        self._news.setdefault(row.loop, []).append((row.sink, news))

    def _send_news(self) -> None:
        """One wake-up a step and event loop, however many answers have news."""
        for loop, news in self._news.items():
            try:
                loop.call_soon_threadsafe(_deliver, news)
            except RuntimeError:
                _log.debug("the event loop that asked has been closed")
        self._news = {}


def _deliver(news: list[tuple[weakref.ref[Generation], News]]) -> None:
    for sink, item in news:
        generation = sink()
        if generation is not None:
            generation.deliver(item)
