"""`gattway chat`: a conversation with any arm in the terminal, and what it takes of the window."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command()
@click.option(
    "--gateway", "url", metavar="URL", default="http://127.0.0.1:8000", show_default=True, help="The gateway."
)
@click.option("--model", help="Experiment, EXPERIMENT:ARM or model; the first that the gateway lists when absent.")
@click.option("--instruction", help="What every answer should keep to; sent as the system message.")
@click.option("--key-file", type=click.Path(path_type=Path, dir_okay=False), help="File that holds the key.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a turn instead, and no prompts.")
def chat(url: str, model: str | None, instruction: str | None, key_file: Path | None, as_json: bool) -> None:
    """Talk to any arm: answers as they come, and below each its tokens, its cost and how full the window is.

    The key, where the gateway asks for one, comes from --key-file or the environment variable OPENAI_API_KEY.
    """
    from gateway.terminal.session import Session
    from gateway.terminal.talk import JsonLines, Screen, talk

    if not url.startswith(("http://", "https://")):
        raise click.BadParameter(f"{url!r} is no address; write it as http://HOST:PORT", param_hint="--gateway")
    with Session.open(url.rstrip("/"), model, instruction, key_file) as session:
        talk(session, JsonLines() if as_json else Screen(), interactive=sys.stdin.isatty() and not as_json)
