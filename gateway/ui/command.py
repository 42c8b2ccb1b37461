"""`gattway ui`: the page in a process of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import click
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Mount, Route

from gateway.access.hosts import Hosts, is_loopback
from gateway.commands.listening import address, bind, stop_with_exit_code_0
from gateway.ui.backend import Remote
from gateway.ui.page import create_page

GATEWAY = "http://127.0.0.1:8000"


@click.command()
@click.option("--gateway", "url", metavar="URL", default=GATEWAY, show_default=True, help="The gateway.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8001,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@click.option("--open", "is_open", is_flag=True, help="Let everybody who reaches the page use a gateway without keys.")
def ui(url: str, host: str, port: int, is_open: bool) -> None:
    """Serve the web page for a gateway that runs elsewhere, or with several workers."""
    import uvicorn

    from gateway.sections.telemetry import LoggingSettings
    from gateway.telemetry.logs import logging_to

    if not url.startswith(("http://", "https://")):
        raise click.BadParameter(f"{url!r} is no address; write it as http://HOST:PORT", param_hint="--gateway")
    listening = bind(host, port)
    listening.listen()  # whoever reads the line below may come at once
    click.echo(f"gattway shows {url} on {address(listening)}/ui/", err=True)
    app = create_app(Remote(url), only_here=is_loopback(host), only_with_key=not is_open and not is_loopback(host))
    stop_with_exit_code_0()
    config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False)
    with logging_to(None, LoggingSettings()):
        uvicorn.Server(config).run([listening])


def create_app(gateway: Remote, *, only_here: bool = True, only_with_key: bool = False) -> Starlette:
    """The page as an ASGI application of its own.

    Args:
        only_here: answer under this machine's own names only, against DNS rebinding.
        only_with_key: see `create_page`.
    """

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await gateway.close()

    def to_the_page(_request: Request) -> RedirectResponse:
        return RedirectResponse("/ui/")

    page = create_page(gateway, hosts=Hosts(()) if only_here else None, only_with_key=only_with_key)
    return Starlette(routes=[Route("/", to_the_page), Mount("/ui", page)], lifespan=lifespan)
