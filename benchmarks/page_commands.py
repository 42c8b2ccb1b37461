"""`python -m benchmarks screenshots` and `maps`: what the docs and the web page show, made from the running thing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from benchmarks import maps as page_maps
from benchmarks import screenshots as page_screenshots
from benchmarks.client import Client, Conversation, together
from benchmarks.script import Script, load
from benchmarks.server import ServerFailed, serve

CONVERSATIONS = 80
PLAYED = Path(__file__).parents[1] / "gateway/ui/scripts.jsonl"
SHOWN_TURNS = 20


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("docs/page"),
    show_default=True,
    help="Folder for the pictures.",
)
@click.option(
    "--conversations",
    type=click.IntRange(2),
    default=CONVERSATIONS,
    show_default=True,
    help="Held first, with the arms as they are dealt.",
)
def screenshots(out: Path, conversations: int) -> None:
    """Pictures of the web page, after conversations with a gateway that is started for it (a few minutes)."""
    # Without those that the page plays: held before, they would be in the prefix cache of one arm alone.
    played = {json.loads(line)["id"] for line in PLAYED.read_text(encoding="utf-8").splitlines()}
    scripts = [one for one in load(split="unseen_attributes") if one.id not in played][:conversations]
    status = Console(stderr=True).status("holding conversations")
    try:
        with serve() as server, status:
            held = asyncio.run(_hold(server.url, scripts))
            status.update("taking pictures")
            shown = next((one.id for one in held if one.arm == "repeat"), held[0].id)
            written = page_screenshots.run(server.url, out, shown)
    except (ServerFailed, page_screenshots.NoBrowser) as error:
        raise click.ClickException(str(error)) from error
    click.echo("\n".join(str(path) for path in written))


async def _hold(url: str, scripts: Sequence[Script]) -> list[Conversation]:
    async with Client(url, concurrency=8) as client:
        return await together(
            client.hold(one, "gatt-vs-repeat", f"chat-{number:03d}", turns=SHOWN_TURNS)
            for number, one in enumerate(scripts)
        )


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=page_maps.PAGE / "maps",
    show_default=True,
    help="Folder for the maps.",
)
def maps(out: Path) -> None:
    """The attention maps that the web page ships, measured anew by `gatt attention` (a minute)."""
    try:
        with Console(stderr=True).status("measuring"):
            written = page_maps.run(out)
    except page_maps.MapsFailed as error:
        raise click.ClickException(str(error)) from error
    click.echo("\n".join(str(path) for path in written))
