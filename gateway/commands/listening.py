"""What every server of gattway's commands needs: a port, its address in words, and a clean stop."""

from __future__ import annotations

import signal
import socket

from gateway.errors import ConfigError


def bind(host: str, port: int) -> socket.socket:
    """A listening socket, taken before anything slow is loaded, so that a taken port is said at once.

    Raises:
        ConfigError: the port is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named: asyncio sends small writes at once (TCP_NODELAY) on such sockets alone.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
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


def address(listening: socket.socket) -> str:
    """`http://HOST:PORT` of a listening socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def stop_with_exit_code_0() -> None:
    """uvicorn raises the signal that stopped it once more, for the handlers that were there before it."""
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, lambda *_: None)
