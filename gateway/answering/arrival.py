"""What is known of a request besides its body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from gateway.access.keys import Key


class Arrival(NamedTuple):
    """A request's own id, its headers, whose it is, and when it came (perf_counter s)."""

    request_id: str
    headers: Mapping[str, str]
    key: Key
    at: float
