"""The `gattway` command. What a command needs is imported when it is called: `serve` starts without the others."""

from __future__ import annotations

import gc
import importlib
import sys
from pathlib import Path
from typing import Any

import click

from gateway import __version__
from gateway.commands.options import CONFIG
from gateway.errors import ConfigError, GatewayError

_ELSEWHERE = {
    "chat": "gateway.commands.chat",
    "conversations": "gateway.commands.conversations",
    "db": "gateway.commands.db",
    "keys": "gateway.commands.keys",
    "report": "gateway.commands.report",
    "ui": "gateway.ui.command",
}
"""Name of a command → module that holds it under this name."""


class _Group(click.Group):
    """Every GatewayError ends in one clear line and exit code 2 (config) or 1, never a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_ELSEWHERE])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _ELSEWHERE.get(cmd_name)
        if module is None:
            return super().get_command(ctx, cmd_name)
        command: click.Command = getattr(importlib.import_module(module), cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            click.echo(f"gattway: {error}".replace("\n", "\ngattway: "), err=True)
            ctx.exit(2)
        except GatewayError as error:
            click.echo(f"gattway: {error}", err=True)
            ctx.exit(1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gattway")
def main() -> None:
    """A chat gateway that keeps an instruction alive over a long conversation and says what that costs."""


@main.command()
@CONFIG
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one.")
@click.option("--workers", type=click.IntRange(1, 256), help="Processes that serve together.")
@click.option("--open", "is_open", is_flag=True, default=None, help="Serve without keys where other machines reach it.")
def serve(config: Path | None, host: str | None, port: int | None, workers: int | None, is_open: bool | None) -> None:
    """Serve the OpenAI-compatible API."""
    gc.disable()  # until it serves, see `gateway.commands.memory`
    try:
        _serve(config, {"host": host, "port": port, "workers": workers, "open": is_open})
    finally:
        gc.enable()


def _serve(config: Path | None, given: dict[str, Any]) -> None:
    from gateway.commands.serve import serve as run
    from gateway.settings import config_path, load

    settings = load(config_path(config))
    changes = {key: value for key, value in given.items() if value is not None}
    server = settings.server.model_copy(update=changes)
    run(settings.model_copy(update={"server": server}))


@main.command()
@CONFIG
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def check(config: Path | None, as_json: bool) -> None:
    """Read the config and resolve every model, price, tokenizer and window; exit 0, or 2 with each mistake."""
    from gateway.commands.check import check as run
    from gateway.settings import config_path

    run(config_path(config), as_json=as_json)


if __name__ == "__main__":
    sys.exit(main())
