"""What a token costs: the config's price, else litellm's table, else unknown. USD per million tokens throughout."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from gateway.settings import ModelSettings

LITELLM_TABLE = "model_prices_and_context_window_backup.json"
MILLION = 1e6
_INPUT_KEY = re.compile(r"input_cost_per_token(?:_above_(\d+)k_tokens)?(?:_(flex|priority))?")


class Rates(NamedTuple):
    """USD per million tokens, by kind.

    `cached` is for prompt tokens read from the prefix cache, `cache_write` for those written to it (`cache_write_1h`
    where they are to last an hour), `reasoning` for the part of the completion that is not shown. A None price of
    sound means that nobody states one.
    """

    input: float
    cached: float
    cache_write: float
    cache_write_1h: float
    output: float
    reasoning: float
    audio_input: float | None = None
    audio_output: float | None = None

    def times(self, factor: float) -> Rates:
        """Every rate times `factor`."""
        if factor == 1:
            return self
        return Rates(*[None if rate is None else rate * factor for rate in self])  # type: ignore[arg-type]

    def as_dict(self) -> dict[str, float]:
        """Kind to rate, rounded to what providers state; unstated ones left out."""
        return {name: round(rate, 6) for name, rate in zip(self._fields, self, strict=True) if rate is not None}


@dataclass(frozen=True, slots=True)
class Price:
    """What a model's tokens cost.

    Attributes:
        rates: what usually applies.
        source: `config` or `litellm`.
        surcharge: the factor that is in the rates already, as for a tuned model; 1 when there is none.
        table: name and version of the table, for `litellm`.
        special: rates by (service tier, least prompt tokens) where a provider has others for them.
    """

    rates: Rates
    source: str
    surcharge: float = 1.0
    table: str | None = None
    special: Mapping[tuple[str, int], Rates] = field(default_factory=dict)
    _by_tier: dict[str, list[tuple[int, Rates]]] = field(init=False, default_factory=dict, repr=False, compare=False)
    _told: dict[Rates, dict[str, Any]] = field(init=False, default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Sort the special rates, so that finding those that apply is quick."""
        for (tier, least), rates in sorted(self.special.items(), key=lambda one: -one[0][1]):
            self._by_tier.setdefault(tier, []).append((least, rates))

    def at(self, prompt_tokens: int, service_tier: str | None = None) -> Rates:
        """The rates for a prompt of that length: long ones cost more with some providers, per token."""
        longest_first = self._by_tier.get(service_tier or "") or self._by_tier.get("", [])
        for least, rates in longest_first:
            if prompt_tokens > least or not least:
                return rates
        return self.rates

    def as_dict(self, rates: Rates) -> dict[str, Any]:
        """What goes into the ledger, so that a later change of the price rewrites nothing; made once for all turns."""
        told = self._told.get(rates)
        if told is None:
            told = {**rates.as_dict(), "unit": "usd_per_million_tokens", "source": self.source}
            if self.surcharge != 1:
                told["surcharge"] = self.surcharge
            if self.table:
                told["table"] = self.table
            self._told[rates] = told
        return told


class Billed(NamedTuple):
    """Tokens of a turn as they are billed. `prompt` holds `cached`, `written` and `audio_input` too, `completion`
    holds `reasoning` and `audio_output`; `written_1h` is a part of `written`."""

    prompt: int
    completion: int
    cached: int = 0
    written: int = 0
    written_1h: int = 0
    reasoning: int = 0
    audio_input: int = 0
    audio_output: int = 0


class Cost(NamedTuple):
    """USD of one turn, by kind; `total` is their sum."""

    input: float
    cached: float
    cache_write: float
    output: float
    reasoning: float

    @property
    def total(self) -> float:
        """The sum of all kinds."""
        return self.input + self.cached + self.cache_write + self.output + self.reasoning


