"""The shares that are in force: the config's, those that were set while running, or the bandit's.

Shares set while running are in the ledger, so that other workers and the next start know them; they hold until the
config's own weights or coverage change. A conversation that has its arm keeps it in any case.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

import orjson
from sqlalchemy.exc import SQLAlchemyError

from gateway.errors import BadRequest
from gateway.experiments.bandit import Tally, best_shares
from gateway.experiments.split import Shares, Split, shares_of
from gateway.ledger.records import Allocation

REFRESH_S = 1.0
BANDIT_REFRESH_S = 30.0

log = logging.getLogger(__name__)


class Allocations:
    """The shares of every experiment.

    Args:
        splits: what the config says.
        latest: reads the changes that were made while running; blocks.
        tallies: an experiment's adherent and other conversations by arm, for the bandit; blocks.
        write: puts a change into the ledger.
    """

    def __init__(
        self,
        splits: Mapping[str, Split],
        latest: Callable[[], dict[str, Allocation]],
        tallies: Callable[[str], dict[str, tuple[float, int]]],
        write: Callable[[Allocation], Awaitable[None]],
    ) -> None:
        self._splits = dict(splits)
        self._latest = latest
        self._tallies = tallies
        self._write = write
        self._set: dict[str, Shares] = {}
        self._stated: dict[str, Shares] = {}
        self._bandit: dict[str, Mapping[str, float]] = {}

    def of(self, split: Split) -> Shares:
        """What is in force now."""
        shares = self._configured_shares(split)
        moved = self._bandit.get(split.name)
        return Shares(moved, shares.coverage) if moved else shares

    async def change(self, name: str, weights: Mapping[str, float] | None, coverage: float | None) -> Shares:
        """Set new weights (of all arms) or a new coverage; returns once they are in force and in the ledger.

        Raises:
            BadRequest: an arm is missing or unknown, a weight negative, all zero, or the coverage outside 0..1.
        """
        split = self._splits[name]
        now = self._configured_shares(split)
        given = dict(now.shares if weights is None else weights)
        if set(given) != set(split.weights):
            arms = ", ".join(split.weights)
            raise BadRequest(
                f"'weights' must give a weight to every arm and to no other; they are: {arms}.", param="weights"
            )
        try:
            shares = Shares(shares_of(given), now.coverage if coverage is None else coverage)
        except ValueError as error:
            raise BadRequest(f"'weights': {error}.", param="weights") from None
        if not 0 <= shares.coverage <= 1:
            raise BadRequest("'coverage' must lie between 0 and 1.", param="coverage")
        await self._write(
            Allocation(
                allocation_id=uuid.uuid4().hex,
                experiment=name,
                changed_at=datetime.now(UTC).isoformat(timespec="microseconds"),
                weights=orjson.dumps(given).decode(),
                coverage=shares.coverage,
                configured=_configured(split),
            )
        )
        self._set[name] = shares
        return shares

    async def run(self) -> None:
        """Keep up with the ledger until cancelled."""
        rounds = 0
        while True:
            try:
                await self.refresh(bandit=rounds % int(BANDIT_REFRESH_S / REFRESH_S) == 0)
            except SQLAlchemyError as error:
                log.warning("the experiments' weights could not be read: %s", getattr(error, "orig", None) or error)
            rounds += 1
            await asyncio.sleep(REFRESH_S)

    async def refresh(self, *, bandit: bool) -> None:
        """Read what was set elsewhere, and with `bandit` what the bandits have learned."""
        latest = await asyncio.to_thread(self._latest)
        for name, split in self._splits.items():
            change = latest.get(name)
            weights = orjson.loads(change.weights) if change else {}
            if change is not None and change.configured == _configured(split) and set(weights) == set(split.weights):
                self._set[name] = Shares(shares_of(weights), change.coverage)
            else:
                self._set.pop(name, None)
            if bandit and split.policy == "thompson":
                self._bandit[name] = await asyncio.to_thread(self._learned, split)

    def _configured_shares(self, split: Split) -> Shares:
        found = self._set.get(split.name) or self._stated.get(split.name)
        if found is None:
            found = self._stated[split.name] = Shares(shares_of(split.weights), split.coverage)
        return found

    def _learned(self, split: Split) -> dict[str, float]:
        seen = self._tallies(split.name)
        arms = [arm for arm, share in self._configured_shares(split).shares.items() if share > 0]
        best = best_shares({arm: Tally(*seen.get(arm, (0.0, 0))) for arm in arms}, split.floor)
        return {arm: best.get(arm, 0.0) for arm in split.weights}


def _configured(split: Split) -> str:
    return orjson.dumps([dict(split.weights), split.coverage], option=orjson.OPT_SORT_KEYS).decode()
