"""From a folder to a running engine, or to one line that says what is wrong with the folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, DynamicCache
from transformers.cache_utils import DynamicLayer
from transformers.utils import logging

from gateway.errors import ConfigError
from gateway.upstreams.local.attention import NAME, Chunk, Layout, SlotCache, forward
from gateway.upstreams.local.engine import Engine
from gateway.upstreams.local.kv import LayerShape, Slots

_ELSEWHERE = "serve it with an OpenAI-compatible server such as vLLM and name that server's base_url instead"

# Below this many parameters one operation is too short to be worth two threads, which then only wait for each other.
_SMALL = 100_000_000
# On CPU float32 is faster until memory traffic is what counts (seen: 2.4 M parameters, 1,075 against 861 tokens/s).
_FLOAT32_ON_CPU = 1_000_000_000


def load(folder: Path, *, max_batch: int, cache_bytes: int) -> tuple[Any, Engine, int]:
    """Tokenizer, engine and context window of `folder`. Raises ConfigError."""
    _check_files(folder)
    tokenizer = _tokenizer(folder)
    model = _model(folder)
    window = _window(folder, model.config, tokenizer)
    with few_threads(model) as threads:
        shapes = _probe(folder, model, window)
    engine = Engine(
        model,
        tokenizer.backend_tokenizer,
        shapes,
        end_tokens=_end_tokens(model, tokenizer),
        window=window,
        max_batch=max_batch,
        cache_bytes=cache_bytes,
        threads=threads,
    )
    return tokenizer, engine, window


@contextmanager
def few_threads(model: Any) -> Iterator[int]:
    """Run with as many threads as are worth it for `model`; yields their number."""
    before = torch.get_num_threads()
    count = 1 if model.num_parameters() < _SMALL else before
    torch.set_num_threads(count)
    try:
        yield count
    finally:
        torch.set_num_threads(before)


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """transformers draws one for every load, into whatever terminal the gateway logs to."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _check_files(folder: Path) -> None:
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; name one that holds a Hugging Face model")
    if not (folder / "config.json").is_file():
        raise ConfigError(f"{folder}: no config.json in it; name a folder that save_pretrained() wrote")


def _tokenizer(folder: Path) -> Any:
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise ConfigError(f"{folder}: the tokenizer cannot be read: {_line(error)}") from error
    if not getattr(tokenizer, "is_fast", False):
        raise ConfigError(f"{folder}: the tokenizer has no tokenizer.json; {_ELSEWHERE}")
    if not tokenizer.chat_template:
        raise ConfigError(f"{folder}: no chat template; add chat_template.jinja to the folder, or take a chat model")
    return tokenizer


def _model(folder: Path) -> Any:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config: Any = None
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        with no_progress_bars():
            model: Any = AutoModelForCausalLM.from_pretrained(
                folder, config=config, dtype="auto", attn_implementation=NAME, local_files_only=True
            )
    except Exception as error:  # a folder can be broken in as many ways as there are libraries that read it
        if error.args == (NAME,):  # the model's table of attentions has no place for ours
            raise ConfigError(f"{folder}: {config.model_type} has an attention of its own; {_ELSEWHERE}") from error
        raise ConfigError(f"{folder}: the model cannot be loaded: {_line(error)}") from error
    if device.type == "cpu":
        model = model.to(torch.float32 if model.num_parameters() < _FLOAT32_ON_CPU else torch.bfloat16)
    return model.to(device).eval()


def _window(folder: Path, config: Any, tokenizer: Any) -> int:
    window = getattr(config.get_text_config(), "max_position_embeddings", None) or tokenizer.model_max_length
    if not isinstance(window, int) or not 1 < window < 10**9:
        raise ConfigError(f"{folder}: config.json does not say max_position_embeddings; add the context window there")
    return window


def _end_tokens(model: Any, tokenizer: Any) -> set[int]:
    ends: set[int] = set()
    for value in (model.generation_config.eos_token_id, model.config.eos_token_id, tokenizer.eos_token_id):
        ends.update(value if isinstance(value, list | tuple) else [] if value is None else [value])
    return ends


def _probe(folder: Path, model: Any, window: int) -> list[LayerShape]:
    """The shapes of the model's cache, once it has shown that it answers in a batch as it does alone."""
    name = type(model).__name__
    if not model._supports_attention_backend:
        raise ConfigError(f"{folder}: {name} has an attention of its own; {_ELSEWHERE}")
    try:
        shapes = _shapes(folder, model)
        _check_serving(folder, model, shapes, window)
    except ConfigError:
        raise
    except Exception as error:  # whatever an architecture does not get along with
        raise ConfigError(f"{folder}: {name} cannot be served in process ({_line(error)}); {_ELSEWHERE}") from error
    return shapes


@torch.inference_mode()
def _shapes(folder: Path, model: Any) -> list[LayerShape]:
    """What each layer keeps, seen in a forward over one token by transformers' own attention and cache."""
    layers: list[Any] = _plain_forward(model, torch.zeros(1, 1, dtype=torch.long, device=model.device))[1].layers
    if not all(isinstance(layer, DynamicLayer) and layer.is_initialized for layer in layers):
        raise ConfigError(f"{folder}: {type(model).__name__} keeps more than keys and values of tokens; {_ELSEWHERE}")
    return [LayerShape(layer.keys.shape[1], layer.keys.shape[3], layer.values.shape[3]) for layer in layers]


def _plain_forward(model: Any, tokens: torch.Tensor) -> tuple[torch.Tensor, DynamicCache]:
    """Float32 logits `[batch, tokens, vocabulary]` and the cache, as transformers computes them without us."""
    for usual in ("sdpa", "eager"):
        try:
            model.set_attn_implementation(usual)
            break
        except ValueError:  # the architecture has no SDPA
            continue
    cache = DynamicCache(config=model.config)
    logits = model(input_ids=tokens, past_key_values=cache, use_cache=True).logits.float()
    model.set_attn_implementation(NAME)
    return logits, cache


@torch.inference_mode()
def _check_serving(folder: Path, model: Any, shapes: list[LayerShape], window: int) -> None:
    """Two sequences read in chunks side by side must give what each gives alone; some architectures do not."""
    length = min(12, window)
    tokens = torch.arange(2 * length, device=model.device).view(2, length) * 7
    tokens %= model.config.get_text_config().vocab_size
    expected = _plain_forward(model, tokens)[0][:, -1]
    slots = Slots(shapes, 2, length, model.dtype, model.device)
    cache = SlotCache(slots)
    cut = length // 2
    first, second = tokens.tolist()
    opening = Layout([], [Chunk(0, 0, length - 1), Chunk(1, 0, cut)], model.dtype, model.device)
    forward(model, first[:-1] + second[:cut], opening, cache, [0])
    ending = Layout([length - 1], [Chunk(1, cut, length - cut)], model.dtype, model.device)
    got = forward(model, first[-1:] + second[cut:], ending, cache, [0, length - cut])
    tolerance = 1e-3 if model.dtype == torch.float32 else 0.1
    if not torch.allclose(got, expected, rtol=tolerance, atol=tolerance * float(expected.abs().max())):
        raise ConfigError(f"{folder}: {type(model).__name__} answers differently when batched; {_ELSEWHERE}")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
