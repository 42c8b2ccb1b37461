"""For arms of the strategy `within-budget`: which placement new conversations get now, and what each began with.

The candidates are other arms of the experiment on the same model. Their adherence is read from the ledger every
`REFRESH_S` seconds, off the requests' path; their cost is worked out once, from the model's prices and the rule of its
prefix cache. What was chosen stands in the row (`within-budget:ARM` as its `strategy`), and from there a conversation
is known again after a restart or at another gateway.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from sqlalchemy.exc import SQLAlchemyError

from adherence import wilson
from gateway.accounting.breakeven import Shape
from gateway.accounting.expected import expected_usd
from gateway.accounting.prices import Rates
from gateway.catalogue import Arm, Experiment, Model
from gateway.identity import Identity
from gateway.ledger.aggregates import BANDS
from gateway.ledger.lookup import Lookup
from strategies.within_budget import Figures, WithinBudget

REFRESH_S = 30.0
REMEMBERED = 20_000
LEAST_JUDGED = 20
"""Answers of a band of turns; with fewer, the band says nothing."""
NO_PRICE = Rates(input=1.0, cached=0.1, cache_write=1.0, cache_write_1h=1.0, output=4.0, reasoning=4.0)
"""For a model whose price is unknown: what matters is the order of the costs."""

Curve = Mapping[int, tuple[int, int]]
"""Turn → (adherent, judged) answers."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Budget:
    """One arm: its candidates as arms, their costs, and the one that new conversations get."""

    strategy: WithinBudget
    arms: Mapping[str, Arm]
    costs: Mapping[str, float]
    now: str = field(init=False)

    def __post_init__(self) -> None:
        self.now = self.strategy.choice({name: Figures(None, cost) for name, cost in self.costs.items()})


class Budgets:
    """The choices of all arms of this strategy.

    Args:
        curves: an experiment's adherence by arm and turn; blocks.
    """

    def __init__(
        self,
        experiments: Mapping[str, Experiment],
        curves: Callable[[str], Mapping[str, Curve]],
        lookup: Lookup,
    ) -> None:
        self._curves = curves
        self._lookup = lookup
        self._budgets = {
            (experiment.name, arm.name): _budget(arm, arm.strategy)
            for experiment in experiments.values()
            for arm in experiment.arms.values()
            if isinstance(arm.strategy, WithinBudget)
        }
        self._begun_with: OrderedDict[tuple[str, str, str, str], str] = OrderedDict()

    async def settled(self, experiment: Experiment | None, arm: Arm, identity: Identity, key_name: str | None) -> Arm:
        """The arm with the placement that the conversation began with, or begins with now; other arms as they are."""
        budget = self._budgets.get((experiment.name, arm.name)) if experiment else None
        if experiment is None or budget is None:
            return arm
        key = (experiment.name, arm.name, identity.conversation_id, key_name or "")
        chosen = self._begun_with.get(key) or await self._recorded(arm, identity)
        if chosen not in budget.arms:
            chosen = budget.now
        self._begun_with[key] = chosen
        self._begun_with.move_to_end(key)
        if len(self._begun_with) > REMEMBERED:
            self._begun_with.popitem(last=False)
        return budget.arms[chosen]

    def current(self, experiment: Experiment, arm: Arm) -> Arm:
        """The arm as it places for new conversations; other arms as they are."""
        budget = self._budgets.get((experiment.name, arm.name))
        return budget.arms[budget.now] if budget else arm

    async def run(self) -> None:
        """Keep up with the ledger until cancelled; returns at once where no arm needs it."""
        while self._budgets:
            try:
                await self.refresh()
            except SQLAlchemyError as error:
                log.warning("the arms' adherence could not be read: %s", getattr(error, "orig", None) or error)
            await asyncio.sleep(REFRESH_S)

    async def refresh(self) -> None:
        """Choose anew, by what the ledger says."""
        for name in {experiment for experiment, _ in self._budgets}:
            curves = await asyncio.to_thread(self._curves, name)
            for (experiment, arm), budget in self._budgets.items():
                if experiment == name:
                    self._choose(f"{experiment}:{arm}", budget, curves)

    def _choose(self, name: str, budget: _Budget, curves: Mapping[str, Curve]) -> None:
        turns = budget.strategy.shape["turns"]
        figures = {one: Figures(kept(curves.get(one, {}), turns), cost) for one, cost in budget.costs.items()}
        chosen = budget.strategy.choice(figures)
        if chosen != budget.now:
            log.info("%s places new conversations as %s does: %s", name, chosen, figures[chosen])
        budget.now = chosen

    async def _recorded(self, arm: Arm, identity: Identity) -> str:
        """What the turn before was placed by; empty where there is none of this arm's."""
        row = await self._lookup.turn(identity.parent.request_id) if identity.parent else None
        if row is None or row.arm != arm.name:
            return ""
        return row.strategy.removeprefix(f"{WithinBudget.name}:")


def kept(curve: Curve, turns: int) -> float | None:
    """The adherence that an arm keeps for certain up to a turn: of its bands of turns (those of the report) the lowest
    lower end of a 95 % Wilson interval. None where no band has enough answers.

    Answers of one conversation are counted one by one, as if they knew nothing of each other.
    """
    bounds = []
    for first, last, _ in BANDS:
        within = [counts for turn, counts in curve.items() if first <= turn <= min(last or turns, turns)]
        adherent, judged = (sum(column) for column in zip(*within, strict=True)) if within else (0, 0)
        if judged >= LEAST_JUDGED:
            bounds.append(wilson(adherent, judged)[0])
    return min(bounds, default=None)


def _budget(arm: Arm, strategy: WithinBudget) -> _Budget:
    arms = {name: replace(arm, strategy=chosen) for name, chosen in strategy.among.items()}
    return _Budget(strategy, arms, _costs(strategy, arm.model))


def _costs(strategy: WithinBudget, model: Model) -> dict[str, float]:
    shape = Shape(**strategy.shape)
    rates = model.price.rates if model.price else NO_PRICE
    return {
        name: expected_usd(placement, shape, model.cache_rule, rates) for name, placement in strategy.placements.items()
    }
