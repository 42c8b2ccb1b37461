"""`gattway check`: the config as the gateway understands it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from gateway.build import build
from gateway.catalogue import Catalogue, Model
from gateway.settings import load


def check(path: Path, *, as_json: bool) -> None:
    """Print every model and every arm. Raises ConfigError for what cannot be resolved."""
    catalogue = build(load(path))
    if as_json:
        print(json.dumps({"config": str(path), "models": _models(catalogue), "arms": _arms(catalogue)}, indent=2))
        return
    console = Console()
    console.print(f"config: {path}")
    console.print(_table("Models (prices in USD per million tokens)", _models(catalogue)))
    if catalogue.experiments:
        console.print(_table("Experiments", _arms(catalogue)))


def _models(catalogue: Catalogue) -> list[dict[str, Any]]:
    return [_model(arm.model) for arm in catalogue.direct.values()]


def _model(model: Model) -> dict[str, Any]:
    price = model.price
    rates = (price.input, price.cached, price.output) if price else (None, None, None)
    return {
        "model": model.name,
        "upstream": f"{model.upstream_name} ({model.upstream.kind})",
        "name there": model.upstream_model,
        "window": model.window,
        **{
            kind: rate and round(rate * 1e6, 4) for kind, rate in zip(("input", "cached", "output"), rates, strict=True)
        },
        "price from": price.source if price else None,
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


def _table(title: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in rows[0]:
        table.add_column(name)
    for row in rows:
        table.add_row(*("unknown" if value is None else str(value) for value in row.values()))
    return table
