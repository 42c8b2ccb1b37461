"""How an experiment divides the traffic, and what of a request decides on it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import orjson


@dataclass(frozen=True, slots=True)
class Audience:
    """Whose conversations are in an experiment: those of `keys` (all when empty) whose request has every header of
    `headers`, each with the regular expression that its whole value matches."""

    keys: frozenset[str] = frozenset()
    headers: tuple[tuple[str, str], ...] = ()

    def holds(self, key_name: str | None, headers: Mapping[str, str]) -> bool:
        """Whether a request is of the audience."""
        if self.keys and key_name not in self.keys:
            return False
        return all(re.fullmatch(pattern, headers.get(name, "")) for name, pattern in self.headers)


@dataclass(frozen=True, slots=True)
class Split:
    """The config's own division.

    `weights` are relative, arm → weight; `coverage` the share of new conversations that are part of the experiment;
    `outside` the arm that serves all others; `policy` is `fixed` or `thompson`, and `floor` the least share of an arm
    that has a weight under the latter.
    """

    name: str
    salt: str
    weights: Mapping[str, float]
    coverage: float = 1.0
    outside: str = ""
    audience: Audience = Audience()
    policy: str = "fixed"
    floor: float = 0.0


class Exposure(NamedTuple):
    """What is known of a conversation when it first meets an experiment, before any arm could do something.

    `turn` is the turn of the request; the characters are those of the instruction and of all messages sent.
    """

    turn: int
    instruction_chars: int
    prompt_chars: int
    key_name: str | None
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Shares:
    """How new conversations are dealt at present: arm → share, which sum to 1, and the coverage."""

    shares: Mapping[str, float]
    coverage: float

    @cached_property
    def as_json(self) -> str:
        """The shares as a deal's row has them; made once for all deals."""
        return orjson.dumps(dict(self.shares), option=orjson.OPT_SORT_KEYS).decode()


def shares_of(weights: Mapping[str, float]) -> dict[str, float]:
    """Weights as shares. Raises ValueError when none is above 0, or one is below or no number."""
    if any(not weight >= 0 or weight == float("inf") for weight in weights.values()):
        raise ValueError("weights must be numbers from 0")
    total = sum(weights.values())
    if not total > 0:
        raise ValueError("no arm has a weight above 0")
    return {arm: weight / total for arm, weight in weights.items()}
