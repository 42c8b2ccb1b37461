"""Candidates from a model in this process, all requests in batches of like length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gatt import sampling
from gatt.samplers.base import Draw, Failure, Keep, Request

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class LocalSampler:
    """A `transformers` model."""

    batches = True

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self._model, self._tokenizer = model, tokenizer

    def draw(self, requests: Sequence[Request], how: Draw, keep: Keep) -> list[Failure]:
        """See `Sampler.draw`. Nothing fails here; a prompt that leaves no room for a reply gets no candidates."""
        import torch

        torch.manual_seed(how.number())
        prompts = [sampling.prompt_ids(self._tokenizer, request.messages) for request in requests]
        room = sampling.window(self._model) - how.max_new_tokens
        fitting = [at for at, prompt in enumerate(prompts) if len(prompt) <= room]
        drawn = sampling.replies(
            self._model, self._tokenizer, [prompts[at] for at in fitting], how.max_new_tokens, how.temperature,
            how.candidates,
        )  # fmt: skip
        found = dict(zip(fitting, drawn, strict=True))
        for at in range(len(requests)):
            keep(at, found.get(at, []))
        return []
