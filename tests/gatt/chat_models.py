"""Small models with random weights whose chat templates behave as those of well-known families do.

The templates are our own wording of that behaviour: what is folded, refused, moved or rendered anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel, PreTrainedTokenizerFast


@dataclass(frozen=True)
class Kind:
    """A family: its template, its special tokens, and what an answer ends with."""

    template: str
    specials: tuple[str, ...]
    end: str
    architecture: str
    bos: str | None = None
    eos: str | None = None


_LLAMA_2 = """
{%- if messages[0].role == 'system' -%}
  {%- set said = '<<SYS>>\\n' ~ messages[0].content ~ '\\n<</SYS>>\\n\\n' -%}{%- set rest = messages[1:] -%}
{%- else -%}{%- set said = '' -%}{%- set rest = messages -%}{%- endif -%}
{%- for m in rest -%}
  {%- if m.role == 'user' -%}{{ '<s>[INST] ' ~ (said if loop.first else '') ~ m.content ~ ' [/INST]' }}
  {%- elif m.role == 'assistant' -%}{{ ' ' ~ m.content ~ ' </s>' }}
  {%- else -%}{{ raise_exception('unknown role') }}{%- endif -%}
{%- endfor -%}
"""

_LLAMA_3 = """
{{- '<|begin|>' -}}
{%- for m in messages -%}{{ '<|head|>' ~ m.role ~ '<|/head|>\\n\\n' ~ m.content ~ '<|eot|>' }}{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|head|>assistant<|/head|>\\n\\n' }}{%- endif -%}
"""

_CHATML = """
{%- for m in messages -%}{{ '<|im_start|>' ~ m.role ~ '\\n' ~ m.content ~ '<|im_end|>\\n' }}{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}
"""

_QWEN_2_5 = (
    """
{%- if messages[0].role != 'system' -%}{{ '<|im_start|>system\\nYou help.<|im_end|>\\n' }}{%- endif -%}
"""
    + _CHATML
)

# The last answer carries a (here empty) block of reasoning, which is gone once another turn follows.
_QWEN_3 = """
{%- for m in messages -%}
  {{- '<|im_start|>' ~ m.role ~ '\\n' -}}
  {%- if m.role == 'assistant' and loop.last -%}{{ '<think>\\n\\n</think>\\n\\n' }}{%- endif -%}
  {{- m.content ~ '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}
"""

_GEMMA = """
{{- '<bos>' -}}
{%- for m in messages -%}
  {%- if m.role == 'system' -%}{{ raise_exception('no system role here') }}{%- endif -%}
  {{- '<turn>' ~ ('model' if m.role == 'assistant' else m.role) ~ '\\n' ~ m.content | trim ~ '</turn>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<turn>model\\n' }}{%- endif -%}
"""

# The system message stands in front of the newest user message.
_MISTRAL = """
{{- '<s>' -}}
{%- if messages[0].role == 'system' -%}{%- set said = messages[0].content ~ '\\n\\n' -%}{%- set rest = messages[1:] -%}
{%- else -%}{%- set said = '' -%}{%- set rest = messages -%}{%- endif -%}
{%- set users = rest | selectattr('role', 'equalto', 'user') | list -%}
{%- for m in rest -%}
  {%- if m.role == 'user' -%}{{ '[INST] ' ~ (said if m == users[-1] else '') ~ m.content ~ '[/INST]' }}
  {%- else -%}{{ ' ' ~ m.content ~ '</s>' }}{%- endif -%}
{%- endfor -%}
"""

_IM = ("<|im_start|>", "<|im_end|>")

KINDS: dict[str, Kind] = {
    "llama-2": Kind(_LLAMA_2, ("<s>", "</s>"), " </s>", "llama", "<s>", "</s>"),
    "llama-3": Kind(_LLAMA_3, ("<|begin|>", "<|head|>", "<|/head|>", "<|eot|>"), "<|eot|>", "llama", None, "<|eot|>"),
    "chatml": Kind(_CHATML, _IM, "<|im_end|>\n", "llama", None, "<|im_end|>"),
    "qwen-2.5": Kind(_QWEN_2_5, _IM, "<|im_end|>\n", "qwen2", None, "<|im_end|>"),
    "qwen-3": Kind(_QWEN_3, _IM, "<|im_end|>\n", "qwen3", None, "<|im_end|>"),
    "gemma": Kind(_GEMMA, ("<bos>", "<turn>", "</turn>"), "</turn>\n", "gemma", "<bos>", "</turn>"),
    "mistral": Kind(_MISTRAL, ("<s>", "</s>", "[INST]", "[/INST]"), "</s>", "mistral", "<s>", "</s>"),
}


def tokenizer(name: str) -> PreTrainedTokenizerFast:
    """Bytes as tokens, and the family's special ones."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    kind = KINDS[name]
    vocabulary = {byte: number for number, byte in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    raw = Tokenizer(models.BPE(vocabulary, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token=kind.bos, eos_token=kind.eos, pad_token="<pad>", model_max_length=512
    )
    made.add_special_tokens({"additional_special_tokens": list(kind.specials)})  # type: ignore[dict-item]
    made.chat_template = kind.template
    return made


def model(name: str, words: PreTrainedTokenizerFast) -> PreTrainedModel:
    """Two layers of the family's architecture, 16 wide."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "vocab_size": len(words), "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 2048,
        "pad_token_id": words.pad_token_id, "eos_token_id": words.eos_token_id, "bos_token_id": words.bos_token_id,
    }  # fmt: skip
    made: PreTrainedModel = AutoModelForCausalLM.from_config(AutoConfig.for_model(KINDS[name].architecture, **shape))
    return made


def save(name: str, folder: Path) -> Path:
    """Model and tokenizer in a folder, as a person would have them."""
    words = tokenizer(name)
    model(name, words).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder
