"""`gattway serve`."""

from __future__ import annotations

import ipaddress
import signal
import socket
from types import FrameType
from typing import Any

import click
import uvicorn
from sse_starlette.sse import AppStatus

from gateway.app import create_app
from gateway.build import build
from gateway.draining import Draining
from gateway.errors import ConfigError
from gateway.settings import Settings

LAST_BYTES_S = 2
"""Seconds that connections get to close once nothing is being answered any more."""


def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        ConfigError: the port is taken, everybody could come in, or something in the settings cannot be had.
    """
    _refuse_to_stand_open(settings)
    listening = _bind(settings.server.host, settings.server.port)
    try:
        app = create_app(settings, build(settings))
        config = uvicorn.Config(
            app,
            log_config=_log_config(),
            access_log=False,
            timeout_graceful_shutdown=LAST_BYTES_S,
            server_header=False,
        )
        host, port = listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        click.echo(f"gattway serves on http://{shown}:{port}/v1 (ledger: {settings.ledger.path})", err=True)
        # Asked to stop, sse-starlette would cut running streams off at once; uvicorn's grace period lets them end.
        AppStatus.disable_automatic_graceful_drain()  # type: ignore[no-untyped-call]
        _stop_with_exit_code_0()
        _Server(config, app.state.draining, settings.server.grace_s).run([listening])
    finally:
        listening.close()


class _Server(uvicorn.Server):
    """Asked to stop, it answers what has begun, for `grace_s` seconds at most; asked twice, it stops at once."""

    def __init__(self, config: uvicorn.Config, draining: Draining, grace_s: float) -> None:
        super().__init__(config)
        self._draining = draining
        self._grace_s = grace_s

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain at the first signal."""
        if self._draining.begun:
            super().handle_exit(sig, frame)
        else:
            self._draining.begin()

    async def on_tick(self, counter: int) -> bool:
        """Whether it is time to close; uvicorn asks ten times a second."""
        return await super().on_tick(counter) or self._draining.over(self._grace_s)


def _refuse_to_stand_open(settings: Settings) -> None:
    """Without keys only this machine is served, unless somebody says in so many words that it is meant otherwise."""
    host = settings.server.host
    if settings.keys or settings.server.open or _is_loopback(host):
        return
    raise ConfigError(
        f"on {host} everybody who reaches this machine could use the gateway and your upstreams' keys. Make a key "
        "with 'gattway keys new NAME' and add what it prints to the config; or, where that is meant, say so with "
        "--open or server.open = true"
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bind(host: str, port: int) -> socket.socket:
    """A listening socket, taken before anything slow is loaded, so that a taken port is said at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"cannot listen on {host}:{port} ({error.strerror or error}); choose another with --host and --port"
        ) from None
    listening.set_inheritable(True)
    return listening


def _stop_with_exit_code_0() -> None:
    """uvicorn raises the signal that stopped it once more, for the handlers that were there before it."""
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, lambda *_: None)


def _log_config() -> dict[str, Any]:
    """Warnings and worse on standard error, one line each."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
    }