def cost_of(rates: Rates, billed: Billed) -> Cost | None:
    """What a turn cost; None when it holds sound that nobody states a price for.

    Cached tokens are billed once, at their own rate, and never as fresh ones too; a provider that reports more of them
    than there are prompt tokens is taken to have cached the whole prompt.
    """
    if (billed.audio_input and rates.audio_input is None) or (billed.audio_output and rates.audio_output is None):
        return None
    cached = min(billed.cached, billed.prompt)
    written = min(billed.written, billed.prompt - cached)
    lasting = min(billed.written_1h, written)
    heard = min(billed.audio_input, billed.prompt - cached - written)
    fresh = billed.prompt - cached - written - heard
    reasoning = min(billed.reasoning, billed.completion)
    spoken = min(billed.audio_output, billed.completion - reasoning)
    return Cost(
        input=(fresh * rates.input + heard * (rates.audio_input or 0)) / MILLION,
        cached=cached * rates.cached / MILLION,
        cache_write=((written - lasting) * rates.cache_write + lasting * rates.cache_write_1h) / MILLION,
        output=((billed.completion - reasoning - spoken) * rates.output + spoken * (rates.audio_output or 0)) / MILLION,
        reasoning=reasoning * rates.reasoning / MILLION,
    )


def price_of(settings: ModelSettings, upstream_name: str) -> Price | None:
    """The price of a model whose upstream calls it `upstream_name`, or None when nobody states one."""
    stated, surcharge = settings.price, settings.price_surcharge
    if stated is not None:
        rates = Rates(
            input=stated.input,
            cached=stated.input if stated.cached is None else stated.cached,
            cache_write=stated.input if stated.cache_write is None else stated.cache_write,
            cache_write_1h=stated.input if stated.cache_write is None else stated.cache_write,
            output=stated.output,
            reasoning=stated.output if stated.reasoning is None else stated.reasoning,
        )
        return Price(rates.times(surcharge), "config", surcharge)
    row = table_row(settings.price_as or upstream_name)
    return None if row is None else table_price(row, surcharge)


def table_price(row: Mapping[str, Any], surcharge: float = 1.0) -> Price | None:
    """The price in a row of litellm's table; None when the row has none by the token."""
    if row.get("input_cost_per_token") is None or row.get("output_cost_per_token") is None:
        return None
    special = {}
    for key in row:
        if match := _INPUT_KEY.fullmatch(key):
            least, tier = int(match[1] or 0) * 1000, match[2] or ""
            special[tier, least] = _table_rates(row, least, tier).times(surcharge)
    usual = special.pop(("", 0))
    if special:
        special["", 0] = usual
    return Price(usual, "litellm", surcharge, litellm_version(), special)


def _table_rates(row: Mapping[str, Any], least: int, tier: str) -> Rates:
    """The rates of a service tier for prompts over `least` tokens; what the table leaves out is as in plainer cases."""
    above = f"_above_{least // 1000}k_tokens" if least else ""
    endings = [above + (f"_{tier}" if tier else ""), f"_{tier}" if tier else above, above, ""]

    def rate(kind: str, default: float | None = None) -> float | None:
        found = next((row[kind + end] for end in endings if row.get(kind + end) is not None), None)
        return default if found is None else float(found) * MILLION

    fresh, output = rate("input_cost_per_token") or 0.0, rate("output_cost_per_token") or 0.0
    written = rate("cache_creation_input_token_cost", fresh) or 0.0
    return Rates(
        input=fresh,
        cached=rate("cache_read_input_token_cost", fresh) or 0.0,
        cache_write=written,
        cache_write_1h=rate("cache_creation_input_token_cost_above_1hr", written) or 0.0,
        output=output,
        reasoning=rate("output_cost_per_reasoning_token", output) or 0.0,
        audio_input=rate("input_cost_per_audio_token"),
        audio_output=rate("output_cost_per_audio_token"),
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


def forget_table() -> None:
    """Let go of litellm's table (4 MB, 4,000 rows), of which a gateway needs a few rows, and these at its start."""
    _litellm_table.cache_clear()


@functools.cache
def litellm_version() -> str:
    """`litellm` and its version, which dates its table."""
    return f"litellm {importlib.metadata.version('litellm')}"


def litellm_folder() -> Path:
    """Where litellm is installed, found without importing it."""
    spec = importlib.util.find_spec("litellm")
    assert spec is not None, "litellm is a dependency of gattway"
    assert spec.origin is not None
    return Path(spec.origin).parent
