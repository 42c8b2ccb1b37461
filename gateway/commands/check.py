"""`gattway check`: the config as the gateway understands it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from gateway.build import build
from gateway.catalogue import Catalogue, Model
from gateway.settings import Settings, load


def check(path: Path, *, as_json: bool) -> None:
    """Print every model, arm and key. Raises ConfigError for what cannot be resolved."""
    settings = load(path)
    catalogue = build(settings)
    if as_json:
        found = {"models": _models(catalogue), "arms": _arms(catalogue), "keys": _keys(settings)}
        print(json.dumps({"config": str(path), **found}, indent=2))
        return
    console = Console() if sys.stdout.isatty() else Console(width=140)  # no terminal cuts its cells
    console.print(f"config: {path}")
    console.print(_table("Models (prices in USD per million tokens)", _models(catalogue)))
    if catalogue.experiments:
        console.print(_table("Experiments", _arms(catalogue)))
    if settings.keys:
        console.print(_table("Keys", _keys(settings), absent="no limit"))
    else:
        console.print("Keys: none; whoever reaches the gateway may use it.")


def _models(catalogue: Catalogue) -> list[dict[str, Any]]:
    return [_model(arm.model) for arm in catalogue.direct.values()]


def _model(model: Model) -> dict[str, Any]:
    price = model.price
    rates = (price.rates.input, price.rates.cached, price.rates.output) if price else (None, None, None)
    return {
        "model": model.name,
        "upstream": f"{model.upstream_name} ({model.upstream.kind})",
        "name there": model.upstream_model,
        "window": model.window,
        **{kind: rate and round(rate, 4) for kind, rate in zip(("input", "cached", "output"), rates, strict=True)},
        "price from": price.source if price else None,
        "prefix cache": model.cache_rule.name,
        "tokens by": "its own tokenizer" if model.upstream.kind == "local" else "tiktoken",
    }


def _arms(catalogue: Catalogue) -> list[dict[str, Any]]:
    return [
        {
            "experiment": experiment.name,
            "arm": arm.name,
            "strategy": arm.strategy.name,
            "model": arm.model.name,
            "weight": arm.weight,
            "ask for": f"{experiment.name}:{arm.name}",
        }
        for experiment in catalogue.experiments.values()
        for arm in experiment.arms.values()
    ]


def _keys(settings: Settings) -> list[dict[str, Any]]:
    """Who may use what, and how much of it; of the key itself nothing, not even its hash."""
    return [
        {
            "key": name,
            "models": "all" if key.models is None else key.models,
            "requests a minute": key.requests_per_minute,
            "tokens a minute": key.tokens_per_minute,
            "USD a day": key.usd_per_day,
            "streams at once": key.max_concurrent_streams,
            "admin": key.admin,
        }
        for name, key in settings.keys.items()
    ]


def _table(title: str, rows: list[dict[str, Any]], absent: str = "unknown") -> Table:
    table = Table(title=title, title_justify="left")
    for name in rows[0]:
        table.add_column(name)
    for row in rows:
        table.add_row(*(_shown(value, absent) for value in row.values()))
    return table


def _shown(value: Any, absent: str) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return absent if value is None else str(value)
