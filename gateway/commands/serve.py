"""`gattway serve`."""

from __future__ import annotations

import gc
import signal
import socket
from collections.abc import Callable
from contextlib import closing
from types import FrameType

import click
import uvicorn
from sse_starlette.sse import AppStatus

from gateway.access.hosts import is_loopback
from gateway.answering.draining import Draining
from gateway.app import create_app
from gateway.build import build
from gateway.commands.listening import address, bind, stop_with_exit_code_0
from gateway.commands.memory import give_large_blocks_back, settle_in
from gateway.errors import ConfigError
from gateway.ledger.database import open_database
from gateway.settings import ServerSettings, Settings
from gateway.telemetry.logs import logging_to

BACKLOG = 2048
LAST_BYTES_S = 2
"""Seconds that connections get to close once nothing is being answered any more."""


def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        ConfigError: the port is taken, everybody could come in, or something in the settings cannot be had.
    """
    _refuse_to_stand_open(settings)
    listening = bind(settings.server.host, settings.server.port)
    with closing(listening):
        if settings.server.workers == 1:
            answer(settings, listening, on_start=lambda: click.echo(_greeting(settings, listening), err=True))
        else:
            _supervise(settings, listening)


def answer(
    settings: Settings,
    listening: socket.socket,
    *,
    deaf_to: signal.Signals | None = None,
    on_start: Callable[[], None] = lambda: None,
) -> None:
    """Answer what comes in at a socket until SIGINT or SIGTERM, in this process.

    Args:
        deaf_to: a signal that somebody else hears.
        on_start: called when the first request could come.

    Raises:
        ConfigError: something in the settings cannot be had.
    """
    gc.disable()  # until it serves: what a start makes stays, and each search for cycles would look at all of it
    give_large_blocks_back()
    with logging_to(None, settings.logging):
        app = create_app(settings, build(settings))
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=LAST_BYTES_S,
            timeout_keep_alive=settings.server.keep_alive_s,
            server_header=False,
        )
        # Asked to stop, sse-starlette would cut running streams off at once; uvicorn's grace period lets them end.
        AppStatus.disable_automatic_graceful_drain()  # type: ignore[no-untyped-call]
        stop_with_exit_code_0()
        _Server(config, app.state.draining, settings.server, deaf_to, on_start).run([listening])


def _supervise(settings: Settings, listening: socket.socket) -> None:
    """Several processes on one socket; what can be wrong without loading anything is said before they start."""
    from gateway.commands.workers import Supervisor, metrics_folder

    gc.enable()
    listening.listen(BACKLOG)
    open_database(settings.ledger.path, settings.ledger.durability).dispose()
    with logging_to(None, settings.logging), metrics_folder(settings, listening.getsockname()[1]):
        Supervisor(settings, listening, _greeting(settings, listening)).run()


def _greeting(settings: Settings, listening: socket.socket) -> str:
    workers = f", {settings.server.workers} workers" if settings.server.workers > 1 else ""
    return f"gattway serves on {address(listening)}/v1 (ledger: {settings.ledger.path}{workers})"


class _Server(uvicorn.Server):
    """Asked to stop, it says so for `notice_s` seconds, then answers what has begun, for `grace_s` seconds at most.

    Asked twice, it stops at once.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        draining: Draining,
        settings: ServerSettings,
        deaf_to: signal.Signals | None,
        on_start: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._draining = draining
        self._settings = settings
        self._deaf_to = deaf_to
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        if self.started:
            settle_in()
            self._on_start()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain at the first signal."""
        if sig == self._deaf_to:
            return
        if self._draining.announced:
            super().handle_exit(sig, frame)
        else:
            self._draining.begin(self._settings.notice_s)

    async def on_tick(self, counter: int) -> bool:
        """Whether it is time to close; uvicorn asks ten times a second."""
        return await super().on_tick(counter) or self._draining.over(self._settings.grace_s)


def _refuse_to_stand_open(settings: Settings) -> None:
    """Without keys only this machine is served, unless somebody says in so many words that it is meant otherwise."""
    host = settings.server.host
    if settings.keys or settings.server.open or is_loopback(host):
        return
    raise ConfigError(
        f"on {host} everybody who reaches this machine could use the gateway and your upstreams' keys. Make a key "
        "with 'gattway keys new NAME' and add what it prints to the config; or, where that is meant, say so with "
        "--open or server.open = true"
    )
