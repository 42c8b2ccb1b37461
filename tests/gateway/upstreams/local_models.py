"""A random Llama of the miniature's shape, made on the spot: it says nothing sensible, but always the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

TEMPLATE = (
    "{% for message in messages %}"
    "{% if message.role not in ['system', 'user', 'assistant'] %}{{ raise_exception('unknown role') }}{% endif %}"
    "{{ '<' + message.role + '>' + message.content + '</s>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}"
)
SPECIAL = ["<s>", "</s>", "<system>", "<user>", "<assistant>"]
WINDOW = 1024

_WORDS = (
    "What is the capital of Peru? The capital is Lima, of course. Act as Oscar Wilde and speak in French. "
    "Who wrote Faust? Goethe did. How many legs has a spider? It has eight legs. Always answer in upper case. "
)


def make(folder: Path, *, seed: int = 0, architecture: str = "llama", **changes: Any) -> Path:
    """Write config, weights, tokenizer and chat template into `folder`; returns it."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.set_num_threads(1)  # two threads on a busy machine wait for each other at every small operation
    tokenizer = _tokenizer()
    tokenizer.save_pretrained(folder)
    settings: dict[str, Any] = {
        "vocab_size": 1024,
        "hidden_size": 192,
        "num_hidden_layers": 5,
        "num_attention_heads": 6,
        "num_key_value_heads": 6,
        "intermediate_size": 512,
        "max_position_embeddings": WINDOW,
        "tie_word_embeddings": True,
        "initializer_range": 0.1,  # wide, so that answers vary
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.eos_token_id,
    }
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    config = AutoConfig.for_model(architecture, **{**settings, **changes})
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    torch.set_rng_state(state)
    return folder


async def until(condition: Callable[[], bool]) -> None:
    """Wait for the engine's thread; the test's own time limit ends a wait in vain."""
    while not condition():  # noqa: ASYNC110  what another thread does sets no event of ours
        await asyncio.sleep(0.001)


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1024,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([_WORDS], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", chat_template=TEMPLATE
    )
