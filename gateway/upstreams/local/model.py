"""A Hugging Face causal LM folder, ready to answer in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.errors import BadRequest, ConfigError, ContextLengthExceeded
from gateway.upstreams.local.generation import Generation
from gateway.upstreams.local.messages import plain
from gateway.upstreams.local.sampling import Sampling
from strategies import templates

if TYPE_CHECKING:
    import torch

    from gateway.upstreams.local.engine import Engine

DEFAULT_CACHE_BYTES = 512 * 2**20


class LocalModel:
    """A model with its tokenizer, its chat template and the engine that runs it.

    Attributes:
        context_window: the most tokens that prompt and answer may have together.
    """

    def __init__(self, tokenizer: Any, engine: Engine, context_window: int) -> None:
        self._tokenizer = tokenizer
        self._engine = engine
        self.context_window = context_window

    @classmethod
    def load(cls, folder: Path, *, max_batch: int = 16, cache_bytes: int = DEFAULT_CACHE_BYTES) -> LocalModel:
        """Load `folder` onto CUDA where it is, else CPU. Takes seconds; run it off the event loop.

        Args:
            folder: what `save_pretrained` wrote: config, weights, fast tokenizer, chat template.
            max_batch: answers made at once; further ones wait in line.
            cache_bytes: memory for the keys and values of past conversations.

        Raises:
            ConfigError: torch is missing, or the folder cannot be served; the message names folder and remedy.
        """
        try:
            from gateway.upstreams.local.loading import load
        except ImportError as error:
            raise ConfigError(
                f"{folder}: serving a model in process needs torch and transformers ({error}): "
                "pip install 'gattway[local]'"
            ) from error
        tokenizer, engine, window = load(Path(folder), max_batch=max_batch, cache_bytes=cache_bytes)
        return cls(tokenizer, engine, window)

    def render(self, messages: Sequence[dict[str, Any]]) -> list[int]:
        """The prompt of `messages` by the model's chat template, with the opening of the assistant's turn.

        A system message that the template refuses, or moves as the conversation grows, is folded into the first user
        message, as in tuning.

        Raises:
            BadRequest: a message holds what the model cannot read, or the template refuses the list.
        """
        return self._encode(self.render_text(messages))

    def render_text(self, messages: Sequence[dict[str, Any]]) -> str:
        """The same as text. Raises as `render` does."""
        from jinja2 import TemplateError

        try:
            return templates.text(self._tokenizer, plain(messages), add_generation_prompt=True)
        except (TemplateError, templates.TemplateError, TypeError) as error:
            raise BadRequest(f"The model's chat template refuses these messages: {error}", param="messages") from error

    @property
    def fast_tokenizer(self) -> Any:
        """The `tokenizers.Tokenizer` beneath."""
        return self._tokenizer.backend_tokenizer

    def count_text(self, text: str) -> int:
        """Tokens of bare text, without special tokens around it."""
        return len(self._encode(text))

    def _encode(self, text: str) -> list[int]:
        # The tokenizer beneath, since transformers' own call changes its padding and is not safe across threads.
        ids: list[int] = self._tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def generate(self, prompt: list[int], sampling: Sampling) -> Generation:
        """Answer `prompt`; iterate over the result for its `Piece`s. Must be called on an event loop.

        Raises:
            ContextLengthExceeded: no token fits behind the prompt, or `sampling.max_tokens` of them do not.
            UpstreamUnavailable: here when the model has been closed, while iterating when it failed.
        """
        asked = 1 if sampling.max_tokens is None else sampling.max_tokens
        if len(prompt) + asked > self.context_window:
            raise ContextLengthExceeded(self.context_window, len(prompt) + asked, sampling.max_tokens or 0)
        return self._engine.submit(prompt, sampling)

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return self._engine.device

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        return self._engine.dtype

    @property
    def active(self) -> int:
        """Answers being made now."""
        return self._engine.active

    @property
    def waiting(self) -> int:
        """Answers that wait for one of the `max_batch` places."""
        return self._engine.waiting

    async def close(self) -> None:
        """Stop; answers still running fail with `UpstreamUnavailable`."""
        await asyncio.to_thread(self._engine.close)
