"""`gattway keys`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import click
from pydantic import TypeAdapter, ValidationError

from gateway.access.keys import hash_of, new
from gateway.sections.access import KeySettings
from gateway.sections.base import Name


@click.group()
def keys() -> None:
    """Keys, for a gateway that is not everybody's."""


def _named(_context: click.Context, _option: click.Parameter, value: str) -> str:
    try:
        return TypeAdapter(Name).validate_python(value)
    except ValidationError:
        raise click.BadParameter("letters, digits and . _ / - only, 128 at most, the first a letter or digit") from None


@keys.command("new")
@click.argument("name", callback=_named)
@click.option("--model", "models", multiple=True, help="A name it may send as model; again for more. All when absent.")
@click.option("--requests-per-minute", type=click.IntRange(1), help="Requests in any minute.")
@click.option("--tokens-per-minute", type=click.IntRange(1), help="Prompt and completion tokens in any minute.")
@click.option("--usd-per-day", type=click.FloatRange(0, min_open=True), help="US dollars in any 24 hours.")
@click.option("--max-concurrent-streams", type=click.IntRange(1), help="Streamed answers under way at once.")
@click.option("--admin", is_flag=True, help="Let it open /api, /ui and /metrics too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def new_key(name: str, as_json: bool, **options: Any) -> None:
    """Make a key: print it, this once, and the lines for gattway.toml, which hold its hash only."""
    key = new()
    stated = {field: options[field] for field in KeySettings.model_fields if options.get(field)}
    toml = _toml(name, {"hash": hash_of(key), **stated})
    if as_json:
        click.echo(json.dumps({"name": name, "key": key, "toml": toml}, indent=2))
        return
    click.echo(f"The key of {name}, shown this once:\n\n    {key}\n\nFor gattway.toml:\n\n{toml}", nl=False)


def _toml(name: str, values: Mapping[str, Any]) -> str:
    """A table of the config; JSON's strings, numbers, booleans and lists are TOML's too."""
    heading = name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)
    lines = [f"{field} = {json.dumps(value)}\n" for field, value in values.items()]
    return f"[keys.{heading}]\n{''.join(lines)}"
