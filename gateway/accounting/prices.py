"""What a token costs: the config's price, else litellm's table, else unknown. US dollars throughout."""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from gateway.settings import ModelSettings

LITELLM_TABLE = "model_prices_and_context_window_backup.json"


@dataclass(frozen=True, slots=True)
class Price:
    """USD per token, by kind. `source` says where it is from: `config` or `litellm`."""

    input: float
    cached: float
    output: float
    source: str


@dataclass(frozen=True, slots=True)
class Cost:
    """USD of one turn, by kind; `total` is their sum."""

    input: float
    cached: float
    output: float

    @property
    def total(self) -> float:
        """The sum of all kinds."""
        return self.input + self.cached + self.output


def price_of(settings: ModelSettings, upstream_name: str) -> Price | None:
    """The price of a model whose upstream calls it `upstream_name`, or None when nobody states one."""
    stated = settings.price
    if stated is not None:
        cached = stated.input if stated.cached is None else stated.cached
        return Price(stated.input / 1e6, cached / 1e6, stated.output / 1e6, "config")
    row = table_row(upstream_name)
    if row is None or row.get("input_cost_per_token") is None or row.get("output_cost_per_token") is None:
        return None
    fresh = float(row["input_cost_per_token"])
    cached_cost = row.get("cache_read_input_token_cost")
    return Price(
        fresh, fresh if cached_cost is None else float(cached_cost), float(row["output_cost_per_token"]), "litellm"
    )


def cost_of(price: Price, prompt_tokens: int, cached_tokens: int | None, completion_tokens: int) -> Cost:
    """What a turn cost. An unknown number of cached tokens is billed as fresh, as a provider without a cache would."""
    cached = min(cached_tokens or 0, prompt_tokens)
    return Cost(
        input=(prompt_tokens - cached) * price.input,
        cached=cached * price.cached,
        output=completion_tokens * price.output,
    )


def table_row(model: str) -> dict[str, Any] | None:
    """litellm's row for a model, by its full name or without its provider's prefix."""
    table = _litellm_table()
    row = table.get(model) or table.get(model.split("/", 1)[-1])
    return row if isinstance(row, dict) else None


@functools.cache
def _litellm_table() -> dict[str, Any]:
    """litellm's price table, read as data: importing litellm would take seconds."""
    path = litellm_folder() / LITELLM_TABLE
    table: dict[str, Any] = orjson.loads(path.read_bytes())
    return table


def litellm_folder() -> Path:
    """Where litellm is installed, found without importing it."""
    spec = importlib.util.find_spec("litellm")
    assert spec is not None, "litellm is a dependency of gattway"
    assert spec.origin is not None
    return Path(spec.origin).parent
