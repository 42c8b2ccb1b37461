"""Replies from a model in process, many conversations at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatt.script import Message
from strategies import templates

if TYPE_CHECKING:
    import torch
    from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase


def load(path: str, dtype: str = "float32", on_gpu: bool = True) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A causal language model and its tokenizer, from a folder or a hub name, ready to answer.

    A folder that holds a PEFT adapter is loaded upon the model that it names. With `on_gpu` the model goes to the GPU
    where there is one; trainers place theirs themselves.

    Raises:
        ValueError: there is no such folder, its weights cannot be read, or the tokenizer has no chat template.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(path)
    try:
        model = AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, dtype))
    except (OSError, ValueError, SafetensorError) as error:
        raise ValueError(f"{path}: the model cannot be read ({str(error).splitlines()[0]})") from error
    model.eval()  # type: ignore[no-untyped-call]
    return on_accelerator(model) if on_gpu else model, tokenizer


def on_accelerator(model: PreTrainedModel) -> PreTrainedModel:
    """The model on the machine's GPU, where there is one."""
    import torch

    moved: Any = model
    return moved.to("cuda") if torch.cuda.is_available() else model


def load_tokenizer(path: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a model's folder or hub name.

    Raises:
        ValueError: it cannot be read, or has no chat template.
    """
    from transformers import AutoTokenizer

    if _is_path(path) and not Path(path).is_dir():
        raise ValueError(f"{path}: there is no such folder; give a model's folder or its name on the hub")
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: no tokenizer can be read ({str(error).splitlines()[0]})") from error
    if not tokenizer.chat_template:
        raise ValueError(f"{path}: the tokenizer has no chat template; add chat_template.jinja to the model's folder")
    return tokenizer


def _is_path(path: str) -> bool:
    """Whether this cannot be a name on the hub, which has at most one slash and begins with a word."""
    return path.startswith(("/", ".", "~")) or path.count("/") > 1


def window_of(path: str) -> int:
    """The context window in tokens of the model in a folder, its weights unread."""
    from transformers import AutoConfig

    return int(AutoConfig.from_pretrained(path).get_text_config().max_position_embeddings)


def prompt_ids(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> list[int]:
    """Token ids of the conversation up to where the next reply starts."""
    return templates.ids(tokenizer, messages, add_generation_prompt=True)


def window(model: PreTrainedModel) -> int:
    """The context window in tokens."""
    return int(model.config.get_text_config().max_position_embeddings)


def replies(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    temperature: float = 0.0,
    candidates: int = 1,
    rows: int = 128,
) -> list[list[str]]:
    """`candidates` replies a prompt, greedy at temperature 0, in batches of at most `rows` replies of like length.

    Sampling draws from torch's global generator: seed it for the same replies again.
    """
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    found: dict[int, list[str]] = {}
    width = max(1, rows // candidates)
    for start in range(0, len(order), width):
        some = order[start : start + width]
        texts = _batch(model, tokenizer, [prompts[index] for index in some], max_new_tokens, temperature, candidates)
        for place, index in enumerate(some):
            found[index] = texts[place * candidates : (place + 1) * candidates]
    return [found[index] for index in range(len(prompts))]


def _batch(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    temperature: float,
    candidates: int,
) -> list[str]:
    import torch

    width = max(map(len, prompts))
    filler = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    ids = torch.tensor([[filler] * (width - len(prompt)) + list(prompt) for prompt in prompts], device=model.device)
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=model.device)
    sampling = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature else {}
    with torch.inference_mode(), _answering(model):
        output = model.generate(  # type: ignore[operator]
            input_ids=ids.repeat_interleave(candidates, dim=0),
            attention_mask=mask.repeat_interleave(candidates, dim=0),
            past_key_values=_read(model, ids, mask, candidates),
            max_new_tokens=max_new_tokens,
            pad_token_id=filler,
            **(sampling or {"do_sample": False}),
        )
    return [text.strip() for text in tokenizer.batch_decode(output[:, width:], skip_special_tokens=True)]


def _read(model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor, candidates: int) -> DynamicCache:
    """The cache of all prompts but their last token, each read once and then copied for its candidates."""
    from transformers import DynamicCache

    cache = DynamicCache(config=model.config)
    if ids.shape[1] > 1:
        model(
            input_ids=ids[:, :-1],
            attention_mask=mask[:, :-1],
            position_ids=(mask[:, :-1].cumsum(-1) - 1).clamp(min=0),
            past_key_values=cache,
            logits_to_keep=1,
        )
        cache.batch_repeat_interleave(candidates)
    return cache


@contextmanager
def _answering(model: PreTrainedModel) -> Iterator[None]:
    training = model.training
    model.eval()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        model.train(training)
