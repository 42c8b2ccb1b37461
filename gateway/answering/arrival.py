"""What is known of a request besides its body."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.access.keys import Key


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request's own id, its headers, whose it is, and when it came (perf_counter s)."""

    request_id: str
    headers: Mapping[str, str]
    key: Key
    at: float
