"""The seam: what every sampler is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Message = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """One prompt whose candidates are wanted; `row` names it in reports ("tuned-3-0004, turn 2")."""

    row: str
    messages: tuple[Message, ...]


@dataclass(frozen=True)
class Draw:
    """How candidates are drawn; the same seed gives the same candidates where the model is the same."""

    candidates: int
    temperature: float
    max_new_tokens: int
    seed: str

    def number(self, part: object = "") -> int:
        """A seed for a generator, different for each `part`."""
        return int.from_bytes(hashlib.sha256(f"{self.seed}/{part}".encode()).digest()[:4], "big") & 0x7FFFFFFF


@dataclass(frozen=True)
class Failure:
    """A row that was not answered, and why."""

    row: str
    reason: str


Keep = Callable[[int, list[str]], None]
"""Called with a request's place and its candidates as soon as they are there."""


class Sampler(Protocol):
    """Draws candidates for many requests."""

    batches: bool
    """True where a request's candidates depend on the requests beside it, so that an interrupted call is repeated
    whole; false where each request stands for itself."""

    def draw(self, requests: Sequence[Request], how: Draw, keep: Keep) -> list[Failure]:
        """Candidates of every request go to `keep`, an empty list where the window is full; returns what failed.

        Raises:
            SamplerError: nothing can be reached at all.
        """
        ...


class SamplerError(RuntimeError):
    """The sampler cannot work at all; the message says what to do."""
