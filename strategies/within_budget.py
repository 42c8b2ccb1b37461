"""`within-budget`: the cheapest placement that keeps a stated adherence, by what other arms have shown.

    conversation 1   as the arm `every-turn` places it      while nothing is known: the safest
    conversation 2   as the arm `every-4` places it         its curve stays above what is asked for, and it costs less
    conversation 1   as the arm `every-turn` places it      what a conversation began with, it keeps

The strategy is a choice, not a placement of its own: `choice` is a pure function of the candidates' figures, and each
of `among` is the chosen one as a strategy, whose name says what was chosen. The gateway brings the figures up to date
and remembers what each conversation began with (`gateway.experiments.budgets`); by itself the strategy goes by the
figures that its parameters state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from strategies.base import Incremental, Message, Strategy
from strategies.parameters import share, whole

SHAPE = {"turns": 20, "instruction": 200, "user": 40, "answer": 200}
"""The conversation that costs are worked out for, where nothing else is said: turns, and tokens of each part."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What is known of a candidate: the adherence that it keeps for certain, and what a conversation costs (in any
    unit that all share). None is unknown."""

    adherence: float | None = None
    cost: float | None = None


class Chosen:
    """One candidate, under a name that says so."""

    def __init__(self, name: str, strategy: Strategy) -> None:
        self.name = f"{WithinBudget.name}:{name}"
        self.append_only = strategy.append_only
        self._strategy = strategy

    def place(self, messages: Sequence[Message], instruction: str | None = None) -> list[Message]:
        """See `Strategy.place`."""
        return self._strategy.place(messages, instruction)

    def place_from(self, start: int, messages: Sequence[Message], instruction: str | None = None) -> list[Message]:
        """See `Incremental.place_from`; for candidates that append only."""
        if isinstance(self._strategy, Incremental):
            return self._strategy.place_from(start, messages, instruction)
        placed = self._strategy.place(messages, instruction)
        return placed[len(placed) - (len(messages) - start) :]


class WithinBudget:
    """Places as the cheapest candidate does that keeps the adherence, as far as is known.

    Args:
        adherence: the share of adherent answers that is to be kept.
        candidates: `{name, strategy, parameters, adherence, cost}`, from the leanest to the safest; the last three may
            be left out. The last candidate is taken while none is known to keep the adherence.
        shape: lengths of the conversation that the gateway works costs out for, as in `SHAPE`.
    """

    name: ClassVar[str] = "within-budget"

    def __init__(self, adherence: float, candidates: Any, shape: Any = None) -> None:
        self.adherence = share("adherence", adherence)
        self.shape = _shape({} if shape is None else shape)
        if not isinstance(candidates, list) or not candidates:
            raise ValueError("candidates must be a list of at least one table with a 'name' and a 'strategy'")
        read = [_candidate(one, index) for index, one in enumerate(candidates)]
        self.placements: Mapping[str, Strategy] = {name: strategy for name, strategy, _ in read}
        if len(self.placements) < len(read):
            raise ValueError("candidates must have names of their own")
        self.among: Mapping[str, Chosen] = {name: Chosen(name, one) for name, one in self.placements.items()}
        self._stated = {name: figures for name, _, figures in read}

    @property
    def append_only(self) -> bool:
        """See `Strategy.append_only`."""
        return self.among[self.choice(self._stated)].append_only

    def choice(self, figures: Mapping[str, Figures]) -> str:
        """The cheapest candidate that is known to keep the adherence; the last one where none is.

        Of two that cost the same, or whose cost is unknown, the leaner one.
        """
        keeping = [name for name in self.among if (figures[name].adherence or 0.0) >= self.adherence]
        costs = {name: figures[name].cost for name in keeping}
        if any(cost is None for cost in costs.values()):
            return keeping[0]
        return min(keeping, key=lambda name: costs[name] or 0.0, default=list(self.among)[-1])

    def place(self, messages: Sequence[Message], instruction: str | None = None) -> list[Message]:
        """See `Strategy.place`; by the figures that the parameters state."""
        return self.among[self.choice(self._stated)].place(messages, instruction)


def _candidate(table: Any, index: int) -> tuple[str, Strategy, Figures]:
    place = f"candidates[{index}]"
    if not isinstance(table, Mapping) or not all(isinstance(table.get(key), str) for key in ("name", "strategy")):
        raise ValueError(f"{place} must be a table with the texts 'name' and 'strategy'")
    if extra := set(table) - {"name", "strategy", "parameters", "adherence", "cost"}:
        raise ValueError(f"{place} has no key {min(extra)!r}; it takes: adherence, cost, name, parameters, strategy")
    from strategies.registry import make, takes  # which know this strategy too

    strategy = table["strategy"]
    if takes(strategy, "checks") or takes(strategy, "candidates"):
        raise ValueError(f"{place}: what {strategy!r} costs depends on the answers; take one that places by turn alone")
    adherence, cost = table.get("adherence"), table.get("cost")
    for key, value, most in (("adherence", adherence, 1.0), ("cost", cost, float("inf"))):
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most
        ):
            raise ValueError(f"{place}: {key} must be a number from 0{' to 1' if most == 1 else ''}, not {value!r}")
    return table["name"], make(strategy, **(table.get("parameters") or {})), Figures(adherence, cost)


def _shape(given: Any) -> dict[str, int]:
    if not isinstance(given, Mapping) or set(given) - set(SHAPE):
        raise ValueError(f"shape must be a table of {', '.join(SHAPE)}, not {given!r}")
    shape = {name: whole(f"shape.{name}", given.get(name, usual), 1) for name, usual in SHAPE.items()}
    if shape["turns"] > 200:
        raise ValueError(f"shape.turns must be a whole number from 1 to 200, not {shape['turns']}")
    return shape
