"""Settings of prices, prefix caches and comparisons."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

import strategies
from gateway.sections.base import Section as _Section


class PriceSettings(_Section):
    """A model's price in USD per million tokens."""

    input: float = Field(ge=0, description="USD per million fresh prompt tokens.")
    output: float = Field(ge=0, description="USD per million completion tokens.")
    cached: float | None = Field(
        default=None,
        ge=0,
        description="USD per million prompt tokens read from the prefix cache; the input price when absent.",
    )
    cache_write: float | None = Field(
        default=None,
        ge=0,
        description="USD per million prompt tokens written to the prefix cache; the input price when absent.",
    )
    reasoning: float | None = Field(
        default=None, ge=0, description="USD per million reasoning tokens; the output price when absent."
    )


class PrefixCacheSettings(_Section):
    """How the model's prefix cache works, where the built-in table does not know it."""

    rule: Literal["blocks", "steps", "breakpoints", "observed", "none"] = Field(
        description="`blocks` (vLLM and engines like it), `steps` (OpenAI before GPT-5.6), `breakpoints` (Anthropic, "
        "OpenAI from GPT-5.6 on), `observed` (by the share that each answer reports), `none`."
    )
    block_tokens: int = Field(default=16, ge=1, description="For `blocks`: tokens in a block (vLLM's `--block-size`).")
    minimum_tokens: int = Field(
        default=1024, ge=1, description="For `steps` and `breakpoints`: the shortest prefix that is cached."
    )
    step_tokens: int = Field(default=128, ge=1, description="For `steps`: tokens by which a cached prefix grows.")
    automatic: bool = Field(
        default=False, description="For `breakpoints`: whether there is one behind the last message of each request."
    )


class ComparisonSettings(_Section):
    """What each turn is compared with."""

    compare: list[str] | None = Field(
        default=None,
        description="Strategies whose tokens and cost are worked out beside the one that was used; when absent, all "
        "that need no parameters.",
    )

    @field_validator("compare")
    @classmethod
    def _exist(cls, names: list[str] | None) -> list[str] | None:
        for name in names or []:
            strategies.make(name)
        return names
