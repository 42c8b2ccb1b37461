"""Under which names the gateway answers, against DNS rebinding.

A web page can have its own name point to 127.0.0.1 once it is loaded; to the browser its requests then go to where the
page came from, and no origin differs. What gives them away is that name in their Host header. So a gateway without keys
on a loopback address answers to this machine's own names alone (Ollama's and Jupyter's precaution as well).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from functools import lru_cache
from urllib.parse import urlsplit

from gateway.errors import Forbidden
from gateway.settings import Settings


class Hosts:
    """The names that a Host header may hold."""

    def __init__(self, names: Collection[str] | None) -> None:
        """`names` are allowed besides this machine's own; None when any name is."""
        self._names = None if names is None or "*" in names else {name.lower() for name in names}

    @classmethod
    def of(cls, settings: Settings) -> Hosts:
        """Any name where there are keys, or where other machines are served: those know the gateway by names."""
        if settings.keys or not is_loopback(settings.server.host):
            return cls(None)
        return cls([*settings.server.allowed_hosts, settings.server.host])

    def check(self, header: str | None) -> None:
        """Raise Forbidden for a Host header with another name; one that is missing is no browser's."""
        if self._names is None or header is None:
            return
        name = _name(header)
        if name not in self._names and not is_loopback(name) and not name.endswith(".localhost"):
            raise Forbidden(
                f"This gateway answers on this machine only, as localhost or 127.0.0.1, and was asked as "
                f"'{name[:128]}'. Where that name shall lead here, add it to server.allowed_hosts, or set keys up.",
                code="host_not_allowed",
            )


@lru_cache(maxsize=1024)
def is_loopback(host: str) -> bool:
    """Whether a name or address, without brackets, is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@lru_cache(maxsize=1024)
def _name(header: str) -> str:
    try:
        return (urlsplit(f"//{header}").hostname or "").rstrip(".")
    except ValueError:
        return ""
