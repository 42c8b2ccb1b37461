"""`python -m gateway.upstreams.local --folder F`: how fast a model folder is served on this machine."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import click

from gateway.errors import ConfigError


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="A Hugging Face chat model.")
@click.option("--rounds", default=3, show_default=True, help="Alternations of the two candidates.")
@click.option("--prompt-tokens", default=300, show_default=True, help="Length of each prompt.")
@click.option("--new-tokens", default=100, show_default=True, help="Tokens made for each prompt.")
@click.option("--turns", default=20, show_default=True, help="Length of the conversation for the first token's time.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(folder: Path, rounds: int, prompt_tokens: int, new_tokens: int, turns: int, as_json: bool) -> None:
    """Measure tokens a second against batched `generate`, and time to first token by turn."""
    try:
        from gateway.upstreams.local.measure import measure, table

        figures = asyncio.run(
            measure(folder, rounds=rounds, prompt_tokens=prompt_tokens, new_tokens=new_tokens, turns=turns)
        )
    except ImportError as error:
        click.echo(f"torch and transformers are needed ({error}): pip install 'gattway[local]'", err=True)
        raise SystemExit(2) from error
    except ConfigError as error:
        click.echo(error.message, err=True)
        raise SystemExit(2) from error
    click.echo(json.dumps(figures, indent=2) if as_json else table(figures))


if __name__ == "__main__":
    main()
