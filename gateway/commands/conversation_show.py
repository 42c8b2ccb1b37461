"""`gattway conversations show`: one conversation with what each turn used, cost, and would have cost."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from gateway.commands.options import CONFIG


@click.command()
@click.argument("conversation_id", metavar="ID")
@CONFIG
@click.option("--key", help="Whose conversation, where several keys gave the same id.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def show(conversation_id: str, config: Path | None, key: str | None, as_json: bool) -> None:
    """Show one conversation: its turns, how they filled the window, what they cost and would have cost."""
    from rich.console import Console

    from gateway.commands.conversation_view import conversation
    from gateway.ledger.reading import open_store
    from gateway.routes.conversations import described
    from gateway.settings import config_path, load

    store = open_store(load(config_path(config)).ledger)
    found = described(conversation_id, store.turns(conversation_id, key))
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    # Where there is no terminal, tables keep their cells.
    console = Console() if sys.stdout.isatty() else Console(width=150)
    console.print(conversation(found["turns"]))
